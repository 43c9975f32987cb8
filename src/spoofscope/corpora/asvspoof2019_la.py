"""ASVspoof 2019 LA from its official layout."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from spoofscope.corpora import Card, Counts, check_counts, corpus
from spoofscope.corpora._asvspoof import check_field, check_labels, check_protocol, find_folder, find_list, read_fields
from spoofscope.errors import CorpusError
from spoofscope.trials import Trials

FIELDS = ("speaker", "trial_id", "unused", "attack", "label")
PREFIXES = {"eval": "LA_E_", "dev": "LA_D_", "train": "LA_T_"}
FILES = {
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
}

CARD = Card(
    name="asvspoof2019_la",
    title="ASVspoof 2019 LA",
    url="https://datashare.ed.ac.uk/handle/10283/3336",
    licence="ODC-BY",
    citation="Wang et al., ASVspoof 2019: a large-scale public database of synthesized, converted and replayed speech, "
    "Computer Speech & Language 64, 2020",
    protocols={"eval": Counts(7_355, 63_882), "dev": Counts(2_548, 22_296), "train": Counts(2_580, 22_800)},
    note="Attacks A01-A06 are in train and dev, A07-A19 in eval (A16 and A19 are A04 and A06 again).",
)


@corpus(CARD)
class ASVspoof2019LA:
    """The three lists of ASVspoof 2019 LA; attacks A07 to A19 are heard in `eval` only."""

    card: Card

    def trials(self, protocol: str, *, root: Path | None = None, protocol_file: str | Path | None = None) -> Trials:
        """Read one list.

        Parameters
        ----------
        protocol : {"eval", "dev", "train"}
            Which list.
        root : Path, optional
            The folder that holds `LA/`, or `LA/` itself.
        protocol_file : path, optional
            A list kept elsewhere, gzip or plain; one that holds several of the three is cut by the ids of its trials.

        Raises
        ------
        UnknownName
            If there is no such protocol.
        CorpusError
            If the list is missing, of another year, malformed, or does not add up to the published counts.
        """
        check_protocol(CARD, protocol)
        folders = [f"{above}ASVspoof2019_LA_cm_protocols/{FILES[protocol]}" for above in ("", "LA/")]
        path = find_list(root, protocol_file, folders, what=f"{CARD.title}, {protocol}", option="protocol_file")
        rows = _read_list(path, protocol)
        base = path.parent if root is None else Path(root)
        audio = find_folder(base, [f"{above}ASVspoof2019_LA_{protocol}/flac" for above in ("LA/", "")])
        frame = rows.select(
            "trial_id", pl.format("{}/{}.flac", pl.lit(audio), "trial_id").alias("path"), "label", "attack", "speaker"
        )
        trials = Trials(frame, base, f"{CARD.title}, {protocol}")
        check_counts(CARD, protocol, trials)
        return trials


def _read_list(path: Path, protocol: str) -> pl.DataFrame:
    rows = read_fields(path, FIELDS, list_name="an ASVspoof 2019 LA protocol")
    check_field(rows, path, "trial_id", pl.col("trial_id").str.contains(r"^LA_[TDE]_\d+$"), "an id such as LA_E_1000147")
    wanted = rows.filter(pl.col("trial_id").str.starts_with(PREFIXES[protocol]))
    if wanted.height == 0:
        held = rows["trial_id"].str.slice(0, 5).unique().sort().to_list()
        raise CorpusError(
            f"{path} holds no trial of {protocol} ({PREFIXES[protocol]}...); its {rows.height:,} are {', '.join(held)}"
        )
    return check_labels(wanted, path, bonafide_attacks=["-"])
