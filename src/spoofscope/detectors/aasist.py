"""AASIST, the graph attention detector that hears raw waveforms, with three sets of published weights."""

from __future__ import annotations

from functools import partial

from spoofscope.audio import BASELINE_WINDOW_S
from spoofscope.detectors import Card, detector
from spoofscope.detectors._published import OUTPUT, Network, PublishedDetector
from spoofscope.networks.aasist import AASIST, AASIST_L, Architecture, expected_shapes, fold, hidden_layer, logits

PAPER = "Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks, arXiv:2110.01200"
CLOVAAI = "https://raw.githubusercontent.com/clovaai/aasist/main/models/weights"
ASVSPOOF5 = "https://raw.githubusercontent.com/asvspoof-challenge/asvspoof5/main/Baseline-AASIST/models/weights/AASIST/best.pth"


def _network(architecture: Architecture) -> Network:
    return Network(
        partial(expected_shapes, architecture),
        partial(fold, architecture=architecture),
        partial(hidden_layer, architecture=architecture),
        logits,
    )


@detector(
    Card(
        name="aasist.la19",
        licence="MIT",
        window_s=BASELINE_WINDOW_S,
        output=OUTPUT,
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        weights_url=f"{CLOVAAI}/AASIST.pth",
        weights_sha256="51d2d9cf0738172f61e2a384ec50a54a55363240f67c971ed55a92435bc1a1c0",
        weights_file="AASIST.pth",
        published={"ASVspoof 2019 LA eval, EER %": 0.83, "ASVspoof 2019 LA eval, min t-DCF": 0.0275},
        note="The best of several seeds, chosen by its authors: retraining gives about twice this EER.",
    )
)
class AasistLa19(PublishedDetector):
    """AASIST, 297,866 parameters, trained on ASVspoof 2019 LA.

    Parameters
    ----------
    weights : path, optional
        The published checkpoint; looked up in `SPOOFSCOPE_WEIGHTS` and the user's cache unless given.
    device : str
        `"cpu"`, or `"cuda"`, where a batch is computed at once and a score may differ in its last digits with the batch.
    threads : int, optional
        Recordings computed side by side; as many as this process may use unless given. It does not change a score.

    Raises
    ------
    WeightsError
        If the checkpoint is absent, damaged, or that of another model.
    """

    network = _network(AASIST)
    dim = 160


@detector(
    Card(
        name="aasist_l.la19",
        licence="MIT",
        window_s=BASELINE_WINDOW_S,
        output=OUTPUT,
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        weights_url=f"{CLOVAAI}/AASIST-L.pth",
        weights_sha256="814331d088032bb4c3fa61cc014789eadeed464209dd094ab3a2dd6ffbdce27a",
        weights_file="AASIST-L.pth",
        published={"ASVspoof 2019 LA eval, EER %": 0.99, "ASVspoof 2019 LA eval, min t-DCF": 0.0309},
    )
)
class AasistLLa19(PublishedDetector):
    """AASIST-L, the light variant of 85,306 parameters, trained on ASVspoof 2019 LA; options as `AasistLa19`."""

    network = _network(AASIST_L)
    dim = 160


@detector(
    Card(
        name="aasist.asvspoof5",
        licence="MIT",
        window_s=BASELINE_WINDOW_S,
        output=OUTPUT,
        trained_on=("asvspoof5/train",),
        paper=f"{PAPER}; the weights are a baseline of Wang et al., ASVspoof 5, arXiv:2408.08739",
        weights_url=ASVSPOOF5,
        weights_sha256="8f10fe1d1ce3ac62c19f00b86dfaf79f86f464301d23e08726b16b02edbb601c",
        weights_file="AASIST-asvspoof5.pth",
        published={"ASVspoof 5 dev, EER %": 15.2},
        note="The challenge's baseline: a point of comparison.",
    )
)
class AasistAsvspoof5(PublishedDetector):
    """AASIST trained on ASVspoof 5 as the challenge's baseline; options as `AasistLa19`."""

    network = _network(AASIST)
    dim = 160
