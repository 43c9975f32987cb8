"""The three AASIST detectors with their published weights, on reference outputs and real ASVspoof recordings."""

import csv
import json

import numpy as np
import pytest

from spoofscope.audio import read_audio
from spoofscope.detectors import card_of, detectors
from spoofscope.errors import WeightsError
from spoofscope.fetch import sha256_of
from tests.shared import SHARED, needs_shared

torch = pytest.importorskip("torch")

from spoofscope.networks.aasist import AASIST, AASIST_L  # noqa: E402
from spoofscope.networks.checkpoint import read_state  # noqa: E402
from tests.oracles.eager_aasist import load_eager  # noqa: E402
from tests.parity import aasist_reference, aasist_stages  # noqa: E402

pytestmark = needs_shared

GOLDEN = {"aasist.la19": "AASIST", "aasist_l.la19": "AASIST-L"}
PUBLISHED_COLUMN = {"aasist.la19": "aasist_mine", "aasist_l.la19": "aasist_l_published"}


@pytest.fixture(scope="module", params=["aasist.la19", "aasist_l.la19"])
def named_detector(request: pytest.FixtureRequest) -> tuple[str, object]:
    card = card_of(request.param)
    return request.param, detectors.get(request.param)(weights=SHARED / "weights" / card.weights_file)


def golden_clips() -> list[np.ndarray]:
    with np.load(SHARED / "golden/aasist_real/inputs.npz") as inputs, np.load(SHARED / "golden/aasist_real/AASIST.npz") as one:
        return [inputs[name] for name in one["clips"]]


def test_logits_and_embeddings_are_those_of_the_original_code_on_every_clip(named_detector: tuple[str, object]) -> None:
    name, detector = named_detector
    with np.load(SHARED / f"golden/aasist_real/{GOLDEN[name]}.npz") as golden:
        np.testing.assert_allclose(detector.score(golden_clips()), golden["logits"][:, 1], atol=1e-4)
        np.testing.assert_allclose(detector.embed(golden_clips())[:, 0], golden["last_hidden"], atol=1e-4)


@pytest.mark.parametrize(("name", "architecture"), [("AASIST", AASIST), ("AASIST-L", AASIST_L)])
def test_every_stage_of_the_graphs_is_that_of_the_original_code_where_no_order_is_a_near_tie(name, architecture) -> None:
    meta = json.loads((SHARED / "golden/aasist_real/meta.json").read_text())[name]["min_topk_gap_per_clip"]
    with np.load(SHARED / f"golden/aasist_real/{name}.npz") as golden:
        gaps = np.array([meta[clip] for clip in golden["clips"]])
        stages = aasist_stages(read_state(SHARED / f"weights/{name}.pth"), architecture, np.stack(golden_clips()))
        reference = aasist_reference(golden)
        assert len(reference) == 20 and (gaps > 1e-5).sum() >= 5
        for stage, values in reference.items():
            tolerance = 1e-4 + 5e-6 * np.abs(values).max()  # the filters, rebuilt, move what reaches 78 by its last digits
            np.testing.assert_allclose(stages[stage][gaps > 1e-5], values[gaps > 1e-5], rtol=0, atol=tolerance, err_msg=stage)


def test_the_asvspoof5_weights_give_the_logits_and_embeddings_of_the_eager_network() -> None:
    card = card_of("aasist.asvspoof5")
    eager = load_eager(str(SHARED / "weights" / card.weights_file), "aasist")
    detector = detectors.get(card.name)(weights=SHARED / "weights" / card.weights_file)
    clips = golden_clips()[-2:]
    with torch.inference_mode():
        hidden, both = eager(torch.from_numpy(np.stack(clips)))
    np.testing.assert_allclose(detector.score(clips), both[:, 1], atol=1e-4)
    np.testing.assert_allclose(detector.embed(clips)[:, 0], hidden, atol=1e-4)


def test_real_asvspoof_recordings_score_what_was_published_for_them(named_detector: tuple[str, object]) -> None:
    name, detector = named_detector
    with (SHARED / "asvspoof2019_clips/GOLDEN.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row[PUBLISHED_COLUMN[name]]]
    clips = [read_audio(SHARED / "asvspoof2019_clips" / row["file"]) for row in rows]
    assert len(rows) >= 2
    np.testing.assert_allclose(detector.score(clips), [float(row[PUBLISHED_COLUMN[name]]) for row in rows], atol=0.01)


def test_a_short_recording_is_repeated_as_the_original_does() -> None:
    detector = detectors.get("aasist.la19")(weights=SHARED / "weights/AASIST.pth")
    with np.load(SHARED / "golden/aasist_real/inputs.npz") as inputs:
        short, padded = detector.score([inputs["short_raw"], inputs["short_padded"]])
    assert short == padded


def test_the_digests_on_the_cards_are_those_of_the_published_files() -> None:
    meta = json.loads((SHARED / "golden/aasist_real/meta.json").read_text())
    for name, golden in GOLDEN.items():
        assert card_of(name).weights_sha256 == meta[golden]["sha256"]
    for name in (*GOLDEN, "aasist.asvspoof5"):
        assert card_of(name).weights_sha256 == sha256_of(SHARED / "weights" / card_of(name).weights_file)


def test_weights_of_another_training_are_refused_though_every_shape_fits() -> None:
    with pytest.raises(WeightsError, match=r"not the file published for aasist\.la19: its SHA-256 is 8f10fe1d"):
        detectors.get("aasist.la19")(weights=SHARED / "weights/AASIST-asvspoof5.pth")


def test_weights_of_another_model_are_refused_naming_what_differs() -> None:
    with pytest.raises(
        WeightsError, match=r"RawGAT_ST_mul\.pth is not a checkpoint of aasist\.la19: \d+ of 229 tensors are missing"
    ):
        detectors.get("aasist.la19")(weights=SHARED / "weights/RawGAT_ST_mul.pth")
