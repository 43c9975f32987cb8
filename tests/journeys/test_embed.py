"""Vectors through the command line: embed, kill, resume, import, and a detector whose encoder is an embedder too."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spoofscope.embeddings import open_embeddings
from tests.small import write_corpus

COMMAND = (sys.executable, "-m", "spoofscope.cli")
EMBEDDER = '''
"""Spectral moments as an embedder, slowed down on request so that a run can be interrupted."""

import time

import numpy as np

from spoofscope.embedders import Card, embedder


@embedder(Card(name="moments", licence="Apache-2.0"))
class Moments:
    layers = ("power", "log")
    dim = 4

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s

    def embed(self, batch):
        time.sleep(self.delay_s)
        return np.stack([self._one(audio) for audio in batch])

    def _one(self, audio):
        power = np.abs(np.fft.rfft(audio, 512)) ** 2 + 1e-6
        parts = [part.mean() for part in np.array_split(power, 4)]
        return np.array([parts, np.log(parts)], dtype=np.float32)
'''


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    write_corpus(folder / "corpus")
    (folder / "moments.py").write_text(EMBEDDER, encoding="utf-8")
    return folder


def recipe(folder: Path, name: str, embedder: str = "moments", **keys: str) -> str:
    lines = {
        "corpus": "'folder'",
        "root": "'corpus'",
        "detectors": "[]",
        "embedders": f'["{embedder}"]',
        "plugins": "['moments.py']",
        "conditions": "['noise(\"white\", 10)', 'mp3(16)', 'windows(0.5)']",
        "out": f"'{name}'",
        "workers": "0",
    } | keys
    (folder / f"{name}.toml").write_text("\n".join(f"{key} = {text}" for key, text in lines.items()), encoding="utf-8")
    return f"{name}.toml"


def stores(folder: Path) -> dict[str, bytes]:
    """Every file of every finished store, by its place."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("embeddings/**/*"))
        if path.suffix in (".npy", ".json")
    }


@pytest.fixture(scope="module")
def whole(folder: Path) -> dict[str, bytes]:
    done = run(folder, "embed", recipe(folder, "whole"))
    assert done.returncode == 0, done.stderr
    assert "windows" in done.stdout and "2: power to log" in done.stdout
    return stores(folder / "whole")


def test_killing_an_embedding_three_times_changes_no_byte(folder: Path, whole: dict[str, bytes]) -> None:
    slow = recipe(folder, "killed", "moments(delay_s=0.05)")
    for pause_s, batch_size, workers in ((0.6, "3", "2"), (0.9, "7", "0"), (0.5, "5", "1")):
        started = subprocess.Popen(
            [*COMMAND, "embed", slow, "--batch-size", batch_size, "--workers", workers],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        )
        before, deadline = finished(folder / "killed"), time.monotonic() + 60
        while finished(folder / "killed") <= before and started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(pause_s)
        assert started.poll() is None, "the run ended before it could be killed; make it slower"
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
        assert finished(folder / "killed") > before
    done = run(folder, "embed", slow, "--batch-size", "4", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert stores(folder / "killed") == whole
    assert not list((folder / "killed").rglob("*.partial"))


def finished(folder: Path) -> int:
    parts = [path for path in folder.glob("embeddings/*/*/part-*.parquet") if path.exists()]
    done = [pl.read_parquet(path, columns=["trial_id"]).height for path in parts if path.exists()]
    return sum(done) + sum(80 for _ in folder.glob("embeddings/*/*/ids.parquet"))


def test_a_finished_store_is_not_touched_again(folder: Path, whole: dict[str, bytes]) -> None:
    def written() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (folder / "whole").glob("embeddings/**/*") if path.is_file()}

    before = written()
    assert len(before) == 4 * 4  # conditions, and in each a key, the ids and two layers
    assert run(folder, "embed", "whole.toml").returncode == 0
    assert written() == before


def test_a_run_of_both_kinds_has_scores_vectors_and_a_page(folder: Path) -> None:
    both = recipe(folder, "both", detectors="['lfcc_gmm.builtin']", conditions="['mp3(16)']", replicates="20", min_count="3")
    done = run(folder, "run", both)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    listed = pl.read_csv(folder / "both/tables/embeddings.csv")
    assert listed["condition"].to_list() == ["clean", "mp3(16)"]
    for place in listed["folder"]:
        stored = open_embeddings(folder / "both" / place)
        assert stored.is_ok.all() and len(stored) == 80


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("mount"), reason="needs Linux and mount to make a small disk")
def test_a_full_disk_keeps_the_vectors_that_were_finished_and_the_same_command_ends_as_any_other(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    keys = {"conditions": "[]", "vectors": "'float32'"}
    try:
        full = recipe(folder, "small", "spectral", out="'disk/out'", **keys)
        done = run(folder, "embed", full, "--batch-size", "8")
        assert done.returncode == 3 and "No space left on device" in done.stderr and "What was finished is kept" in done.stderr
        parts = list(disk.rglob("part-*.parquet"))
        assert parts and all(pl.read_parquet(part).height == 8 for part in parts)
        assert not [path for path in disk.rglob(".*") if path.is_file()]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        done = run(folder, "embed", full)
        assert done.returncode == 0, done.stderr
        roomy = run(folder, "embed", recipe(folder, "roomy", "spectral", **keys))
        assert roomy.returncode == 0, roomy.stderr
        assert stores(disk / "out") == stores(folder / "roomy")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_embed_without_an_embedder_and_a_run_without_anything_say_what_to_name(folder: Path) -> None:
    done = run(folder, "embed", "--corpus", "folder", "--root", "corpus")
    assert done.returncode == 2 and "embedders is empty; name at least one ('spoofscope list embedders')" in done.stderr
    done = run(folder, "run", "--detectors", "--corpus", "folder", "--root", "corpus")
    assert done.returncode == 2 and "neither detectors nor embedders are named" in done.stderr


def test_a_published_cache_is_imported_and_its_failures_are_told(folder: Path) -> None:
    cache = folder / "cache"
    cache.mkdir()
    ids = [f"u{number}" for number in range(6)]
    np.save(cache / "utt_ids.npy", np.array(ids, dtype=object), allow_pickle=True)
    attacks = ["-", "A07"] * 3
    pl.DataFrame({"utt_id": ids, "label": ["bonafide", "spoof"] * 3, "attack_id": attacks}).write_csv(cache / "meta.csv")
    layer = np.arange(12, dtype=np.float32).reshape(6, 2)
    layer[5] = np.nan
    np.save(cache / "layer_9.npy", layer)
    done = run(folder, "import-embeddings", "cache", "--out", "imported")
    assert done.returncode == 0, done.stderr
    assert "6 trials, layers 9 of 2 numbers (float16): imported" in done.stdout
    assert "1 trials have no vectors (first: u5: its vectors hold NaN" in done.stderr
    np.testing.assert_array_equal(open_embeddings(folder / "imported").vectors("9")[:5], layer[:5])
    again = run(folder, "import-embeddings", "cache", "--out", "imported")
    assert again.returncode == 3 and "holds a store already" in again.stderr


def test_a_checkpoint_of_ones_own_goes_through_the_whole_audit(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.small_ssl import published_state

    torch.save(published_state(prefix="module."), folder / "mine.pth")
    done = run(folder, "convert", "ssl_aasist", "mine.pth", "mine.safetensors", "--heads", "2")
    assert done.returncode == 0, done.stderr
    assert "SHA-256 of the published file" in done.stdout
    name = "ssl_aasist:mine.safetensors(name='ours', trained_on=['our_corpus/train'])"
    arguments = ["--corpus", "folder", "--root", "corpus", "--subset", "24", "--conditions", "mp3(16)", "--replicates", "20"]
    done = run(folder, "run", "--detectors", name, "--embedders", name, *arguments, "--out", "audit", "--min-count", "3")
    assert done.returncode == 0, done.stderr
    assert (folder / "audit/report/index.html").is_file()
    assert pl.read_csv(folder / "audit/tables/embeddings.csv")["dim"].to_list() == [160, 160]
    scores = pl.read_parquet(next((folder / "audit/scores/ours").glob("clean-*/scores.parquet")))
    state = published_state()
    stored = open_embeddings(next((folder / "audit/embeddings/ours").glob("clean-*")))
    weight, bias = state["out_layer.weight"][1].numpy(), float(state["out_layer.bias"][1])
    np.testing.assert_allclose(stored.vectors("last_hidden") @ weight + bias, scores["score"], atol=0.02)
