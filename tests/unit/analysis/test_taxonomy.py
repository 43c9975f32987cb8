"""What attacks are made of, and which of them a model has met."""

from pathlib import Path

import polars as pl
import pytest

from spoofscope.analysis.taxonomy import read_taxonomy
from spoofscope.errors import UserError
from tests.shared import SHARED, needs_shared


def frame(*attacks: str) -> pl.DataFrame:
    return pl.DataFrame({"label": ["spoof"] * len(attacks), "attack": attacks})


def test_a_model_trained_on_2019_has_met_the_algorithms_of_a16_and_a19_alone() -> None:
    eval_attacks = frame(*(f"A{number:02}" for number in range(7, 20)))
    met = read_taxonomy("asvspoof2019").exposed(eval_attacks, "attack", ("asvspoof2019_la/train",))
    assert met == {
        "A16": "A04 is in asvspoof2019_la/train, the same algorithm as A16",
        "A19": "A06 is in asvspoof2019_la/train, the same algorithm as A19",
    }


def test_a_family_is_met_if_one_of_its_attacks_is() -> None:
    taxonomy = read_taxonomy("asvspoof2019")
    annotated = taxonomy.annotate(frame("A07", "A17", "A19"))
    assert annotated["family"].to_list() == ["neural_tts", "voice_conversion", "voice_conversion"]
    assert list(taxonomy.exposed(annotated, "family", ("asvspoof2019_la/train",))) == ["voice_conversion"]


def test_a_column_that_the_trials_carry_stays() -> None:
    own = frame("A07").with_columns(family=pl.lit("mine"))
    assert read_taxonomy("asvspoof2019").annotate(own)["family"].to_list() == ["mine"]


def test_a_model_trained_elsewhere_has_met_nothing() -> None:
    assert read_taxonomy("asvspoof2019").exposed(frame("A19"), "attack", ("voxpopuli",)) == {}
    assert read_taxonomy("").exposed(frame("A19"), "attack", ("asvspoof2019_la/train",)) == {}


@needs_shared
def test_families_and_links_are_those_of_the_reference_study() -> None:
    import json

    theirs = json.loads((SHARED / "study" / "attack_taxonomy.json").read_text())
    ours = read_taxonomy("asvspoof2019")
    family, algorithm = ours.columns.index("family"), ours.columns.index("algorithm")
    assert {name: values[family] for name, values in ours.attacks.items()} == {
        name: facts["category"] for name, facts in theirs["attacks"].items()
    }
    links = {name: values[algorithm] for name, values in ours.attacks.items() if values[algorithm] != name}
    assert links == theirs["same_algorithm"]


def test_a_file_of_ones_own_is_read_and_a_short_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('columns = ["vocoder"]\n[attacks]\nX1 = ["hifigan"]\n[exposure]\n"mine/train" = ["X1"]\n')
    taxonomy = read_taxonomy(str(file))
    assert taxonomy.annotate(frame("X1", "X2"))["vocoder"].to_list() == ["hifigan", None]
    assert taxonomy.exposed(frame("X1"), "attack", ("mine/train",)) == {"X1": "X1 is in mine/train"}
    file.write_text('columns = ["vocoder", "family"]\n[attacks]\nX1 = ["hifigan"]\n')
    with pytest.raises(UserError, match="attack 'X1' has .*expected a text for each of vocoder, family"):
        read_taxonomy(str(file))


def test_a_taxonomy_that_is_not_there_lists_those_that_ship() -> None:
    with pytest.raises(UserError, match=r"Shipped: asvspoof2019, builtin"):
        read_taxonomy("asvspoof2099")
