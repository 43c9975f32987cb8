"""Google's speech embedding without its weights: the card, and what is said when a file is absent or another one."""

import pytest

from spoofscope.embedders import build_embedder, card_of
from spoofscope.errors import MissingExtra, UserError, WeightsError

NAME = "google_speech_embedding"


def test_the_card_names_both_files_with_address_and_digest():
    card = card_of(NAME)
    assert card.licence == "Apache-2.0" and "2002.01322" in card.paper and card.trained_on
    for part in (card, *card.parts):
        assert part.weights_url.startswith("https://github.com/dscripka/openWakeWord/releases/download/v0.5.1/")
        assert len(part.weights_sha256) == 64 and part.weights_file.endswith(".onnx")
    assert [part.weights_file for part in card.parts] == ["google_speech_melspectrogram.onnx"]


def test_absent_weights_are_said_to_be_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("SPOOFSCOPE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"{NAME}: no file google_speech_melspectrogram\.onnx in {tmp_path}"):
        build_embedder(NAME)
    with pytest.raises(WeightsError, match=rf"{NAME}: no weights at .*none\.onnx"):
        build_embedder(NAME, melspectrogram=tmp_path / "none.onnx")


def test_another_file_is_refused_by_its_digest(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"another")
    with pytest.raises(
        WeightsError, match=rf"is not the file published for {NAME}: its SHA-256 is [0-9a-f]{{64}}, expected ba2b0e"
    ):
        build_embedder(NAME, melspectrogram=tmp_path / "other.onnx")


def test_another_pool_is_refused():
    with pytest.raises(UserError, match="pool is 'max'"):
        build_embedder(NAME, pool="max")


def test_without_onnx_runtime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    monkeypatch.setattr("spoofscope.embedders.google_speech.verify", lambda path, source: None)
    (tmp_path / "other.onnx").write_bytes(b"another")
    with pytest.raises(MissingExtra, match=f"{NAME} needs the extra 'onnx'"):
        build_embedder(NAME, melspectrogram=tmp_path / "other.onnx")
