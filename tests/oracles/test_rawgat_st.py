"""The folded RawGAT-ST network against the published one, op for op, on random weights."""

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spoofscope.networks.rawgat_st import HIDDEN_DIM, SAMPLES, fold, hidden_layer, logits  # noqa: E402
from spoofscope.networks.workers import Workers, in_turn  # noqa: E402
from tests.oracles.eager_rawgat_st import EagerRawgatSt  # noqa: E402
from tests.unit.detectors.test_rawgat_st import random_state  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the eager network from spinning while other tests run beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clip(seed: int) -> "torch.Tensor":
    """Return noise whose second half is dull and quiet, so that the nodes of both graphs differ."""
    noise = 0.2 * torch.randn(1, SAMPLES, generator=torch.Generator().manual_seed(seed))
    half = SAMPLES // 2
    noise[:, half:] = 0.3 * (noise[:, half:] + noise[:, half - 1 : -1])
    return noise


def test_the_folded_network_equals_the_published_one() -> None:
    # In double precision, since attention of random weights without a temperature magnifies the rounding of single precision.
    state = {name: value.double() for name, value in random_state(0).items()}
    published = EagerRawgatSt().double()
    published.filters = published.filters.double()
    published.load_state_dict(state, strict=True)
    audio = clip(0).double()
    with torch.inference_mode():
        nodes, expected = published.eval()(audio)
        folded = {name: value.double() for name, value in fold(state).items()}
        hidden = hidden_layer(audio, folded, run=in_turn)
        found = logits(hidden, folded)
    assert hidden.shape == (1, HIDDEN_DIM) and nodes.std(dim=1).min() > 1e-3
    np.testing.assert_allclose(hidden, nodes.flatten(1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_one_stretch_for_a_graphics_processor_gives_the_same_logits() -> None:
    folded = fold(random_state(0))
    audio = torch.cat([clip(0), clip(1)])
    with torch.inference_mode():
        in_stretches, at_once = (hidden_layer(audio, folded, run=in_turn, whole=whole) for whole in (False, True))
        np.testing.assert_allclose(logits(at_once, folded), logits(in_stretches, folded), atol=1e-4)
        assert abs(np.diff(logits(at_once, folded), axis=0)).max() > 1e-3


def test_stretches_computed_side_by_side_give_the_same_bits_as_in_turn() -> None:
    folded = fold(random_state(0))
    audio = clip(3)
    answers = [
        Workers(threads).map(lambda heard, run: hidden_layer(heard, folded, run=run), [audio])[0] for threads in (1, 2, 5)
    ]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])
