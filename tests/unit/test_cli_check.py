"""The verb `check` of detectors on a corpus, and of embedders, in this process."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from spoofscope.checks import Finding
from spoofscope.cli import RUNS, main
from spoofscope.corpora.folder import Folder
from spoofscope.verbs import VERBS
from tests.small import write_corpus, write_plugin


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), speakers=8, seconds=0.4)


def plugin(folder: Path, name: str, **changes: str) -> Path:
    """Write the detector of `tests.small` under another name, some of its text replaced."""
    file = write_plugin(folder)
    text = file.read_text().replace('name="flatness"', f'name="{name}"')
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return file


def test_every_verb_that_can_be_typed_does_something() -> None:
    assert list(VERBS) == list(RUNS)


def test_without_a_corpus_a_detector_is_held_to_its_contract_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = told(capsys, "check", "detector", "contract_only", "--plugin", plugin(tmp_path, "contract_only"))
    assert code == 0 and "digital silence" in out and "as declared" not in out


def test_readings_follow_the_contract_and_name_their_trials(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, corpus: Path
) -> None:
    file = plugin(tmp_path, "read_well")
    code, out, err = told(
        capsys, "check", "detector", "read_well", "--corpus", "folder", "--root", corpus, "--limit", 40, "--plugin", file
    )
    assert code == 0, out
    assert out.index("digital silence") < out.index("40 of 80 stratified") < out.index("as declared") < out.index("no other")
    for words in ("zero padding", "whole recording", "pre-emphasis 0.97", "int16 scale", "negated", "trials changed"):
        assert words in out
    assert "8 speaker x 2 attack" in out and "is no result" in out.replace("\n", " ")
    assert "40/40" in err and "FAILED" not in out


def test_reversed_polarity_fails_the_check(capsys: pytest.CaptureFixture[str], tmp_path: Path, corpus: Path) -> None:
    file = plugin(tmp_path, "read_reversed", **{"return -np.exp": "return np.exp"})
    code, out, _ = told(capsys, "check", "detector", "read_reversed", "--corpus", "folder", "--root", corpus, "--plugin", file)
    failed = [line for line in out.splitlines() if "FAILED" in line]
    assert code == 3 and "the declared reading has an EER below one half" in failed[0]


def test_a_score_file_is_read_without_the_contract_that_it_cannot_keep(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, corpus: Path
) -> None:
    trials = Folder().trials(root=corpus)
    scores = trials.is_bonafide + np.random.default_rng(0).normal(0, 0.5, len(trials))
    file = tmp_path / "scores.txt"
    file.write_text("".join(f"{name} {score}\n" for name, score in zip(trials.ids, scores, strict=True)))
    check = ("check", "detector", f"scores(path='{file}')", "--corpus", "folder", "--root", corpus)
    code, out, _ = told(capsys, *check)
    assert code == 0 and "negated" in out and "digital silence" not in out
    code, out, _ = told(capsys, check[0], check[1], f"scores(path='{file}', polarity='spoof')", *check[3:])
    assert code == 3 and "stands for spoof" in " ".join(out.split())


@pytest.mark.parametrize("kind", ["corpus", "degradation", "embedder"])
def test_only_detectors_have_readings(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    code, _, err = told(capsys, "check", kind, "folder", "--corpus", "folder")
    assert code == 2 and f"a {kind} has none" in err and "--corpus" in err


def test_a_negative_limit_is_refused(capsys: pytest.CaptureFixture[str], corpus: Path) -> None:
    code, _, err = told(capsys, "check", "detector", "lfcc_gmm.builtin", "--corpus", "folder", "--root", corpus, "--limit", -1)
    assert code == 2 and "--limit is -1" in err


def test_a_corpus_that_cannot_be_read_is_told_before_anything_is_heard(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = told(capsys, "check", "detector", "lfcc_gmm.builtin", "--corpus", "folder", "--root", tmp_path)
    assert code == 3 and out == "" and "no folder 'bonafide'" in err


@pytest.mark.parametrize(("ok", "expected"), [(True, 0), (False, 3)])
def test_an_embedder_is_named_by_an_expression(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ok: bool, expected: int
) -> None:
    module = ModuleType("spoofscope.checks.embedder")
    module.check_embedder = lambda embedder: [Finding("vectors", ok, f"of {embedder}")]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("spoofscope.audit.open_embedder", lambda expression: f"<{expression}>", raising=False)
    code, out, _ = told(capsys, "check", "embedder", "wav2vec2(layers=3)")
    assert code == expected and "of <wav2vec2(layers=3)>" in out
