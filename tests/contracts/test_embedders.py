"""Every built-in embedder keeps the contract: those that need no weights, and speech encoders with random ones."""

import pytest

from spoofscope.checks.embedder import check_embedder
from spoofscope.embedders import Embedder, build_embedder, card_of, embedders
from tests.unit.embedders import tiny

# Adapters need to be told what they adapt; published weights are fetched, and checked where they lie.
NEED_A_MODEL = {"hf", "onnx", "ssl_aasist.encoder", "xlsr"}
BUILT_IN = [name for name in embedders.names() if name not in NEED_A_MODEL and not card_of(name).weights_url]


def test_there_is_an_embedder_that_needs_nothing():
    assert "spectral" in BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_embedder_keeps_the_contract(name):
    built = build_embedder(name)
    assert isinstance(built, Embedder)
    assert [finding for finding in check_embedder(built) if not finding.ok] == []


@pytest.mark.parametrize("name", ["wav2vec2 base", "wavlm large", "data2vec", "w2v-bert", "whisper"])
def test_a_speech_encoder_keeps_the_contract(name, tmp_path):
    pytest.importorskip("transformers")
    built = build_embedder("hf", str(tiny.save(name, tmp_path / "model")), pool="mean_std")
    assert isinstance(built, Embedder)
    assert [finding for finding in check_embedder(built) if not finding.ok] == []


@pytest.mark.parametrize("name", embedders.names())
def test_every_embedder_says_what_it_is_and_which_options_it_has(name):
    card = card_of(name)
    assert card.name == name and card.output
    factory = embedders.get(name)
    documented = factory.__doc__ or ""
    options = factory.__init__.__kwdefaults__ if isinstance(factory, type) else factory.__kwdefaults__
    assert [option for option in options or {} if option not in documented] == []
