"""The folded AASIST network against the published one, op for op, on random weights."""

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spoofscope.networks import aasist as network  # noqa: E402
from spoofscope.networks.aasist import AASIST, AASIST_L, fold, hidden_layer, logits, sinc_filters  # noqa: E402
from spoofscope.networks.workers import Workers, in_turn  # noqa: E402
from tests.oracles.eager_aasist import EagerAasist  # noqa: E402
from tests.oracles.eager_aasist import sinc_filters as published_filters  # noqa: E402
from tests.unit.detectors.test_aasist import random_state  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the eager network from spinning while other tests run beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def both(shape: str, samples: int, seed: int = 0) -> tuple[tuple, tuple]:
    """Return (last hidden layer, logits) of ours and of the published network for three clips."""
    architecture = {"aasist": AASIST, "aasist_l": AASIST_L}[shape]
    state = random_state(architecture, seed)
    published = EagerAasist(shape)
    published.load_state_dict(state, strict=True)
    audio = torch.randn(3, samples, generator=torch.Generator().manual_seed(seed)) * 0.1
    with torch.inference_mode():
        expected = published.eval()(audio)
        folded = fold(state, architecture)
        hidden = hidden_layer(audio, folded, architecture, run=in_turn)
        return (hidden, logits(hidden, folded)), expected


@pytest.mark.parametrize("shape", ["aasist", "aasist_l"])
@pytest.mark.parametrize(("samples", "seed"), [(16_001, 0), (20_000, 1)])
def test_the_folded_network_equals_the_published_one(shape: str, samples: int, seed: int) -> None:
    found, expected = both(shape, samples, seed)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert expected[1].std() > 1e-2  # the clips differ by more than the tolerance


@pytest.mark.parametrize("stretch_values", [1, 24 * 50 * 32, 10**9])
def test_where_time_is_cut_changes_nothing(stretch_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if stretch_values == 1:
        monkeypatch.setattr(network, "stretches", lambda frames, _: [(i, min(i + 7, frames)) for i in range(0, frames, 7)])
    monkeypatch.setattr(network, "STRETCH_VALUES", max(stretch_values, 24 * 64 * 9))
    found, expected = both("aasist_l", 16_001)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)


def test_stretches_computed_side_by_side_give_the_same_bits_as_in_turn() -> None:
    folded = fold(random_state(AASIST_L), AASIST_L)
    audio = torch.randn(1, 64_600, generator=torch.Generator().manual_seed(3)) * 0.1
    answers = [
        Workers(threads).map(lambda clip, run: hidden_layer(clip, folded, AASIST_L, run=run), [audio])[0]
        for threads in (1, 2, 5)
    ]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])


def test_the_band_pass_filters_are_those_of_the_slow_construction() -> None:
    np.testing.assert_allclose(sinc_filters(), published_filters()[:, 0], atol=1e-7)
