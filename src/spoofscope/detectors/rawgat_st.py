"""RawGAT-ST, the spectro-temporal graph attention detector that AASIST grew from, with its published weights."""

from __future__ import annotations

from spoofscope.detectors import Card, detector
from spoofscope.detectors._published import OUTPUT, Network, PublishedDetector
from spoofscope.networks.rawgat_st import HIDDEN_DIM, SAMPLES, expected_shapes, fold, hidden_layer, logits

PAPER = (
    "Tak et al., End-to-End Spectro-Temporal Graph Attention Networks for Speaker Verification Anti-Spoofing and Speech "
    "Deepfake Detection, arXiv:2107.12710"
)
EURECOM = "https://raw.githubusercontent.com/eurecom-asp/RawGAT-ST-antispoofing/2f770aa46d303b9ed7513ba041b8e64cab1b31b5"


@detector(
    Card(
        name="rawgat_st_mul.la19",
        licence="MIT",
        window_s=SAMPLES / 16_000,
        output=OUTPUT,
        trained_on=("asvspoof2019_la/train",),
        paper=PAPER,
        weights_url=f"{EURECOM}/Pre_trained_models/RawGAT_ST_mul/Best_epoch.pth",
        weights_sha256="8a91ce8201d42119cbfb9ebca8850e5914f1a85959b3ca962819783738c2a9e2",
        weights_file="RawGAT_ST_mul.pth",
        published={"ASVspoof 2019 LA eval, EER %": 1.06, "ASVspoof 2019 LA eval, min t-DCF": 0.0335},
    )
)
class RawgatStMulLa19(PublishedDetector):
    """RawGAT-ST with multiplied graphs, 436,778 parameters in use, trained on ASVspoof 2019 LA.

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

    network = Network(expected_shapes, fold, hidden_layer, logits)
    dim = HIDDEN_DIM
