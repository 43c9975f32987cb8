"""Bad input, each tried through the command line: a clear message, nothing lost, the right exit code."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from tests.small import write_corpus, write_plugin, write_small_recipe


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spoofscope.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "corpus", speakers=4, seconds=0.6)
    write_plugin(tmp_path)
    return tmp_path


def damage(corpus: Path) -> dict[str, str]:
    """Spoil one recording in each way; return the words that its status must hold."""
    files = sorted((corpus / "spoof" / "X1").rglob("*.wav"))
    sound = np.zeros(9600, dtype=np.float32) + 0.01
    kinds = {}

    soundfile.write(corpus / "whole.flac", np.random.default_rng(0).standard_normal(32_000) * 0.1, 16_000)
    whole = (corpus / "whole.flac").read_bytes()
    (corpus / "whole.flac").unlink()
    truncated = files[0].with_suffix(".flac")
    truncated.write_bytes(whole[: len(whole) // 2])
    files[0].unlink()
    kinds[truncated.name] = "damaged or truncated"
    files[1].write_bytes(b"")
    kinds[files[1].name] = "empty file"
    soundfile.write(files[2], sound[:0], 16_000)
    kinds[files[2].name] = "no samples"
    soundfile.write(files[3], np.where(np.arange(9600) == 7, np.nan, sound), 16_000, subtype="FLOAT")
    kinds[files[3].name] = "NaN"
    files[4].write_text("this is not sound")
    kinds[files[4].name] = "not a readable sound file"
    soundfile.write(files[5], np.zeros(2000 * 1000, dtype=np.int16), 1000)
    kinds[files[5].name] = "over the limit of 600 s"
    return kinds


def test_spoiled_recordings_keep_their_rows_and_are_refused_until_allowed(folder: Path) -> None:
    kinds = damage(folder / "corpus")
    rng = np.random.default_rng(1)
    others = sorted((folder / "corpus" / "bonafide").rglob("*.wav"))
    soundfile.write(others[0], 0.1 * rng.standard_normal((44_100, 2)), 44_100)
    soundfile.write(others[1], 0.1 * rng.standard_normal(16_000), 16_000, subtype="PCM_U8")
    recipe = write_small_recipe(folder, out=folder / "out", conditions="['noise(\"white\", 10)']", min_count="1")

    done = run("run", recipe)
    assert done.returncode == 3
    assert "6 of 40 trials have no score" in done.stderr and "--allow-missing" in done.stderr

    done = run("run", recipe, "--allow-missing")
    assert done.returncode == 0, done.stderr
    failures = pl.read_csv(folder / "out" / "tables" / "failures.csv").filter(pl.col("condition") == "clean")
    assert failures.height == len(kinds)
    for path, reason in failures.select("path", "reason").iter_rows():
        assert kinds[Path(path).name] in reason and Path(path).name in reason
    clean = pl.read_csv(folder / "out" / "tables" / "conditions.csv").row(0, named=True)
    assert (clean["n_bonafide"], clean["n_spoof"], clean["n_failed"]) == (16, 18, 6)
    assert "no score and are left out" in (folder / "out" / "run.json").read_text()


def test_missing_files_are_named(folder: Path) -> None:
    rows = ["trial_id,path,label,speaker", "a,bonafide/none.wav,bonafide,s", "b,spoof/none.wav,spoof,s"]
    (folder / "list.csv").write_text("\n".join(rows))
    recipe = write_small_recipe(folder, out=folder / "out", corpus=f"'''table(path=\"{folder / 'list.csv'}\")'''")
    done = run("run", recipe)
    assert done.returncode == 3 and "no such file" in done.stderr and "none.wav" in done.stderr


def test_duplicate_ids_are_refused_with_the_row(folder: Path) -> None:
    (folder / "list.csv").write_text("trial_id,path,label\na,x.wav,bonafide\nb,y.wav,spoof\na,z.wav,spoof")
    recipe = write_small_recipe(folder, out=folder / "out", corpus=f"'''table(path=\"{folder / 'list.csv'}\")'''")
    done = run("score", recipe)
    assert done.returncode == 3 and "trial_id appears more than once in 2 of 3 rows (first: row 1, trial 'a'" in done.stderr


def test_a_label_that_is_no_label_is_refused_with_the_row(folder: Path) -> None:
    (folder / "list.csv").write_text("trial_id,path,label\na,x.wav,bonafide\nb,y.wav,fake")
    recipe = write_small_recipe(folder, out=folder / "out", corpus=f"'''table(path=\"{folder / 'list.csv'}\")'''")
    done = run("score", recipe)
    assert done.returncode == 3 and "row 2" in done.stderr and "fake" in done.stderr


def test_a_protocol_of_another_year_is_recognised(folder: Path) -> None:
    (folder / "key.txt").write_text("LA_0009 LA_E_1 alaw ita_tx A07 spoof notrim eval\n" * 3)
    done = run(
        "check", "corpus", f"asvspoof2019_la(protocol_file='{folder / 'key.txt'}')", "--root", folder, "--protocol", "eval"
    )
    assert done.returncode in (2, 3) and "2021" in done.stderr


def test_a_run_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "out").write_text("a file where a folder should be")
    done = run("score", write_small_recipe(folder, out=folder / "out"))
    assert done.returncode == 3 and f"cannot write {folder / 'out'}" in done.stderr


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("mount"), reason="needs Linux and mount to make a small disk")
def test_a_full_disk_keeps_what_was_finished(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        recipe = write_small_recipe(folder, out=disk / "out")
        done = run("score", recipe, "--batch-size", "2")
        assert done.returncode == 3 and "No space left on device" in done.stderr and "What was finished is kept" in done.stderr
        parts = [*disk.rglob("part-*.parquet"), *disk.rglob("scores.parquet")]
        assert parts and all(pl.read_parquet(part).height for part in parts)
        assert not [path for path in disk.rglob(".*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--grid", "nightmare"), "no grid is named 'nightmare'"),
        (("--conditions", "mp4(32)"), "Did you mean 'mp3'"),
        (("--detectors", "flatnes"), "Did you mean 'flatness'"),
        (("--detectors", "flatness(speed=3)"), "has no option 'speed'"),
        (("--corpus", "foldr"), "Did you mean 'folder'"),
        (("--corpus", "folder(depth=3)"), "has no setting 'depth'"),
        (("--plugins", "absent.py"), "no plug-in file"),
        (("--cost", "cheap"), "must be asvspoof5 or reference"),
    ],
)
def test_a_wrong_word_ends_with_2_and_the_nearest_right_one(folder: Path, flags: tuple[str, ...], words: str) -> None:
    done = run("run", write_small_recipe(folder, out=folder / "out", conditions="[]"), *flags)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_a_command_becomes_the_recipe_that_repeats_it(folder: Path) -> None:
    printed = run("run", "--corpus", "folder", "--root", folder / "corpus", "--grid", "quick", "--seed", "3", "--print-recipe")
    assert printed.returncode == 0
    (folder / "again.toml").write_text(printed.stdout)
    again = run("run", folder / "again.toml", "--print-recipe")
    assert again.stdout == printed.stdout and 'grid = "quick"' in again.stdout and "seed = 3" in again.stdout
