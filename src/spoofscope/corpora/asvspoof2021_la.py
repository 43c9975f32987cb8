"""ASVspoof 2021 LA from its official layout: three disjoint phases in one key."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spoofscope.corpora import Card, Counts, check_counts, corpus
from spoofscope.corpora._asvspoof import check_field, check_labels, check_protocol, find_folder, find_list, read_fields
from spoofscope.errors import UnknownName
from spoofscope.trials import Trials

FIELDS = ("speaker", "trial_id", "codec", "transmission", "attack", "label", "trim", "phase")
PHASES = ("eval", "progress", "hidden")
CODECS = ("none", "alaw", "pstn", "g722", "ulaw", "gsm", "opus")
POOLED = "pooled"
KEYS = [
    f"{above}{below}CM/trial_metadata.txt" for above in ("keys/", "", "ASVspoof2021_LA_eval/keys/") for below in ("LA/", "")
]

CARD = Card(
    name="asvspoof2021_la",
    title="ASVspoof 2021 LA",
    url="https://zenodo.org/records/4837263",
    licence="ODC-BY",
    citation="Liu et al., ASVspoof 2021: Towards Spoofed and Deepfake Speech Detection in the Wild, "
    "IEEE/ACM TASLP 31, 2023; keys: https://www.asvspoof.org/index2021.html",
    protocols={
        "eval": Counts(14_816, 133_360),
        "progress": Counts(1_676, 14_788),
        "hidden": Counts(1_960, 14_966),
        POOLED: Counts(18_452, 163_114),
    },
    note="Published figures are on eval. The hidden phase has its non-speech trimmed; the progress phase has four of the seven "
    "codecs. Each codec has 25,938 trials of the key: the same utterances seem to have gone through every channel, so trials are "
    "not independent.",
)


@corpus(CARD)
class ASVspoof2021LA:
    """The phases of ASVspoof 2021 LA, each a protocol of its own; codec, transmission and trim are kept as columns."""

    card: Card

    def trials(self, protocol: str, *, root: Path | None = None, key: str | Path | None = None) -> Trials:
        """Read one phase.

        Parameters
        ----------
        protocol : {"eval", "progress", "hidden", "pooled"}
            Which phase. `"pooled"` is the whole key: no published figure is on it, and its name says so everywhere.
        root : Path, optional
            The folder that holds `ASVspoof2021_LA_eval/` and `keys/`.
        key : path, optional
            A `trial_metadata.txt` kept elsewhere, gzip or plain.

        Raises
        ------
        UnknownName
            If there is no such phase; `"all"` is refused, because a figure on the whole key compares with no published one.
        CorpusError
            If the key is missing, of another year or track, malformed, or does not add up to the published counts.
        """
        _refuse_all(protocol)
        check_protocol(CARD, protocol)
        path = find_list(root, key, KEYS, what=f"{CARD.title}, key", option="key")
        rows = _read_key(path)
        name = f"{CARD.title}, {protocol}"
        if protocol == POOLED:
            name += " (eval + progress + hidden; comparable with no published figure)"
        else:
            rows = rows.filter(pl.col("phase") == protocol)
        base = path.parent if root is None else Path(root)
        audio = find_folder(base, ["ASVspoof2021_LA_eval/flac", "LA/ASVspoof2021_LA_eval/flac", "flac"])
        frame = rows.select(
            "trial_id",
            pl.format("{}/{}.flac", pl.lit(audio), "trial_id").alias("path"),
            *("label", "attack", "speaker", "codec", "transmission", "trim", "phase"),
        )
        trials = Trials(frame, base, name)
        check_counts(CARD, protocol, trials)
        return trials


def _refuse_all(protocol: str) -> None:
    if protocol == "all":
        raise UnknownName(
            f"{CARD.title} is three disjoint sets ({', '.join(PHASES)}), and published figures are on eval alone: an error rate on "
            f"the whole key is comparable with none of them. Ask for a phase, or, knowing this, for '{POOLED}'."
        )
    if protocol == "hidden_track":
        raise UnknownName(f"{CARD.title} has no protocol 'hidden_track': the full key calls this phase 'hidden'.")


def _read_key(path: Path) -> pl.DataFrame:
    rows = read_fields(path, FIELDS, list_name="an ASVspoof 2021 LA key")
    check_field(
        rows, path, "trial_id", pl.col("trial_id").str.contains(r"^LA_E_\d+$"), "an id such as LA_E_9332881 (is it the LA key?)"
    )
    check_field(rows, path, "codec", pl.col("codec").is_in(CODECS), f"one of {', '.join(CODECS)}")
    check_field(rows, path, "trim", pl.col("trim").is_in(["trim", "notrim"]), "trim or notrim")
    check_field(rows, path, "phase", pl.col("phase").is_in(PHASES), f"one of {', '.join(PHASES)}")
    return check_labels(rows, path, bonafide_attacks=["bonafide", "-"])
