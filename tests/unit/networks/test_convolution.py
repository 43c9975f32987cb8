"""Convolutions with channels innermost: the same answers in the same shapes, and no other model touched."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from spoofscope.networks.convolution import channels_innermost  # noqa: E402


def model(norm: str) -> "torch.nn.Module":
    torch.manual_seed(1)
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        conv_bias=norm == "layer",
    )
    return transformers.Wav2Vec2Model(config).eval()


@pytest.mark.parametrize("samples", [400, 401, 5_000])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_answers_are_the_same_in_the_same_shape(samples: int, batch: int) -> None:
    audio = torch.randn(batch, samples)
    with torch.inference_mode():
        expected = model("layer").feature_extractor(audio)
        found = channels_innermost(model("layer")).feature_extractor(audio)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        whole = model("layer")(audio).last_hidden_state
        torch.testing.assert_close(channels_innermost(model("layer"))(audio).last_hidden_state, whole, atol=1e-4, rtol=1e-4)
    assert found.transpose(1, 2).is_contiguous()


def test_each_layer_still_answers_as_before() -> None:
    before, after, audio = model("layer"), channels_innermost(model("layer")), torch.randn(2, 3_000)
    with torch.inference_mode():
        x, y = audio[:, None], audio[:, None]
        for one, other in zip(before.feature_extractor.conv_layers, after.feature_extractor.conv_layers, strict=True):
            x, y = one(x), other(y)
            torch.testing.assert_close(y, x, atol=1e-5, rtol=1e-5)


def test_a_model_whose_first_convolution_is_group_normed_is_left_as_it_is() -> None:
    group = model("group")
    layers = list(group.feature_extractor.conv_layers)
    assert list(channels_innermost(group).feature_extractor.conv_layers) == layers
