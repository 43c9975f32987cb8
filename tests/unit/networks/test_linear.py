"""Linear layers for inference: the same answers, or answers as far off as their rounding allows."""

import pytest

torch = pytest.importorskip("torch")

from spoofscope.networks import linear  # noqa: E402


def layer(inputs: int = 96, outputs: int = 40, *, bias: bool = True) -> "torch.nn.Module":
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(inputs, outputs, bias=bias))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 96), (2, 7, 96), (1, 1, 96)])
def test_a_packed_layer_gives_the_same_sums(bias: bool, shape: tuple[int, ...]) -> None:
    model, x = layer(bias=bias), torch.randn(shape)
    with torch.inference_mode():
        expected = model(x)
        torch.testing.assert_close(linear.pack(model)(x), expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(not linear.can_quantise(), reason="needs a processor with VNNI")
@pytest.mark.parametrize("bias", [True, False])
def test_an_eight_bit_layer_is_as_far_off_as_half_a_step_of_each_number_allows(bias: bool) -> None:
    model, x = layer(bias=bias), torch.randn(50, 96) * torch.logspace(-3, 3, 50)[:, None]
    weight = model[0].weight.detach().double()
    with torch.inference_mode():
        expected = model(x).double()
        found = linear.quantise(model)(x).double()
    x = x.double()
    x_step, weight_step = x.abs().amax(1, keepdim=True) / 127 / 2, weight.abs().amax(1) / 127 / 2
    bound = x_step * weight.abs().sum(1) + weight_step * x.abs().sum(1, keepdim=True) + 96 * x_step * weight_step
    assert ((found - expected).abs() <= bound * 1.001 + 1e-6).all()
    assert (found - expected).abs().max() > 1e-4  # the bound is not empty


@pytest.mark.skipif(not linear.can_quantise(), reason="needs a processor with VNNI")
def test_eight_bits_take_zeros_and_keep_rows_apart() -> None:
    model = linear.quantise(layer())
    x = torch.stack([torch.zeros(96), torch.randn(96), 1e6 * torch.randn(96)])
    with torch.inference_mode():
        together, alone = model(x), torch.cat([model(row[None]) for row in x])
    assert torch.isfinite(together).all()
    assert torch.equal(together, alone)


@pytest.mark.skipif(not linear.has_bfloat16(), reason="needs a processor with bfloat16 instructions")
def test_bfloat16_rounds_inputs_and_answers_in_float32() -> None:
    model, x = layer(), torch.randn(5, 96)
    with torch.inference_mode():
        expected = model(x)
        found = linear.pack(model, bfloat16=True)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.02)
    assert not torch.equal(found, expected)
