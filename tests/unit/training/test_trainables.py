"""Detectors that are trained many times: the same features and seed give the same scores, and what is taught is learnt."""

import sys

import numpy as np
import pytest

from spoofscope.errors import MissingExtra, NotEnoughTrials, UnknownName
from spoofscope.training.small_cnn import CHANNELS, POOLED, new_small_network, small_logits
from spoofscope.training.trainables import COMPONENTS, TRAINABLES, trainable

NAMES = sorted(TRAINABLES)


@pytest.fixture(scope="module")
def sounds():
    """White noise is bona fide, dull noise is spoof: 6 recordings of each, 0.7 s long."""
    rng = np.random.default_rng(0)
    bonafide = [rng.normal(0, 0.1, 11_200).astype(np.float32) for _ in range(6)]
    return {True: bonafide, False: [np.convolve(audio, [1, 1], mode="same").astype(np.float32) for audio in bonafide]}


def pools_of(kind, sounds):
    return {side: [[kind.hear(audio)] for audio in each] for side, each in sounds.items()}


def scores_of(kind, pools, seed=0):
    score = kind.fit(pools, 25, seed)
    return tuple(score([copies[0] for copies in pools[side]]) for side in (True, False))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_taught_is_told_apart_and_higher_means_bona_fide(name, sounds):
    bonafide, spoof = scores_of(trainable(name), pools_of(trainable(name), sounds))
    assert bonafide.shape == spoof.shape == (6,)
    assert bonafide.min() > spoof.max()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_scores_and_another_seed_others(name, sounds):
    kind = trainable(name)
    pools = pools_of(kind, sounds)
    first, again, other = (scores_of(kind, pools, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_learnt_from_too(name, sounds):
    kind = trainable(name)
    pools = pools_of(kind, sounds)
    swapped = {
        side: [[copies[0], other[0]] for copies, other in zip(pools[side], pools[not side], strict=True)] for side in pools
    }
    assert not np.array_equal(scores_of(kind, pools)[0], scores_of(kind, swapped)[0])


@pytest.mark.parametrize("name", NAMES)
def test_no_more_than_four_seconds_are_heard(name):
    audio = np.random.default_rng(1).normal(0, 0.1, 80_000).astype(np.float32)
    kind = trainable(name)
    np.testing.assert_array_equal(kind.hear(audio), kind.hear(audio[:64_000]))
    assert kind.hear(audio).shape == (399, 60)


def test_a_score_does_not_depend_on_its_batch(sounds):
    kind = trainable("logmel_cnn")
    pools = pools_of(kind, sounds)
    score = kind.fit(pools, 3, 0)
    batch = [copies[0] for copies in pools[True]]
    np.testing.assert_array_equal(score(batch), np.concatenate([score([features]) for features in batch]))


def test_the_small_network_has_a_weight_for_every_channel_and_frequency():
    torch = pytest.importorskip("torch")
    network = new_small_network()
    assert 2 * CHANNELS[-1] * 8 == POOLED
    assert small_logits(network, torch.zeros(3, 50, 60)).shape == (3,)


def test_training_and_scoring_leave_the_state_of_pytorch_as_it_was(sounds):
    torch = pytest.importorskip("torch")
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    kind = trainable("logmel_cnn")
    pools = pools_of(kind, sounds)
    kind.fit(pools, 1, 0)([pools[True][0][0]])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_too_few_frames_for_the_mixtures_are_refused():
    few = [[np.zeros((COMPONENTS - 1, 60), np.float32)]]
    with pytest.raises(NotEnoughTrials, match="63 frames of a class cannot fit 64 components"):
        trainable("lfcc_gmm").fit({True: few, False: few}, 1, 0)


def test_an_unknown_detector_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownName, match="no detector named 'lfcc_gm' can be trained many times. Did you mean 'lfcc_gmm'"):
        trainable("lfcc_gm")


def test_a_network_without_pytorch_says_what_to_install_and_the_mixtures_do_without(sounds, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    kind = trainable("lfcc_gmm")
    scores_of(kind, pools_of(kind, sounds))
    with pytest.raises(MissingExtra, match=r"pip install 'spoofscope\[torch\]'"):
        trainable("logmel_cnn").fit(pools_of(trainable("logmel_cnn"), sounds), 1, 0)
