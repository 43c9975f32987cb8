"""Slow second implementations: features frame by frame, the network in PyTorch, the mixture in scikit-learn."""

import numpy as np
import pytest

from spoofscope.detectors.lfcc_cnn import convolution, convolutions, logit
from spoofscope.detectors.lfcc_gmm import Mixture, log_likelihood
from spoofscope.networks.lfcc import floored, lfcc, log_filterbank
from spoofscope.training.gmm import em_step, initial_mixture
from spoofscope.training.network import exported, logits, new_network


def sound(seconds=0.3, seed=0):
    rng = np.random.default_rng(seed)
    samples = round(seconds * 16_000)
    chirp = np.sin(2 * np.pi * (200 + 2000 * np.linspace(0, seconds, samples)) * np.linspace(0, seconds, samples))
    return (0.3 * chirp + rng.normal(0, 0.05, samples)).astype(np.float32)


def energies_frame_by_frame(audio, n_filters, window):
    """Triangles evaluated bin by bin on the definition of the Fourier transform."""
    audio = audio.astype(np.float64)
    emphasised = [audio[0]] + [audio[t] - 0.97 * audio[t - 1] for t in range(1, len(audio))]
    edges = [8000 * edge / (n_filters + 1) for edge in range(n_filters + 2)]
    rows = []
    for start in range(0, len(audio) - 320 + 1, 160):
        frame = np.array(emphasised[start : start + 320]) * window
        row = np.zeros(n_filters)
        for k in range(257):
            turn = np.exp(-2j * np.pi * k * np.arange(320) / 512)
            power, hertz = abs(np.sum(frame * turn)) ** 2, k * 16_000 / 512
            for band in range(n_filters):
                left, top, right = edges[band : band + 3]
                if left <= hertz <= top:
                    row[band] += power * (hertz - left) / (top - left)
                elif top < hertz <= right:
                    row[band] += power * (right - hertz) / (right - top)
        rows.append(row)
    return np.array(rows)


def test_the_filterbank_is_that_of_a_frame_by_frame_implementation():
    audio = sound()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 319)
    np.testing.assert_allclose(
        log_filterbank(audio), 10 * np.log10(energies_frame_by_frame(audio, 60, hann) + 1e-12), atol=0.01
    )


def test_cepstra_are_those_of_a_frame_by_frame_implementation():
    audio = sound()
    hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(320) / 319)
    logs = np.log10(energies_frame_by_frame(audio, 20, hamming) + 1e-12)
    static = np.zeros_like(logs)
    for frame in range(len(logs)):
        for order in range(20):
            scale = np.sqrt((1 if order == 0 else 2) / 20)
            static[frame, order] = scale * sum(
                logs[frame, band] * np.cos(np.pi * order * (band + 0.5) / 20) for band in range(20)
            )
    answer = lfcc(audio)
    np.testing.assert_allclose(answer[:, :20], static, atol=1e-3)
    last = len(static) - 1
    for source, target in ((answer[:, :20], answer[:, 20:40]), (answer[:, 20:40], answer[:, 40:])):
        for frame in range(len(static)):
            np.testing.assert_array_equal(target[frame], source[min(frame + 1, last)] - source[max(frame - 1, 0)])


@pytest.fixture(scope="module")
def network():
    """A network with lived-in normalisation: every gain, shift, mean and variance is random."""
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = new_network()
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.2)
                torch.nn.init.normal_(module.running_mean, std=0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net.eval()


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.37, 1.0])
def test_numpy_and_pytorch_run_the_same_network(network, seconds):
    torch = pytest.importorskip("torch")
    features = floored(log_filterbank(sound(seconds)))
    with torch.no_grad():
        expected = float(logits(network, torch.from_numpy(features[None]))[0])
    assert logit(features, exported(network)) == pytest.approx(expected, abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
@pytest.mark.parametrize("size", [(1, 1), (7, 6), (8, 5)])
def test_convolution_is_the_sum_over_taps(stride, size):
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(size[0], 2, size[1])).astype(np.float32)
    kernel, bias = rng.normal(size=(3, 2, 3, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    answer = convolution(maps, kernel, bias, stride)
    assert answer.shape == (-(-size[0] // stride[0]), 3, -(-size[1] // stride[1]))
    for (frame, output, band), value in np.ndenumerate(answer):
        expected = float(bias[output])
        for (channel, over_time, over_bands), tap in np.ndenumerate(kernel[output]):
            t, b = frame * stride[0] + over_time - 1, band * stride[1] + over_bands - 1
            if 0 <= t < size[0] and 0 <= b < size[1]:
                expected += float(tap) * float(maps[t, channel, b])
        assert value == pytest.approx(expected, abs=1e-5)


def test_the_network_has_the_convolutions_that_it_names(network):
    assert set(exported(network)) == {
        "head.weight",
        "head.bias",
        *(f"{name}.{part}" for name, _ in convolutions() for part in ("weight", "bias")),
    }


def test_expectation_maximisation_follows_scikit_learn():
    mixture_module = pytest.importorskip("sklearn.mixture")
    rng = np.random.default_rng(3)
    frames = np.concatenate([rng.normal(-2, 1, (300, 4)), rng.normal(1, 0.6, (500, 4)), rng.normal(4, 2, (200, 4))])
    ours = initial_mixture(frames, 3, rng)
    theirs = mixture_module.GaussianMixture(
        3,
        covariance_type="diag",
        weights_init=np.exp(ours.log_weights),
        means_init=ours.means,
        precisions_init=1 / ours.variances,
        reg_covar=0,
        tol=1e-12,
        max_iter=2000,
    ).fit(frames)
    for _ in range(500):
        ours, _ = em_step(frames, ours)
    np.testing.assert_allclose(np.exp(ours.log_weights), theirs.weights_, rtol=1e-4)
    np.testing.assert_allclose(ours.means, theirs.means_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.variances, theirs.covariances_, rtol=1e-4)
    np.testing.assert_allclose(log_likelihood(frames, ours), theirs.score_samples(frames), rtol=1e-4)


def test_the_density_is_the_sum_over_components_and_dimensions():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(5, 3))
    mixture = Mixture(np.log([0.2, 0.8]), rng.normal(size=(2, 3)), rng.uniform(0.5, 2, (2, 3)))
    for frame, answer in zip(frames, log_likelihood(frames, mixture), strict=True):
        density = 0.0
        for weight, means, variances in zip(np.exp(mixture.log_weights), mixture.means, mixture.variances, strict=True):
            for value, mean, variance in zip(frame, means, variances, strict=True):
                weight = weight * np.exp(-((value - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            density += weight
        assert answer == pytest.approx(np.log(density))
