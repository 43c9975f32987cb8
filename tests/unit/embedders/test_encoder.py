"""The walk over speech encoders: what the layers are, what is pooled, and that a batch cannot be heard in the answer."""

import numpy as np
import pytest

from spoofscope.cards import Card
from spoofscope.checks.embedder import worst_difference
from spoofscope.embedders import Embedder
from spoofscope.errors import UserError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from spoofscope.embedders import _encoder, _hearing  # noqa: E402
from spoofscope.embedders._encoder import BASELINE_WINDOW_S, EncoderEmbedder, buckets, listening, window_s  # noqa: E402
from tests.unit.embedders import tiny  # noqa: E402

LENGTHS = (16_000, 14_500, 3_000, 1, 500, 16_000, 15_990, 30_000, 13_000)
CARD = Card(name="tiny", licence="")
RAW = [name for name in tiny.MODELS if name not in ("w2v-bert", "whisper")]
RELAXED = [name for name, (_, _, pads) in tiny.MODELS.items() if pads]
STRICT = [name for name, (_, _, pads) in tiny.MODELS.items() if not pads and name != "whisper"]


def embedder(name: str, **options) -> EncoderEmbedder:
    settings = {"card": CARD, "normalise": False, "feature_extractor": tiny.feature_extractor(name)} | options
    return EncoderEmbedder(tiny.build(name), **settings)


def streams(built: EncoderEmbedder, audio: np.ndarray):
    """Return every layer of one recording, unpooled, and all that transformers answers."""
    found = {}
    pieces = built._hearing.pieces(audio)
    with torch.inference_mode(), listening(built._points, found.__setitem__):
        answer = built._model(**built._arguments(pieces), output_hidden_states=True)
    return found, answer


@pytest.mark.parametrize("name", tiny.MODELS)
def test_the_last_layer_of_the_stream_is_the_last_hidden_state_and_the_others_are_the_hidden_states_before_it(name):
    found, answer = streams(embedder(name), tiny.noises(16_000)[0])
    last = "final" if name in tiny.WITH_FINAL_NORM else "3"
    assert list(found) == ["0", "1", "2", "3", *(["final"] if name in tiny.WITH_FINAL_NORM else [])]
    if name != "wav2vec2 with an adapter":  # there the last hidden state has left the encoder
        assert torch.equal(found[last], answer.last_hidden_state)
    for layer in range(3):
        assert torch.equal(found[str(layer)], answer.hidden_states[layer])
    if last == "final":
        assert not torch.allclose(found["3"], found["final"], atol=0.01)


@pytest.mark.parametrize("name", ["wav2vec2 base", "wav2vec2 large"])
def test_the_stream_is_that_of_a_walk_by_hand(name):
    built = embedder(name)
    audio = tiny.noises(8_000)[0]
    model = built._model
    with torch.inference_mode():
        projected, _ = model.feature_projection(model.feature_extractor(torch.from_numpy(audio)[None]).transpose(1, 2))
        stream = projected + model.encoder.pos_conv_embed(projected)
        if name == "wav2vec2 base":
            stream = model.encoder.layer_norm(stream)
        expected = [stream]
        for layer in model.encoder.layers:
            answer = layer(stream)
            stream = answer[0] if isinstance(answer, tuple) else answer
            expected.append(stream)
        if name == "wav2vec2 large":
            expected.append(model.encoder.layer_norm(stream))
    pooled = np.stack([one[0].double().mean(dim=0).float().numpy() for one in expected])
    np.testing.assert_allclose(built.embed([audio])[0], pooled, atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "mean_std"])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_a_batch_of_many_lengths_equals_one_by_one_in_any_order(name, pool):
    built = embedder(name, pool=pool)
    batch = tiny.noises(*LENGTHS)
    kept = [audio.copy() for audio in batch]
    together = built.embed(batch)
    assert together.dtype == np.float32 and together.shape == (len(batch), len(built.layers), built.dim)
    assert np.isfinite(together).all()
    alone = np.concatenate([built.embed([audio]) for audio in batch])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(built.embed(batch[::-1])[::-1], together, rtol=0, atol=1e-5)
    for audio, copy in zip(batch, kept, strict=True):
        np.testing.assert_array_equal(audio, copy)


@pytest.mark.parametrize("name", STRICT)
def test_where_padding_would_be_heard_only_equal_lengths_share_a_batch(name):
    built = embedder(name)
    batch = tiny.noises(16_000, 15_000, 16_000)
    alone = np.concatenate([built.embed([audio]) for audio in batch])
    passes = counted(built)
    np.testing.assert_allclose(built.embed(batch), alone, rtol=0, atol=1e-5)
    assert passes == [2, 1]
    built._masks_exactly = True  # the fault that the table of families guards against
    assert worst_difference(alone, built.embed(batch)) > 1e-3


@pytest.mark.parametrize("name", RELAXED)
def test_where_padding_is_masked_similar_lengths_share_a_batch_and_frames_of_padding_are_not_pooled(name, monkeypatch):
    built = embedder(name)
    batch = tiny.noises(16_000, 15_000, 13_100, 12_000)
    alone = np.concatenate([built.embed([audio]) for audio in batch])
    passes = counted(built)
    np.testing.assert_allclose(built.embed(batch), alone, rtol=0, atol=1e-5)
    assert passes == [3, 1]
    if name != "w2v-bert":
        monkeypatch.setattr(_hearing, "real_frames", lambda model, steps: 10_000)
        assert worst_difference(alone, built.embed(batch)) > 1e-3  # the fault: padding pooled


def counted(built: EncoderEmbedder) -> list[int]:
    """Return a list that fills with the number of recordings in each forward pass."""
    passes: list[int] = []
    built._model.register_forward_pre_hook(
        lambda module, arguments, named: passes.append(len(named[built._hearing.input_name])), with_kwargs=True
    )
    return passes


@pytest.mark.parametrize("name", RAW)
def test_real_frames_are_as_many_as_the_model_makes(name):
    built = embedder(name)
    for length in (400, 719, 720, 721, 5_000, 16_123):
        found, _ = streams(built, tiny.noises(length)[0])
        assert built._hearing.pieces(tiny.noises(length)[0])[0].frames == found["0"].shape[1] == (length - 400) // 320 + 1


@pytest.mark.parametrize("name", ["wav2vec2 base", "w2v-bert"])
def test_sound_too_short_to_be_heard_is_repeated(name):
    built = embedder(name)
    short = tiny.noises(150)[0]
    shortest = built._hearing.shortest
    assert shortest == (400 if name == "wav2vec2 base" else 560)
    np.testing.assert_array_equal(built.embed([short]), built.embed([np.tile(short, 4)[:shortest]]))


def test_the_window_of_the_card_is_what_is_heard():
    built = embedder("wav2vec2 large", card=Card(name="tiny", licence="", window_s=window_s("detector")))
    short, long = tiny.noises(30_000, 70_000)
    np.testing.assert_array_equal(built.embed([long]), built.embed([long[:64_600]]))
    np.testing.assert_array_equal(built.embed([short]), built.embed([np.tile(short, 3)[:64_600]]))
    assert window_s("whole") is None and window_s("detector") == BASELINE_WINDOW_S == 4.0375
    assert worst_difference(embedder("wav2vec2 large").embed([short]), built.embed([short])) > 1e-4


def test_layers_are_kept_in_the_order_asked_and_none_above_them_is_computed():
    everything = embedder("wav2vec2 large").embed(tiny.noises(9_000))
    built = embedder("wav2vec2 large", layers=["2", "0"])
    seen: list[str] = []
    for number, layer in enumerate(built._model.encoder.layers, start=1):
        layer.register_forward_pre_hook(lambda module, arguments, number=number: seen.append(str(number)))
    np.testing.assert_array_equal(built.embed(tiny.noises(9_000)), everything[:, [2, 0]])
    assert built.layers == ("2", "0") and seen == ["1", "2"]
    assert embedder("wav2vec2 large", layers="final").layers == ("final",)
    assert embedder("wav2vec2 large", layers=[3]).layers == ("3",)


def test_pooling_doubles_the_dimension_and_begins_with_the_mean():
    batch = tiny.noises(9_000, 5_000)
    mean, both = embedder("hubert large"), embedder("hubert large", pool="mean_std")
    assert (mean.dim, both.dim) == (32, 64)
    np.testing.assert_array_equal(both.embed(batch)[..., :32], mean.embed(batch))
    found, _ = streams(mean, batch[0])
    spread = np.stack([stream[0].double().std(dim=0, correction=0).float().numpy() for stream in found.values()])
    np.testing.assert_allclose(both.embed(batch)[0, :, 32:], spread, atol=1e-6)


def test_hooks_do_not_outlive_a_call_even_one_that_fails(monkeypatch):
    built = embedder("wav2vec2 large")
    monkeypatch.setattr(_encoder, "_moments", lambda frames: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        built.embed(tiny.noises(5_000))
    hooks = [hook for module in built._model.modules() for hook in (*module._forward_hooks, *module._forward_pre_hooks)]
    assert hooks == []


def test_an_empty_batch_has_no_vectors():
    assert embedder("wav2vec2 large", pool="mean_std").embed([]).shape == (0, 5, 64)


def test_an_encoder_is_an_embedder_and_says_what_decides_its_vectors():
    built = embedder("wav2vec2 large", pool="mean_std", normalise=True, layers=["1"], settings={"source": "x"})
    assert isinstance(built, Embedder)
    assert built.settings == {"pool": "mean_std", "normalise": True, "layers": ["1"], "source": "x"}
    assert built.precision == "float32"


@pytest.mark.parametrize("pads", [True, False])
def test_every_recording_is_in_one_bucket_and_padding_and_size_are_bounded(pads):
    lengths = [*np.random.default_rng(3).integers(1, 5_000, 300).tolist(), 40_000, 1, 1, 777, 777]
    found = list(buckets(lengths, pads=pads, most_steps=20_000))
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    for bucket in found:
        held = [lengths[index] for index in bucket]
        assert min(held) >= 0.8 * max(held) if pads else len(set(held)) == 1
        assert len(held) == 1 or len(held) * max(held) <= 20_000
    assert list(buckets([], pads=pads, most_steps=10)) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pool": "max"}, "pool is 'max'; it must be one of mean, mean_std"),
        ({"layers": ["1", "24"]}, r"tiny has no layer '24'; its layers are 0, 1, 2, 3, final"),
        ({"layers": []}, r"layers is \[\]; name at least one layer of tiny, each once"),
        ({"layers": ["1", "1"]}, "each once"),
        ({"device": "gpu"}, "device is 'gpu'; it must be cpu, cuda"),
        ({"precision": "float16"}, "precision is 'float16'; it must be float32 or bfloat16"),
        ({"precision": "bfloat16"}, "which is for a graphics processor: say device='cuda'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        embedder("wav2vec2 large", **options)


def test_a_model_that_is_no_speech_encoder_is_refused_naming_those_that_are():
    from transformers import BertConfig

    with pytest.raises(UserError, match=r"of type 'bert'; the speech encoders known here are wav2vec2, hubert, wavlm"):
        _encoder.family_of(BertConfig())


def test_an_encoder_of_features_needs_its_extractor():
    with pytest.raises(UserError, match="an encoder of the family whisper needs its feature extractor"):
        embedder("whisper", feature_extractor=None)


def test_a_window_that_is_no_word_is_refused():
    with pytest.raises(UserError, match="window is '4 s'; it must be whole, or detector"):
        window_s("4 s")
