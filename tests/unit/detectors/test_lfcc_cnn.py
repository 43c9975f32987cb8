"""The LFCC-CNN detector: any length, any batch, any number of cores, one score."""

import os
import subprocess
import sys

import numpy as np
import pytest

from spoofscope.detectors._trained import Trained
from spoofscope.detectors.lfcc_cnn import CARD, KIND, POOLED, LfccCnn, convolution, convolutions
from spoofscope.errors import WeightsError
from spoofscope.networks.products import MULTIPLICATIONS, stable_product


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def trained(**changes):
    rng = np.random.default_rng(0)
    tensors = {"head.weight": rng.normal(size=(1, POOLED)), "head.bias": rng.normal(size=1)}
    for name, shape in convolutions():
        size = (shape.outputs, shape.inputs, shape.kernel, shape.kernel)
        tensors[f"{name}.weight"] = rng.normal(0, 1 / (shape.inputs**0.5 * shape.kernel), size)
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, shape.outputs)
    return Trained(KIND, {name: value.astype(np.float32) for name, value in (tensors | changes).items()}, {"trials": "toy"})


@pytest.fixture
def weights(tmp_path):
    trained().save(tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def test_scores_do_not_depend_on_the_batch_or_its_order(weights):
    detector = LfccCnn(weights=weights)
    batch = [noise(n, n) for n in (1, 400, 8000, 32_000, 64_600)]
    together = detector.score(batch)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together, [detector.score([audio])[0] for audio in batch])
    np.testing.assert_array_equal(together[::-1], detector.score(batch[::-1]))


def test_an_empty_batch_has_no_scores(weights):
    assert LfccCnn(weights=weights).score([]).shape == (0,)


def test_gain_does_not_change_the_score(weights):
    audio = noise(16_000)
    loud, soft = LfccCnn(weights=weights).score([audio, audio * 0.05])
    assert loud == pytest.approx(soft, abs=1e-3)


def test_only_the_first_four_seconds_are_heard(weights):
    detector = LfccCnn(weights=weights)
    audio = noise(80_000)
    np.testing.assert_array_equal(detector.score([audio]), detector.score([audio[:64_000]]))
    assert detector.score([audio]) != detector.score([audio[:63_000]])


def test_the_score_moves_with_the_bias_of_the_head(tmp_path, weights):
    bias = trained().tensors["head.bias"]
    trained(**{"head.bias": bias + 3}).save(tmp_path / "moved.safetensors")
    batch = [noise(8000)]
    moved = LfccCnn(weights=tmp_path / "moved.safetensors").score(batch)
    np.testing.assert_allclose(moved, LfccCnn(weights=weights).score(batch) + 3, rtol=1e-5)


def test_a_kernel_of_one_tap_shifts_and_strides():
    maps = np.arange(5 * 1 * 4, dtype=np.float32).reshape(5, 1, 4)
    kernel = np.zeros((1, 1, 3, 3), np.float32)
    kernel[0, 0, 0, 2] = 1.0
    shifted = convolution(maps, kernel, np.zeros(1, np.float32), (2, 1))
    expected = np.zeros((3, 1, 4), np.float32)
    expected[1, 0, :3], expected[2, 0, :3] = maps[1, 0, 1:], maps[3, 0, 1:]
    np.testing.assert_array_equal(shifted, expected)


def test_every_product_of_the_network_is_too_small_for_the_blas_to_split():
    bands = 60
    for name, shape in convolutions():
        if name == "stem" or name.endswith("first"):
            bands = -(-bands // shape.stride[1])
        assert shape.outputs * shape.inputs * shape.kernel**2 * bands <= MULTIPLICATIONS, name


@pytest.mark.parametrize("size", [(1, 60, 60), (399, 257, 60), (700, 120, 128), (3, 600, 600)])
def test_a_product_in_pieces_is_the_product(size):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=size[:2]), rng.normal(size=size[1:])
    np.testing.assert_allclose(stable_product(left, right), left @ right, atol=1e-11)


def test_scores_have_the_same_bits_on_one_thread_and_on_two(weights):
    program = (
        "import sys, numpy as np\n"
        "from spoofscope.detectors.lfcc_cnn import LfccCnn\n"
        "from spoofscope.detectors.lfcc_gmm import log_likelihood, Mixture\n"
        "from spoofscope.networks.lfcc import lfcc\n"
        "rng = np.random.default_rng(0)\n"
        "audio = rng.normal(0, 0.1, 64000).astype(np.float32)\n"
        "mixture = Mixture(np.full(128, -np.log(128)), rng.normal(size=(128, 60)), rng.uniform(1, 2, (128, 60)))\n"
        "print(LfccCnn(weights=sys.argv[1]).score([audio]).tobytes().hex())\n"
        "print(log_likelihood(lfcc(audio), mixture).tobytes().hex())\n"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program, str(weights)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 2)
    }
    assert len(answers) == 1


def test_own_weights_change_the_card_of_the_instance_only(weights):
    assert LfccCnn(weights=weights).card.trained_on == ("toy",)
    assert LfccCnn.card is CARD


def test_weights_of_another_network_are_refused(tmp_path):
    trained(**{"stem.weight": np.zeros((8, 1, 3, 3))}).save(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"'stem.weight' is \(8, 1, 3, 3\), expected \(16, 1, 3, 3\)"):
        LfccCnn(weights=tmp_path / "w.safetensors")
