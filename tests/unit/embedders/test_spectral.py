"""Statistics of spectra: against slow sums, the same bit for bit, and finite on anything."""

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.embedders import build_embedder
from spoofscope.embedders.spectral import log_mel, mel_filters
from spoofscope.errors import UserError
from spoofscope.networks.lfcc import lfcc
from tests.unit.embedders.tiny import noises


def to_mel(hertz: float) -> float:
    return 2595 * np.log10(1 + hertz / 700)


def test_mel_filters_are_triangles_equally_wide_on_the_mel_scale():
    filters = mel_filters(60)
    assert filters.shape == (257, 60) and filters.dtype == np.float32
    step = to_mel(8_000) / 61
    edges = [700 * (10 ** (step * place / 2595) - 1) for place in range(62)]
    expected = np.zeros((257, 60))
    for band in range(60):
        left, top, right = edges[band : band + 3]
        for line in range(257):
            hertz = line * 31.25
            if left < hertz <= top:
                expected[line, band] = (hertz - left) / (top - left)
            elif top < hertz < right:
                expected[line, band] = (right - hertz) / (right - top)
    np.testing.assert_allclose(filters, expected, atol=1e-5)
    assert (filters.max(axis=0) > 0.4).all()  # no band falls between two lines of the spectrum


def test_log_mel_energies_are_those_of_a_slow_sum():
    audio = noises(900)[0]
    emphasised = np.concatenate([audio[:1], audio[1:] - 0.97 * audio[:-1]]).astype(np.float64)
    expected = []
    for start in range(0, 900 - 320 + 1, 160):
        spectrum = np.abs(np.fft.rfft(emphasised[start : start + 320] * np.hamming(320), 512)) ** 2
        expected.append(10 * np.log10(mel_filters(60).astype(np.float64).T @ spectrum + 1e-12))
    np.testing.assert_allclose(log_mel(audio), expected, atol=1e-3)


def test_layers_are_the_mean_and_standard_deviation_of_each_kind_of_frame():
    audio = noises(16_000)[0]
    both = build_embedder("spectral").embed([audio])
    for layer, frames in enumerate((lfcc(audio), log_mel(audio))):
        statistics = np.concatenate([frames.astype(np.float64).mean(axis=0), frames.astype(np.float64).std(axis=0)])
        np.testing.assert_array_equal(both[0, layer], statistics.astype(np.float32))


@pytest.mark.parametrize(
    ("features", "layers"), [("both", ("lfcc", "log_mel")), ("lfcc", ("lfcc",)), ("log_mel", ("log_mel",))]
)
def test_features_choose_the_layers(features, layers):
    built, batch = build_embedder("spectral", features=features), noises(5_000, 9_000)
    assert built.layers == layers and built.dim == 120
    both = build_embedder("spectral").embed(batch)
    np.testing.assert_array_equal(built.embed(batch), both[:, [("lfcc", "log_mel").index(layer) for layer in layers]])
    assert identity(built)["settings"] == {"features": features}


def test_vectors_are_the_same_to_the_last_bit_whatever_the_batch():
    built, batch = build_embedder("spectral"), noises(16_000, 1, 319, 320, 50_000)
    together = built.embed(batch)
    assert np.isfinite(together).all() and together.dtype == np.float32
    np.testing.assert_array_equal(np.concatenate([built.embed([audio]) for audio in batch]), together)
    np.testing.assert_array_equal(built.embed(batch[::-1])[::-1], together)
    assert built.embed([]).shape == (0, 2, 120)


def test_other_features_are_refused():
    with pytest.raises(UserError, match="features is 'mfcc'; it must be one of lfcc, log_mel, both"):
        build_embedder("spectral", features="mfcc")
