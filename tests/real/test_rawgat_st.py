"""RawGAT-ST with its published weights, on real ASVspoof recordings with the scores published for them."""

import csv
import json

import numpy as np
import pytest

from spoofscope.audio import Audio, read_audio
from spoofscope.checks.detector import check_detector
from spoofscope.detectors import build_detector, card_of
from spoofscope.detectors.rawgat_st import RawgatStMulLa19
from spoofscope.errors import WeightsError
from spoofscope.fetch import sha256_of
from tests.shared import SHARED, needs_shared

torch = pytest.importorskip("torch")

from tests.oracles.eager_rawgat_st import load_eager  # noqa: E402

pytestmark = needs_shared

NAME = "rawgat_st_mul.la19"
WEIGHTS = SHARED / "weights/RawGAT_ST_mul.pth"
CLIPS = SHARED / "asvspoof2019_clips"


@pytest.fixture(scope="module")
def detector() -> RawgatStMulLa19:
    return build_detector(NAME, weights=str(WEIGHTS))


def rows(column: str) -> tuple[list[str], list[Audio], list[float]]:
    """Return the ids, the recordings and the reference scores of the clips for which a column has one."""
    with (CLIPS / "GOLDEN.csv").open() as file:
        known = [row for row in csv.DictReader(file) if row[column]]
    clips = [read_audio(CLIPS / row["file"]) for row in known]
    return [row["utt_id"] for row in known], clips, [float(row[column]) for row in known]


def test_real_recordings_score_what_was_published_for_them(detector: RawgatStMulLa19) -> None:
    ids, clips, published = rows("rawgat_st_mul_published")
    assert len(ids) == 2
    np.testing.assert_allclose(detector.score(clips), published, atol=0.01)


def test_real_recordings_score_what_the_original_code_gives_here(detector: RawgatStMulLa19) -> None:
    ids, clips, expected = rows("rawgat_mine")
    assert len(ids) == 3
    np.testing.assert_allclose(detector.score(clips), expected, atol=1e-4)


def test_the_published_score_file_holds_these_scores(detector: RawgatStMulLa19) -> None:
    ids, clips, _ = rows("rawgat_st_mul_published")
    with np.load(SHARED / "scores/asvspoof2019_la_eval_14systems.npz") as systems:
        place = {trial_id: at for at, trial_id in enumerate(systems["utt_id"])}
        published = systems["rawgat_st_mul"][[place[trial_id] for trial_id in ids]]
    np.testing.assert_allclose(detector.score(clips), published, atol=0.01)


def test_logits_and_embeddings_are_those_of_the_eager_network(detector: RawgatStMulLa19) -> None:
    _, clips, _ = rows("rawgat_mine")
    heard = torch.from_numpy(np.stack([detector.card.fit(clip) for clip in clips]))
    with torch.inference_mode():
        nodes, both = load_eager(str(WEIGHTS))(heard)
    np.testing.assert_allclose(detector.logits(clips), both, atol=1e-4)
    np.testing.assert_allclose(detector.embed(clips)[:, 0], nodes.flatten(1), atol=1e-4)


def test_the_detector_keeps_the_contract(detector: RawgatStMulLa19) -> None:
    assert [finding for finding in check_detector(detector) if not finding.ok] == []


def test_the_digest_on_the_card_is_that_of_the_published_file() -> None:
    assert card_of(NAME).weights_sha256 == sha256_of(WEIGHTS)


def test_the_figures_on_the_card_are_those_of_the_published_scores() -> None:
    systems = json.loads((SHARED / "scores/asvspoof2019_la_eval_expected.json").read_text())
    found = next(system for system in systems if system["system"] == "rawgat_st_mul")
    published = card_of(NAME).published
    assert published["ASVspoof 2019 LA eval, EER %"] == pytest.approx(found["eer_percent"], abs=0.005)
    assert published["ASVspoof 2019 LA eval, min t-DCF"] == pytest.approx(found["min_tdcf_2019"], abs=0.00005)


def test_weights_of_another_model_are_refused_naming_what_differs() -> None:
    with pytest.raises(WeightsError, match=r"AASIST\.pth is not a checkpoint of rawgat_st_mul\.la19: \d+ of 237 tensors"):
        build_detector(NAME, weights=str(SHARED / "weights/AASIST.pth"))


def test_the_class_of_a_network_through_the_python_adapter_gives_the_same_scores(detector: RawgatStMulLa19) -> None:
    target = "tests.oracles.eager_rawgat_st:EagerRawgatSt"
    adapted = build_detector("python", target, weights=str(WEIGHTS), bonafide=1, window_s=detector.card.window_s)
    _, clips, _ = rows("rawgat_mine")
    np.testing.assert_allclose(adapted.score(clips), detector.score(clips), atol=1e-4)
    np.testing.assert_allclose(adapted.logits(clips), detector.logits(clips), atol=1e-4)
    assert adapted.card.weights_sha256 == detector.card.weights_sha256
