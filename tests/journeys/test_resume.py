"""Stop a run anywhere, however rudely, and go on: the tables come out byte for byte the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from tests.small import write_corpus, write_plugin, write_small_recipe

COMMAND = (sys.executable, "-m", "spoofscope.cli")


def run(recipe: Path, *flags: str, verb: str = "evaluate") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, verb, str(recipe), *flags], capture_output=True, text=True, check=False)


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "tables").glob("*.csv"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    write_corpus(folder / "corpus")
    write_plugin(folder)
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, bytes]:
    recipe = write_small_recipe(folder, out=folder / "whole")
    assert run(recipe, verb="score").returncode == 0
    done = run(recipe)
    assert done.returncode == 0, done.stderr
    return tables(folder / "whole")


def test_the_uninterrupted_run_has_every_table(whole: dict[str, bytes]) -> None:
    assert {"conditions.csv", "transfer.csv", "breakdown.csv", "det.csv", "heard.csv", "measured.csv", "worst.csv"} <= set(
        whole
    )


def test_killing_a_run_three_times_changes_no_byte(folder: Path, whole: dict[str, bytes]) -> None:
    recipe = write_small_recipe(folder, out=folder / "killed", detector="flatness(delay_s=0.05)")
    kept = []
    for pause_s, batch_size, workers in ((0.6, 3, 2), (0.9, 7, 0), (0.5, 5, 1)):
        flags = ("--batch-size", str(batch_size), "--workers", str(workers))
        started = subprocess.Popen(
            [*COMMAND, "score", str(recipe), *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        parts_before = len(parts(folder / "killed"))
        deadline = time.monotonic() + 60
        while len(parts(folder / "killed")) <= parts_before and started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(pause_s)
        assert started.poll() is None, "the run ended before it could be killed; make it slower"
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        kept.append(finished_rows(folder / "killed"))
    assert kept == sorted(kept) and kept[0] > 0
    assert run(recipe, "--batch-size", "4", "--workers", "1", verb="score").returncode == 0
    done = run(recipe)
    assert done.returncode == 0, done.stderr
    assert tables(folder / "killed") == whole


def finished_rows(folder: Path) -> int:
    rows = {(part.parent.name, name) for part in parts(folder) for name in pl.read_parquet(part)["trial_id"]}
    return len(rows)


def parts(folder: Path) -> list[Path]:
    return [*folder.glob("scores/**/part-*.parquet"), *folder.glob("scores/**/scores.parquet")]


def test_ctrl_c_ends_with_130_and_says_that_work_is_kept(folder: Path) -> None:
    recipe = write_small_recipe(folder, out=folder / "stopped", detector="flatness(delay_s=0.2)")
    started = subprocess.Popen(
        [*COMMAND, "score", str(recipe), "--batch-size", "4"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not parts(folder / "stopped") and time.monotonic() < deadline:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130
    assert "what was finished is kept" in errors and "Traceback" not in errors


def test_a_changed_seed_gives_other_noise_but_the_same_clean_scores(folder: Path, whole: dict[str, bytes]) -> None:
    recipe = write_small_recipe(folder, out=folder / "reseeded", seed="7")
    assert run(recipe, verb="score").returncode == 0 and run(recipe).returncode == 0
    before, after = whole["det.csv"].decode().splitlines(), tables(folder / "reseeded")["det.csv"].decode().splitlines()
    assert [line for line in before if ",clean," in line] == [line for line in after if ",clean," in line]
    assert [line for line in before if "noise" in line] != [line for line in after if "noise" in line]
