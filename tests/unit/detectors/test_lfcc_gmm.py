"""The LFCC-GMM detector: its score is the ratio that its card names, and its weights are verified."""

import numpy as np
import pytest

from spoofscope.detectors._trained import Trained
from spoofscope.detectors.lfcc_gmm import CARD, KIND, LfccGmm, Mixture, log_likelihood
from spoofscope.errors import WeightsError
from spoofscope.networks.lfcc import lfcc


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def random_mixture(components, dimensions, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(components))
    return Mixture(np.log(weights), rng.normal(size=(components, dimensions)), rng.uniform(0.5, 2.0, (components, dimensions)))


def trained(components=4, **changes):
    tensors = {}
    for seed, side in enumerate(("bonafide", "spoof")):
        mixture = random_mixture(components, 60, seed)
        tensors |= {f"{side}.{part}": value.astype(np.float32) for part, value in mixture._asdict().items()}
    return Trained(KIND, tensors | changes, {"trials": "toy, train"})


@pytest.fixture
def detector(tmp_path):
    trained().save(tmp_path / "own.safetensors")
    return LfccGmm(weights=tmp_path / "own.safetensors")


def test_a_mixture_of_one_is_the_normal_density():
    frames = np.array([[1.0, -2.0]])
    mixture = Mixture(np.zeros(1), np.array([[0.0, 1.0]]), np.array([[4.0, 0.25]]))
    expected = -0.5 * (1 / 4 + 9 / 0.25) - 0.5 * np.log(4 * 0.25) - np.log(2 * np.pi)
    np.testing.assert_allclose(log_likelihood(frames, mixture), [expected])


def test_the_density_of_a_mixture_integrates_to_one():
    grid = np.linspace(-15, 15, 6001)
    density = np.exp(log_likelihood(grid[:, None], random_mixture(3, 1)))
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-6)


def test_the_density_far_from_every_mean_is_tiny_and_not_minus_infinity():
    assert np.isfinite(log_likelihood(np.full((1, 60), 1e3), random_mixture(4, 60))).all()


def test_equal_mixtures_score_zero(tmp_path):
    one = trained().tensors
    same = {name.replace("bonafide", "spoof"): value for name, value in one.items() if name.startswith("bonafide")}
    trained(**same).save(tmp_path / "same.safetensors")
    assert LfccGmm(weights=tmp_path / "same.safetensors").score([noise(8000)]).tolist() == [0.0]


def test_exchanging_the_mixtures_flips_the_score(tmp_path, detector):
    exchange = {"bonafide": "spoof", "spoof": "bonafide"}
    flipped = {f"{exchange[name.split('.')[0]]}.{name.split('.')[1]}": value for name, value in trained().tensors.items()}
    trained(**flipped).save(tmp_path / "flipped.safetensors")
    batch = [noise(8000)]
    np.testing.assert_array_equal(LfccGmm(weights=tmp_path / "flipped.safetensors").score(batch), -detector.score(batch))


def test_scores_do_not_depend_on_the_batch_or_its_order(detector):
    batch = [noise(n, n) for n in (1, 400, 8000, 64_600)]
    together = detector.score(batch)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, [detector.score([audio])[0] for audio in batch])
    np.testing.assert_array_equal(together[::-1], detector.score(batch[::-1]))


def test_only_the_first_four_seconds_are_heard(detector):
    audio = noise(80_000)
    np.testing.assert_array_equal(detector.score([audio]), detector.score([audio[:64_000]]))
    assert detector.score([audio]) != detector.score([audio[:63_000]])


def test_the_score_is_the_mean_log_likelihood_ratio(detector):
    frames = lfcc(noise(8000))
    tensors = trained().tensors
    sides = [Mixture(*(tensors[f"{side}.{part}"].astype(float) for part in Mixture._fields)) for side in ("bonafide", "spoof")]
    expected = np.mean(log_likelihood(frames, sides[0]) - log_likelihood(frames, sides[1]))
    np.testing.assert_allclose(detector.score([noise(8000)]), [expected], rtol=1e-6)


def test_own_weights_change_the_card_of_the_instance_only(detector):
    assert detector.card.trained_on == ("toy, train",)
    assert detector.card.weights_sha256 != CARD.weights_sha256
    assert LfccGmm.card.trained_on == ("builtin/train",)


def test_missing_weights_say_how_to_make_them(tmp_path):
    with pytest.raises(WeightsError, match="spoofscope train lfcc_gmm"):
        LfccGmm(weights=tmp_path / "none.safetensors")


def test_weights_of_another_detector_are_refused(tmp_path):
    Trained("lfcc_cnn", {"x": np.zeros(1, np.float32)}, {}).save(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="holds weights of lfcc_cnn"):
        LfccGmm(weights=tmp_path / "w.safetensors")


def test_weights_with_a_tensor_of_another_shape_are_refused(tmp_path):
    trained(**{"spoof.means": np.zeros((4, 20), np.float32)}).save(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"'spoof.means' is \(4, 20\), expected \(None, 60\)"):
        LfccGmm(weights=tmp_path / "w.safetensors")
