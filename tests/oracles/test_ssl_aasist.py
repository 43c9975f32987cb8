"""The folded back end of SSL_Anti-spoofing against the published one, op for op, on random weights."""

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spoofscope.networks import ssl_aasist  # noqa: E402
from spoofscope.networks.aasist import logits  # noqa: E402
from tests.oracles.eager_ssl_aasist import EagerBackEnd  # noqa: E402
from tests.small_ssl import SIZES, published_state  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the eager network from spinning while other tests run beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("frames", "seed"), [(3, 0), (4, 1), (67, 2), (201, 3)])
def test_the_folded_back_end_equals_the_published_one(frames: int, seed: int) -> None:
    state = {name: value for name, value in published_state(seed=seed).items() if not name.startswith("ssl_model")}
    published = EagerBackEnd(SIZES.dim)
    published.load_state_dict(state, strict=True)
    heard = torch.randn(3, frames, SIZES.dim, generator=torch.Generator().manual_seed(seed))
    weights = ssl_aasist.fold(state)
    with torch.inference_mode():
        hidden, both = published.eval()(heard)
        ours = ssl_aasist.hidden_layer(heard, weights)
    np.testing.assert_allclose(ours, hidden, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(logits(ours, weights), both, rtol=1e-4, atol=1e-4)
    assert both.std() > 1e-2  # the inputs differ by more than the tolerance
