"""The command line, verb by verb, in this process."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spoofscope.cli import KINDS, main
from spoofscope.recipe import Recipe, recipe_from
from tests.small import write_corpus, write_plugin


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_nothing_asked_is_answered_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys)
    assert code == 0 and "demo" in out and "build-corpus" in out


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_listed(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    code, out, _ = told(capsys, "list", kind)
    known = {
        "corpora": "asvspoof2021_la",
        "degradations": "mp3(",
        "detectors": "aasist.la19",
        "embedders": "spectral",
        "grids": "reference",
        "metrics": "min_tdcf",
    }
    assert code == 0 and known[kind] in out


def test_a_card_shows_what_a_detector_was_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "show", "detector", "aasist.la19")
    assert code == 0 and "51d2d9cf0738" in out and re.search(r"trained_on.*2019", out)


def test_a_card_shows_what_a_corpus_must_add_up_to(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "show", "corpus", "asvspoof2021_la")
    assert code == 0 and "148,176 (14,816 bona fide + 133,360 spoof)" in out


def test_a_condition_shows_its_settings_and_library(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "show", "degradation", "mp3(32) + telephony")
    assert code == 0 and "libmp3lame" in out and "3400" in out


def test_a_degradation_that_works_passes_its_check_and_a_no_op_fails(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "check", "degradation", "noise('pink', 10)")
    assert code == 0 and "FAILED" not in out
    code, out, _ = told(capsys, "check", "degradation", "gain(0)")
    assert code == 3 and "FAILED" in out


def test_a_plug_in_can_be_listed_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path)
    plugin.write_text(plugin.read_text().replace('name="flatness"', 'name="listed"'))
    code, out, _ = told(capsys, "list", "detectors", "--plugin", plugin)
    assert code == 0 and "listed" in out
    code, out, _ = told(capsys, "check", "detector", "listed")
    assert code == 0, out


def test_a_corpus_check_names_what_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", speakers=2, seconds=0.5)
    assert told(capsys, "check", "corpus", "folder", "--root", corpus)[0] in (0, 3)
    victim = next(corpus.rglob("*.wav"))
    victim.write_bytes(b"")
    code, out, _ = told(capsys, "check", "corpus", "folder", "--root", corpus)
    assert code == 3 and victim.name in out.replace("\n", "")


def test_scores_with_labels_need_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"u{at} - bonafide {rng.normal(2, 1)}" for at in range(60)]
    rows += [f"v{at} A0{at % 2 + 1} spoof {rng.normal(0, 1)}" for at in range(80)]
    (tmp_path / "scores.txt").write_text("\n".join(rows))
    table = tmp_path / "attacks.csv"
    code, out, err = told(capsys, "metrics", tmp_path / "scores.txt", "--replicates", 50, "--out", table)
    assert code == 0 and "140 trials (60 bona fide, 80 spoof)" in out and "warning" not in err
    assert pl.read_csv(table)["attack"].to_list() == ["A01", "A02"]


def test_reversed_scores_are_called_out_and_left_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f"u{at} - bonafide {-at}" for at in range(1, 40)] + [f"v{at} A01 spoof {at}" for at in range(1, 40)]
    (tmp_path / "scores.txt").write_text("\n".join(rows))
    code, out, err = told(capsys, "metrics", tmp_path / "scores.txt", "--replicates", 20)
    assert code == 0 and "polarity" in err and "pre-emphasis" in err and "100.0000 %" in out


def test_scores_without_labels_ask_for_a_protocol(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "scores.txt").write_text("a 1.0\nb 2.0")
    code, _, err = told(capsys, "metrics", tmp_path / "scores.txt")
    assert code == 3 and "--corpus" in err


def test_flags_are_the_keys_of_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    import tomllib

    code, out, _ = told(capsys, "run", "--detectors", "a", "b", "--no-allow-missing", "--level", "0.9", "--print-recipe")
    assert code == 0
    assert recipe_from(tomllib.loads(out)) == Recipe(detectors=("a", "b"), level=0.9)


def test_the_demo_can_be_written_down(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "demo", "--print-recipe", "--seed", "4")
    assert code == 0 and 'corpus = "builtin"' in out and "seed = 4" in out


def test_an_empty_request_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(capsys, "run")
    assert code == 2 and "spoofscope demo" in err


def test_a_report_of_nothing_says_what_to_run_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = told(capsys, "report", tmp_path)
    assert code == 3 and "spoofscope run RECIPE" in err
