"""XLS-R by name: its card, and that no other encoder goes under its name."""

import json

import numpy as np
import pytest

from spoofscope.embedders import build_embedder, card_of, xlsr
from spoofscope.errors import WeightsError

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.unit.embedders import tiny


def test_the_card_names_licence_paper_and_what_it_was_trained_on():
    card = card_of("xlsr")
    assert card.licence == "Apache-2.0" and "2111.09296" in card.paper
    assert card.trained_on == ("voxpopuli", "mls", "commonvoice", "voxlingua107", "babel")
    assert card.window_s is None and card.sample_rate == 16_000
    assert xlsr.MODEL == "facebook/wav2vec2-xls-r-300m"


def test_another_encoder_is_refused_by_its_sizes(tmp_path):
    folder = tiny.save("wav2vec2 large", tmp_path / "other")
    with pytest.raises(
        WeightsError, match=r"is not xlsr: its num_hidden_layers is 3, expected 24. Name another encoder as hf:other"
    ):
        build_embedder("xlsr", str(folder))


def test_the_same_tensors_in_the_other_form_of_the_network_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xlsr, "ARCHITECTURE", xlsr.ARCHITECTURE | {"num_hidden_layers": 3, "hidden_size": 32})
    folder = tiny.save("wav2vec2 large", tmp_path / "model", normalise=True)
    built = build_embedder("xlsr", str(folder), pool="mean_std", window="detector")
    assert built.card.name == "xlsr" and built.layers == ("0", "1", "2", "3", "final") and built.dim == 64
    assert built.card.window_s == 4.0375 and built.settings["normalise"] is True
    plain = build_embedder("hf", str(folder), pool="mean_std", window="detector")
    np.testing.assert_array_equal(built.embed(tiny.noises(9_000)), plain.embed(tiny.noises(9_000)))
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(configuration | {"do_stable_layer_norm": False}))
    assert build_embedder("hf", str(folder)).layers == ("0", "1", "2", "3")  # it loads without complaint
    with pytest.raises(WeightsError, match="its do_stable_layer_norm is False, expected True"):
        build_embedder("xlsr", str(folder))
