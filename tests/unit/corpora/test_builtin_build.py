"""Building the built-in corpus: the same files whatever happens, and never half of them taken for all."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from spoofscope.audio import read_audio
from spoofscope.corpora import corpora
from spoofscope.corpora.builtin import SIZES, Builtin, build_builtin
from spoofscope.corpora.builtin.build import MANIFEST, TABLE
from spoofscope.corpora.builtin.plan import Size, cache_folder, plan
from spoofscope.errors import CorpusError, UnknownName
from spoofscope.trials import Trials

TINY = {
    "train": Size(speakers=2, bonafide=2, held_out=2, per_attack=1, attacks=("B01", "B15")),
    "eval": Size(speakers=1, bonafide=1, held_out=1, per_attack=1, attacks=("B07", "B11")),
}


def contents(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return build_builtin(tmp_path_factory.mktemp("builtin"), sizes=TINY, workers=1)[1]


def test_the_files_do_not_depend_on_the_number_of_processes(built, tmp_path):
    build_builtin(tmp_path, sizes=TINY, workers=2)
    assert contents(tmp_path) == contents(built)


def test_another_seed_gives_other_sound_under_the_same_names(built, tmp_path):
    build_builtin(tmp_path, sizes={"eval": TINY["eval"]}, seed=1, workers=1)
    ours, theirs = contents(tmp_path), contents(built)
    sounds = [name for name in ours if name.endswith(".flac")]
    assert sounds and all(ours[name] != theirs[name] for name in sounds)


def test_a_finished_corpus_is_read_and_not_built_again(built):
    before = {file: file.stat().st_mtime_ns for file in built.rglob("*")}
    frame, _ = build_builtin(built, sizes=TINY)
    assert {file: file.stat().st_mtime_ns for file in built.rglob("*")} == before
    assert frame.height == 7


def test_an_interrupted_build_is_finished_with_the_same_bits(built, tmp_path):
    reference = contents(built)
    build_builtin(tmp_path, sizes=TINY, workers=1)
    (tmp_path / MANIFEST).unlink()
    (tmp_path / TABLE).unlink()
    (tmp_path / "train/train-t00-u00.flac").unlink()
    (tmp_path / "eval/.eval-t00-u00.flac.123").write_bytes(b"half a file")
    frame, _ = build_builtin(tmp_path, sizes=TINY, workers=1)
    assert frame.height == 7
    assert {name: digest for name, digest in contents(tmp_path).items() if not name.endswith(".123")} == reference


def test_a_recording_that_has_gone_missing_is_made_again(tmp_path):
    sizes = {"eval": TINY["eval"]}
    build_builtin(tmp_path, sizes=sizes, workers=1)
    reference = contents(tmp_path)
    (tmp_path / "eval/eval-t00-u01-B11.flac").unlink()
    build_builtin(tmp_path, sizes=sizes, workers=1)
    assert contents(tmp_path) == reference


def test_a_folder_of_other_settings_is_refused(built):
    with pytest.raises(CorpusError, match="built with other settings or by another version"):
        build_builtin(built, sizes=TINY, seed=5)


def test_the_table_is_one_of_trials_and_its_files_can_be_read(built):
    frame = pl.read_parquet(built / TABLE)
    trials = Trials(frame, built, "tiny")
    assert trials.counts == (3, 4)
    for path, duration_s in zip(trials.paths, frame["duration_s"], strict=True):
        assert len(read_audio(path)) / 16_000 == pytest.approx(duration_s)
    assert frame.filter(pl.col("label") == "spoof").select("family", "method").null_count().sum_horizontal()[0] == 0
    assert json.loads((built / MANIFEST).read_text())["trials"] == 7
    assert pl.read_csv(built / "trials.csv").height == 7


def test_protocols_share_no_talker_and_no_utterance_is_on_both_sides():
    tasks = plan(SIZES, 0)
    speakers = {name: {task.speaker for task in tasks if task.protocol == name} for name in SIZES}
    assert not speakers["train"] & speakers["eval"] and not speakers["train"] & speakers["dev"]
    assert not speakers["dev"] & speakers["eval"]
    assert len({task.source for task in tasks}) == len(tasks)
    assert all("-" not in task.attacks or task.attacks == ("-",) for task in tasks)


def test_both_classes_of_a_protocol_have_the_same_talkers():
    tasks = plan(SIZES, 0)
    for protocol in SIZES:
        mine = [task for task in tasks if task.protocol == protocol]
        assert {task.speaker for task in mine if task.attacks == ("-",)} == {
            task.speaker for task in mine if task.attacks != ("-",)
        }


def test_the_plan_adds_up_to_the_card():
    tasks = plan(SIZES, 3)
    for protocol, counts in Builtin.card.protocols.items():
        attacks = [attack for task in tasks if task.protocol == protocol for attack in task.attacks]
        assert (attacks.count("-"), len(attacks) - attacks.count("-")) == counts
        assert {attacks.count(attack) for attack in SIZES[protocol].attacks} == {SIZES[protocol].per_attack}


def test_the_corpus_is_registered_as_synthetic_and_says_what_it_proves():
    assert corpora.get("builtin") is Builtin
    assert Builtin.card.synthetic
    assert "proves nothing about a detector on people" in Builtin.card.note


def test_an_unknown_protocol_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match=r"no protocol 'evel'. Did you mean 'eval'\?"):
        Builtin().trials("evel", root=tmp_path)


def test_the_cache_lies_where_the_user_keeps_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("abc") == tmp_path / "spoofscope" / "builtin-abc"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_worker_processes_leave_with_a_parent_that_was_killed(tmp_path):
    script = tmp_path / "build.py"
    script.write_text(
        "from spoofscope.corpora.builtin import SIZES, build_builtin\n"
        f"if __name__ == '__main__':\n    build_builtin({str(tmp_path / 'out')!r}, sizes=SIZES, workers=2)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: list(tmp_path.glob("out/*/*.flac")), seconds=60)
        workers = _children(parent.pid)
        assert len(workers) >= 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    _wait_for(lambda: not any(_is_alive(worker) for worker in workers), seconds=20)
    assert not (tmp_path / "out" / MANIFEST).exists()


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _wait_for(condition, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
