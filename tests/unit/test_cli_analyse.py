"""`spoofscope analyse` on ready tables: what a user types, and what comes out."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spoofscope.cli import main
from tests.shared import SHARED, needs_shared

PUBLISHED = SHARED / "study" / "published"
ARGUMENTS = ("--gaps", str(PUBLISHED / "loao_per_attack.csv"), "--geometry", str(PUBLISHED / "geometry_h2.csv"))


def write_tables(folder: Path) -> tuple[str, ...]:
    """Write gaps that a predictor goes with, in the reference study's form."""
    rng = np.random.default_rng(0)
    near = rng.uniform(5, 40, 12)
    attacks = [f"A{at + 7:02}" for at in range(12)]
    gaps = pl.DataFrame(
        {"family": attacks, "gap_pct": 12 - 0.3 * near + rng.normal(0, 0.5, 12), "eer_seen_pct": rng.uniform(0, 2, 12)}
    )
    gaps.write_csv(folder / "gaps.csv")
    pl.DataFrame({"family": attacks, "d_bona": near, "rel": rng.uniform(0, 1, 12)}).write_csv(folder / "geometry.csv")
    return ("--gaps", str(folder / "gaps.csv"), "--geometry", str(folder / "geometry.csv"), "--permutations", "2000")


@needs_shared
def test_the_published_tables_give_the_published_numbers_and_what_takes_them_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", *ARGUMENTS]) == 0
    shown = capsys.readouterr().out
    assert "-0.666" in shown and "0.0130" in shown
    for words in (
        "A19 alone is 71 %",
        "not significant after Holm",
        "dropping A19 leaves rho -0.57, p 0.051",
        "nothing is left (+0.02)",
    ):
        assert words in shown


def test_a_table_can_be_written_and_says_what_was_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["analyse", *write_tables(tmp_path), "--out", str(tmp_path / "run")]) == 0
    table = pl.read_csv(tmp_path / "run" / "tables" / "association.csv")
    assert table["predictor"].to_list() == ["d_bona", "rel"]
    assert table["rho"][0] < -0.8 and table["p_holm"][0] < 0.05
    assert table["verdict"][0] in capsys.readouterr().out


def test_a_predictor_is_primary_only_if_it_was_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = write_tables(tmp_path)
    main(["analyse", *arguments])
    assert "d_bona *" not in capsys.readouterr().out
    main(["analyse", *arguments, "--predictor", "d_bona"])
    assert "d_bona *" in capsys.readouterr().out


def test_one_table_without_the_other_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["analyse", *write_tables(tmp_path)[:2]]) == 2
    assert "give both" in capsys.readouterr().err


def test_tables_of_other_attacks_name_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = write_tables(tmp_path)
    gaps = pl.read_csv(tmp_path / "gaps.csv")
    gaps.with_columns(family=pl.col("family").replace("A07", "B07")).write_csv(tmp_path / "gaps.csv")
    assert main(["analyse", *arguments]) == 3
    assert "A07" in capsys.readouterr().err
