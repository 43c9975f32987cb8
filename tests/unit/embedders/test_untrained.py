"""Networks that nothing has trained: the baseline of a probe."""

import numpy as np
import pytest

from spoofscope.embedders import build_embedder

pytest.importorskip("torch")

from tests.unit.embedders import tiny


def test_an_untrained_aasist_hears_recordings_apart_and_each_alike_in_any_batch():
    built = build_embedder("aasist.untrained", threads=2)
    sounds = tiny.noises(9_000, 20_000, 70_000)
    vectors = built.embed(sounds)
    assert vectors.shape == (3, 1, 160) and vectors.dtype == np.float32 and built.embed([]).shape == (0, 1, 160)
    assert (vectors.std(axis=0) > 1e-3 * np.abs(vectors).max()).mean() > 0.5
    np.testing.assert_array_equal(built.embed(sounds[1:2])[0], vectors[1])


def test_a_seed_gives_one_network_and_another_seed_another():
    first, again, other = (build_embedder("aasist.untrained", seed=seed) for seed in (0, 0, 1))
    sounds = tiny.noises(9_000)
    np.testing.assert_array_equal(first.embed(sounds), again.embed(sounds))
    assert np.abs(first.embed(sounds) - other.embed(sounds)).max() > 1e-3
    assert first.settings != other.settings


def test_an_untrained_encoder_has_the_layers_of_the_trained_one_and_none_of_its_weights(tmp_path):
    pytest.importorskip("transformers")
    folder = tiny.save("wav2vec2 large", tmp_path / "model", normalise=True)
    trained = build_embedder("hf", str(folder), trained_on=["voxpopuli"])
    untrained = build_embedder("hf", str(folder), untrained=True, trained_on=["voxpopuli"])
    again = build_embedder("hf", str(folder), untrained=True)
    assert untrained.card.name == f"{trained.card.name}.untrained" and untrained.card.trained_on == ()
    assert untrained.layers == trained.layers and untrained.card.weights_sha256 == ""
    assert untrained.settings["untrained"] and untrained.settings != trained.settings
    sounds = tiny.noises(9_000)
    np.testing.assert_array_equal(untrained.embed(sounds), again.embed(sounds))
    assert np.abs(untrained.embed(sounds) - trained.embed(sounds)).max() > 1e-3
