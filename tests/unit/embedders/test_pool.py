"""Pooling over time: the numbers that NumPy gives, whatever stretches a recording was cut into."""

import numpy as np
import pytest

from spoofscope.embedders._pool import checked_pool, merged, moments_of, pooled_dim, vector
from spoofscope.errors import UserError


@pytest.fixture
def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (1000 + rng.standard_normal((500, 7)) * np.logspace(-3, 2, 7)).astype(np.float32)


def test_a_vector_is_the_mean_and_the_population_standard_deviation(frames):
    mean, both = vector(moments_of(frames), "mean"), vector(moments_of(frames), "mean_std")
    assert mean.dtype == both.dtype == np.float32
    np.testing.assert_array_equal(mean, frames.astype(np.float64).mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(both[7:], frames.astype(np.float64).std(axis=0, ddof=0).astype(np.float32))
    np.testing.assert_array_equal(both[:7], mean)
    assert pooled_dim(7, "mean") == 7 and pooled_dim(7, "mean_std") == 14


@pytest.mark.parametrize("cuts", [(), (1,), (499,), (3, 4, 250)])
def test_merging_stretches_gives_the_moments_of_all_frames_even_far_from_zero(frames, cuts):
    whole = moments_of(frames)
    together = merged([moments_of(stretch) for stretch in np.split(frames, cuts)])
    assert together.frames == whole.frames
    np.testing.assert_allclose(together.mean, whole.mean, rtol=1e-13)
    np.testing.assert_allclose(together.variance, whole.variance, rtol=1e-9)


def test_one_frame_has_no_spread():
    assert vector(moments_of(np.ones((1, 3), dtype=np.float32)), "mean_std").tolist() == [1, 1, 1, 0, 0, 0]


def test_another_word_is_refused():
    with pytest.raises(UserError, match="pool is 'max'; it must be one of mean, mean_std"):
        checked_pool("max")
