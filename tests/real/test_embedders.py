"""Google's speech embedding with its published weights, on real speech, against a second computation frame by frame."""

import numpy as np
import pytest

from spoofscope.audio import Audio, read_audio
from spoofscope.checks.embedder import check_embedder
from spoofscope.embedders import build_embedder, card_of
from spoofscope.errors import WeightsError
from spoofscope.fetch import sha256_of
from tests.shared import SHARED, needs_shared

pytest.importorskip("onnxruntime")

pytestmark = needs_shared

NAME = "google_speech_embedding"


@pytest.fixture(scope="module")
def built():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOOFSCOPE_WEIGHTS", str(SHARED / "weights"))
        return build_embedder(NAME, pool="mean_std")


@pytest.fixture(scope="module")
def clips() -> list[Audio]:
    files = sorted((SHARED / "asvspoof2019_clips").glob("*.flac"))[:2]
    assert len(files) == 2
    return [read_audio(file) for file in files]


def mel_by_frame(audio: Audio) -> np.ndarray:
    """The spectrogram of the mel model, one frame at a time: 400-sample Hann window in 512 points, power, 32 bands, decibels."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(SHARED / "weights" / card_of(NAME).parts[0].weights_file)
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    bands = tensors["1.melW"].astype(np.float64)
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    np.testing.assert_allclose(tensors["0.stft.conv_real.weight"][0, 0], window, atol=1e-6)
    samples = audio.astype(np.float64) * 32_767
    frames = []
    for start in range(0, len(samples) - 512 + 1, 160):
        power = np.abs(np.fft.rfft(samples[start : start + 512] * window)) ** 2
        frames.append(10 * np.log10(np.maximum(power @ bands, 1e-10)))
    decibels = np.stack(frames)
    return np.maximum(decibels, decibels.max() - 80)


def test_every_window_is_that_of_a_computation_frame_by_frame(built, clips):
    import onnxruntime

    session = onnxruntime.InferenceSession(SHARED / "weights" / f"{NAME}.onnx", providers=["CPUExecutionProvider"])
    for audio in clips:
        mel = mel_by_frame(audio) / 10 + 2
        starts = range(0, len(mel) - 76 + 1, 8)
        expected = np.stack(
            [
                session.run(None, {"input_1": mel[start : start + 76][None, ..., None].astype(np.float32)})[0].ravel()
                for start in starts
            ]
        )
        found = built.windows(audio)
        assert found.shape == (len(starts), 96) and len(starts) == (len(audio) - 12_512) // 1_280 + 1
        np.testing.assert_allclose(found, expected, atol=1e-3)
        pooled = np.concatenate([expected.mean(axis=0), expected.std(axis=0)])
        np.testing.assert_allclose(built.embed([audio])[0, 0], pooled, atol=1e-3)


def test_a_window_of_the_network_is_that_of_the_reference_evaluator(built, clips):
    reference = pytest.importorskip("onnx.reference")
    network = reference.ReferenceEvaluator(str(SHARED / "weights" / f"{NAME}.onnx"))
    mel = (mel_by_frame(clips[0]) / 10 + 2).astype(np.float32)
    expected = network.run(None, {"input_1": mel[16:92][None, ..., None]})[0].ravel()
    np.testing.assert_allclose(built.windows(clips[0])[2], expected, atol=1e-3)


def test_the_vectors_of_windows_do_not_depend_on_how_many_are_computed_at_once(built, clips, monkeypatch):
    together = built.windows(clips[0])
    monkeypatch.setattr("spoofscope.embedders.google_speech.MOST_WINDOWS", 3)
    np.testing.assert_array_equal(built.windows(clips[0]), together)


def test_a_short_recording_is_repeated_up_to_one_window(built, clips):
    short = clips[0][4_000:9_000]
    assert built.windows(short).shape == (1, 96)
    np.testing.assert_array_equal(built.embed([short]), built.embed([np.tile(short, 3)[:12_512]]))


def test_the_contract_is_kept_to_the_last_bit(built):
    findings = check_embedder(built)
    assert [finding for finding in findings if not finding.ok] == []
    assert {finding.detail for finding in findings if "agree" in finding.name or "one by one" in finding.name} == {
        "bit for bit"
    }


def test_different_speech_has_different_vectors_and_the_mean_comes_first(built, clips):
    mean = build_embedder(
        NAME, weights=SHARED / f"weights/{NAME}.onnx", melspectrogram=SHARED / "weights/google_speech_melspectrogram.onnx"
    )
    both = built.embed(clips)
    assert (mean.dim, built.dim) == (96, 192)
    np.testing.assert_array_equal(both[..., :96], mean.embed(clips))
    assert np.abs(both[0] - both[1]).max() > 1


def test_the_digests_on_the_card_are_those_of_the_published_files():
    for part in (card_of(NAME), *card_of(NAME).parts):
        assert sha256_of(SHARED / "weights" / part.weights_file) == part.weights_sha256


def test_the_two_files_are_not_taken_for_each_other():
    with pytest.raises(WeightsError, match=rf"is not the file published for {NAME}: its SHA-256 is 70d16429"):
        build_embedder(NAME, melspectrogram=SHARED / f"weights/{NAME}.onnx")


def test_an_onnx_file_of_the_user_gives_the_mel_model_the_same_way(built, clips):
    mel = build_embedder("onnx", str(SHARED / "weights/google_speech_melspectrogram.onnx"), scale=32767)
    assert mel.dim == 32
    np.testing.assert_allclose(mel.embed(clips[:1])[0, 0], mel_by_frame(clips[0]).mean(axis=0), atol=0.01)
