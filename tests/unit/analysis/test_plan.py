"""Plans: read, checked, digested, and registered before anything is done."""

import json
from pathlib import Path

import polars as pl
import pytest

from spoofscope.analysis.retraining.plan import Band, Plan, plan_from, read_plan, register
from spoofscope.errors import RecipeError, RunFolderError, UnknownName
from spoofscope.trials import Trials

TEXT = """
hypothesis = "Attacks that were not heard are missed for want of a band."
detectors = ["lfcc_gmm"]
held = [["A", "B"], ["C"]]
width_hz = 1500
"""
OTHERS = {
    "hypothesis": "Something else.",
    "detectors": ["lfcc_gmm", "logmel_cnn"],
    "held": [["A"], ["C"]],
    "held_by": "attack",
    "target": [1000, 2500],
    "control": [3000, 4500],
    "width_hz": 1600,
    "range_hz": [200, 7000],
    "masked_at": "training",
    "measure": "auc",
    "direction": "widens",
    "sides": 2,
    "seeds": [0, 1],
    "steps": 100,
    "replicates": 1000,
    "level": 0.9,
}


def written(folder, text=TEXT):
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def plan(tmp_path):
    return read_plan(written(tmp_path))


def changed(tmp_path, **keys):
    lines = [line for line in TEXT.splitlines() if line.split(" = ")[0] not in keys]
    return read_plan(written(tmp_path, "\n".join([*lines, *(f"{name} = {json.dumps(value)}" for name, value in keys.items())])))


def trials(name="test", first="a"):
    frame = pl.DataFrame({"trial_id": [first, "b"], "path": ["a.wav", "b.wav"], "label": ["bonafide", "spoof"]})
    return Trials(frame, Path(), name)


def test_comments_layout_and_defaults_written_out_do_not_move_the_digest(plan, tmp_path):
    lines = TEXT.strip().splitlines()
    other = "# A comment.\n" + "\n\n".join(reversed(lines)) + '\nheld_by = "family"  # the default\nlevel = 0.95\n'
    assert read_plan(written(tmp_path, other)).digest == plan.digest
    assert read_plan(written(tmp_path, TEXT.replace("1500", "1500.0"))).digest == plan.digest


def test_every_key_moves_the_digest_and_each_differently(plan, tmp_path):
    assert set(OTHERS) == set(Plan.__dataclass_fields__)
    digests = {name: changed(tmp_path, **{name: value}).digest for name, value in OTHERS.items()}
    assert len({plan.digest, *digests.values()}) == 1 + len(OTHERS)


def test_a_band_is_read_as_one(tmp_path):
    plan = changed(tmp_path, target=[1000, 2500], width_hz=0, control=[3000, 4500])
    assert (plan.target, plan.control, plan.width) == (Band(1000, 2500), Band(3000, 4500), 1500)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"hypothesis": " "}, "hypothesis is empty"),
        ({"detectors": []}, "at least 1 are needed"),
        ({"seeds": [3]}, "at least 2 are needed"),
        ({"seeds": [3, 3]}, "none twice"),
        ({"seeds": [-1, 3]}, "seeds: -1 is given; at least 0 is needed"),
        ({"held": [["A"], []]}, "a group without values"),
        ({"direction": "shrinks"}, "'shrinks'; it must be narrows or widens"),
        ({"sides": 3}, "a test has 1 or 2"),
        ({"level": 95}, "a coverage between 0 and 1"),
        ({"steps": 0}, "steps: 0 is given; at least 1 is needed"),
        ({"width_hz": 0}, "need one width in hertz; found none"),
        ({"width_hz": 100}, "at least 200 Hz wide"),
        ({"width_hz": 6900}, "fits into range_hz"),
        ({"target": [2500, 1000]}, "0 <= low_hz < high_hz"),
        ({"target": [1000, 2000]}, "found 1000 and 1500"),
        ({"target": [1000, 2500], "control": [2000, 3500]}, "overlap"),
        ({"detectors": "lfcc_gmm"}, "detectors is 'lfcc_gmm'; it must be a list of texts"),
        ({"seeds": [0, 1.5]}, "it must be a list of whole numbers"),
        ({"target": "the best"}, r"it must be 'most contrast' or \[low_hz, high_hz\]"),
        ({"target": [1000]}, r"it must be 'most contrast' or \[low_hz, high_hz\]"),
        ({"width_hz": True}, "width_hz is True; it must be a number"),
        ({"dirction": "narrows"}, "unknown key 'dirction'. Did you mean 'direction'?"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_with_a_reason(tmp_path, keys, message):
    with pytest.raises(RecipeError, match=message):
        changed(tmp_path, **keys)


def test_too_few_replicates_for_any_result_to_be_significant_are_refused(tmp_path):
    detectors = ["lfcc_gmm", "lfcc_cnn", "logmel_cnn"]
    assert changed(tmp_path, detectors=detectors, replicates=59).replicates == 59
    with pytest.raises(RecipeError, match="replicates: 58 is given; at least 59 is needed, or no result could support"):
        changed(tmp_path, detectors=detectors, replicates=58)
    with pytest.raises(RecipeError, match="at least 119"):
        changed(tmp_path, detectors=detectors, replicates=59, sides=2)


def test_what_cannot_be_read_says_where(tmp_path):
    with pytest.raises(RecipeError, match="cannot read the plan .*absent.toml: No such file"):
        read_plan(tmp_path / "absent.toml")
    with pytest.raises(RecipeError, match="plan.toml is not TOML"):
        read_plan(written(tmp_path, "held = ["))
    with pytest.raises(RecipeError, match="a plan must say hypothesis, detectors, held"):
        plan_from({})
    with pytest.raises(UnknownName, match="Did you mean 'lfcc_gmm'"):
        changed(tmp_path, detectors=["lfcc_gm"])


def test_registration_writes_the_plan_once_and_finds_it_again(plan, tmp_path):
    register(plan, trials("train"), trials(), tmp_path / "run")
    path = tmp_path / "run" / "plan.json"
    before = path.read_bytes()
    register(plan, trials("train"), trials(), tmp_path / "run")
    assert path.read_bytes() == before
    record = json.loads(before)
    assert record["digest"] == plan.digest
    assert record["plan"] == json.loads(plan.text)


def test_a_plan_that_was_changed_after_registration_is_refused(plan, tmp_path):
    register(plan, trials("train"), trials(), tmp_path / "run")
    with pytest.raises(RunFolderError, match="A plan is not changed after it was registered"):
        register(changed(tmp_path, direction="widens"), trials("train"), trials(), tmp_path / "run")


def test_a_registered_plan_is_not_carried_over_to_other_trials(plan, tmp_path):
    register(plan, trials("train"), trials(), tmp_path / "run")
    with pytest.raises(RunFolderError, match="for other trials"):
        register(plan, trials("train"), trials(first="c"), tmp_path / "run")


def test_a_damaged_registration_is_refused_and_not_written_over(plan, tmp_path):
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match="Choose another folder"):
        register(plan, trials("train"), trials(), tmp_path)
    assert (tmp_path / "plan.json").read_text(encoding="utf-8") == "{"


def test_the_plan_of_the_built_in_corpus_is_the_one_that_results_are_published_for():
    plan = read_plan(Path(__file__).parents[3] / "examples" / "builtin_masking.toml")
    page = (Path(__file__).parents[3] / "docs" / "results" / "interventions.md").read_text(encoding="utf-8")
    assert plan.digest in page
