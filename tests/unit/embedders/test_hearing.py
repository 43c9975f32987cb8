"""What encoders are fed: the numbers of their own feature extractors, and Whisper's stretches of 30 s."""

import numpy as np
import pytest

from spoofscope.cards import Card

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from spoofscope.audio import standardised  # noqa: E402
from spoofscope.embedders._encoder import EncoderEmbedder, listening  # noqa: E402
from spoofscope.embedders._hearing import Filterbank, Samples, WhisperSpectrogram  # noqa: E402
from tests.unit.embedders import tiny  # noqa: E402

HALF_MINUTE = 480_000


def test_normalised_samples_are_those_of_the_feature_extractor():
    audio = tiny.noises(7_777)[0]
    theirs = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)(audio, sampling_rate=16_000).input_values[0]
    np.testing.assert_allclose(standardised(audio), theirs, atol=1e-6)
    assert Samples(tiny.build("hubert base"), normalise=False).pieces(audio)[0].values is not None
    np.testing.assert_array_equal(
        Samples(tiny.build("hubert base"), normalise=True).pieces(audio)[0].values, standardised(audio)
    )
    assert np.abs(standardised(np.zeros(500, dtype=np.float32))).max() == 0


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("length", [560, 8_000, 8_160, 12_345])
def test_the_filterbank_is_that_of_the_feature_extractor_without_its_padding(length, normalise):
    audio, extract = tiny.noises(length)[0], transformers.SeamlessM4TFeatureExtractor()
    theirs = extract(audio, sampling_rate=16_000, do_normalize_per_mel_bins=normalise, return_tensors="np")
    piece = Filterbank(extract, normalise=normalise).pieces(audio)[0]
    frames = (1 + (length - 400) // 160) // 2
    assert piece.frames == len(piece.values) == frames
    np.testing.assert_array_equal(piece.values, theirs["input_features"][0][:frames])


def whisper(**options) -> EncoderEmbedder:
    model = tiny.build("whisper")
    extract = transformers.WhisperFeatureExtractor()
    settings = {"card": Card(name="tiny", licence=""), "normalise": False, "pool": "mean_std", "feature_extractor": extract}
    return EncoderEmbedder(model, **settings | options)


@pytest.mark.parametrize("normalise", [True, False])
def test_whisper_hears_its_own_spectrogram(normalise):
    audio, built = tiny.noises(20_000)[0], whisper(normalise=normalise)
    theirs = built._hearing._extract(audio, sampling_rate=16_000, do_normalize=normalise, return_tensors="np")
    piece = built._hearing.pieces(audio)[0]
    np.testing.assert_allclose(piece.values.T, theirs["input_features"][0], atol=1e-5)
    assert piece.frames == -(-20_000 // 320)


@pytest.mark.parametrize("length", [1, 160, 161, 320, 321, 16_000, HALF_MINUTE])
def test_whisper_pools_the_frames_that_begin_before_the_sound_ends(length):
    audio, built = tiny.noises(length)[0], whisper()
    found = {}
    with listening(built._points, found.__setitem__):
        built._model(**built._arguments(built._hearing.pieces(audio)))
    real = found["final"][0].detach().numpy().astype(np.float64)[: -(-length // 320)]
    expected = np.concatenate([real.mean(axis=0), real.std(axis=0)])
    np.testing.assert_allclose(built.embed([audio])[0, -1], expected, atol=1e-6)


def test_whisper_pools_all_frames_of_a_recording_longer_than_half_a_minute():
    long = tiny.noises(2 * HALF_MINUTE + 5_000)[0]
    built = whisper()
    assert [piece.frames for piece in built._hearing.pieces(long)] == [1_500, 1_500, 16]
    stretches = built.embed([long[:HALF_MINUTE], long[HALF_MINUTE : 2 * HALF_MINUTE], long[2 * HALF_MINUTE :]])[:, -1]
    means, spreads = stretches[:, :32].astype(np.float64), stretches[:, 32:].astype(np.float64)
    shares = np.array([1_500, 1_500, 16])[:, None] / 3_016
    mean = (shares * means).sum(axis=0)
    spread = np.sqrt((shares * (spreads**2 + means**2)).sum(axis=0) - mean**2)
    np.testing.assert_allclose(built.embed([long])[0, -1], np.concatenate([mean, spread]), atol=1e-5)


def test_whisper_normalises_the_recording_before_it_is_cut():
    long = tiny.noises(HALF_MINUTE + 8_000)[0]
    pieces = WhisperSpectrogram(tiny.build("whisper").encoder, transformers.WhisperFeatureExtractor(), normalise=True).pieces(
        long
    )
    plain = whisper()._hearing.pieces(standardised(long))
    for piece, other in zip(pieces, plain, strict=True):
        np.testing.assert_array_equal(piece.values, other.values)
