"""The weights that ship with the package: small, verified, and of the story that the card tells."""

import numpy as np
import pytest

from spoofscope.detectors import _trained, build_detector, card_of
from spoofscope.detectors._trained import SHIPPED, load_trained
from spoofscope.errors import WeightsError

NAMES = ("lfcc_cnn.builtin", "lfcc_gmm.builtin")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_are_those_of_the_card(name):
    card = card_of(name)
    trained, _ = load_trained(SHIPPED / card.weights_file, name.removesuffix(".builtin"), sha256=card.weights_sha256)
    assert len(card.weights_sha256) == 64
    assert trained.history["trials"] == "Built-in corpus, train"
    assert trained.history["settings"]["seed"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_score_speech_like_sound_of_any_length(name):
    rng = np.random.default_rng(0)
    batch = [rng.normal(0, 0.1, samples).astype(np.float32) for samples in (1, 8000, 64_600)]
    scores = build_detector(name).score(batch)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_replaced_file_of_shipped_weights_is_refused(name, tmp_path, monkeypatch):
    content = bytearray((SHIPPED / card_of(name).weights_file).read_bytes())
    content[-5] ^= 64
    (tmp_path / card_of(name).weights_file).write_bytes(content)
    monkeypatch.setattr(_trained, "SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        build_detector(name)


def test_shipped_weights_are_small():
    assert sum(file.stat().st_size for file in SHIPPED.glob("*.safetensors")) < 600_000
