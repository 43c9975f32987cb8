"""The full ASVspoof 2019 LA protocol against its published counts, and against a reader written the slow way."""

import csv
import gzip
from collections import Counter

import pytest

from spoofscope.corpora.asvspoof2019_la import ASVspoof2019LA
from spoofscope.corpora.table import Table
from tests.shared import SHARED, needs_shared

FULL_LIST = SHARED / "protocols" / "ASVspoof2019.LA.cm.all.protocol.txt.gz"
PUBLISHED = {
    "train": ("LA_T_", 2_580, 22_800, [f"A{n:02}" for n in range(1, 7)], 3_800),
    "dev": ("LA_D_", 2_548, 22_296, [f"A{n:02}" for n in range(1, 7)], 3_716),
    "eval": ("LA_E_", 7_355, 63_882, [f"A{n:02}" for n in range(7, 20)], 4_914),
}


@needs_shared
@pytest.mark.parametrize("protocol", PUBLISHED)
def test_all_121461_rows_of_2019_la_parse_to_the_published_counts(protocol):
    prefix, bonafide, spoof, attacks, each = PUBLISHED[protocol]
    trials = ASVspoof2019LA().trials(protocol, protocol_file=FULL_LIST)
    assert trials.counts == (bonafide, spoof)
    found = Counter(trials.frame["attack"])
    assert found == {"-": bonafide, **dict.fromkeys(attacks, each)}
    with gzip.open(FULL_LIST, "rt") as lines:
        slow = [line.split() for line in lines if line.split()[1].startswith(prefix)]
    fast = trials.frame.select("speaker", "trial_id", "attack", "label").rows()
    assert fast == [(speaker, trial_id, attack, label) for speaker, trial_id, _, attack, label in slow]


@needs_shared
def test_a_users_manifest_reads_as_a_table_with_its_columns_mapped():
    manifest = SHARED / "audio" / "MANIFEST.csv"
    trials = Table().trials("all", root=SHARED, path=manifest, columns={"generator": "attack", "text_id": "source"})
    with manifest.open(newline="", encoding="utf-8") as lines:
        slow = list(csv.DictReader(lines))
    assert trials.ids == [row["path"] for row in slow]
    for ours, theirs in (("attack", "generator"), ("source", "text_id"), ("speaker", "speaker"), ("label", "label")):
        assert trials.frame[ours].to_list() == [row[theirs] or None for row in slow]
    assert trials.frame["duration_s"].to_list() == [float(row["duration_s"]) for row in slow]
    assert all(path.is_file() for path in trials.paths)
