"""The reader of ASVspoof 2021 LA: phases are protocols, counts are the published ones, and nothing leaks between them."""

import time
from pathlib import Path

import pytest

from spoofscope.corpora.asvspoof2021_la import ASVspoof2021LA
from spoofscope.errors import CorpusError, UnknownName
from tests.keys import CODEC_TOTAL, EVAL_ATTACKS, EVAL_CODECS, write_key

PHASES = ("eval", "progress", "hidden")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("asvspoof2021")
    write_key(folder / "keys/LA/CM/trial_metadata.txt")
    return folder


@pytest.mark.parametrize(
    ("phase", "bonafide", "spoof"), [("eval", 14_816, 133_360), ("progress", 1_676, 14_788), ("hidden", 1_960, 14_966)]
)
def test_each_phase_is_a_protocol_with_its_own_trials(root, phase, bonafide, spoof):
    trials = ASVspoof2021LA().trials(phase, root=root)
    assert trials.counts == (bonafide, spoof)
    assert trials.frame["phase"].unique().to_list() == [phase]
    assert trials.name == f"ASVspoof 2021 LA, {phase}"


def test_the_phases_are_disjoint_and_make_up_the_whole_key(root):
    reader = ASVspoof2021LA()
    ids = [set(reader.trials(phase, root=root).ids) for phase in PHASES]
    assert [len(one) for one in ids] == [148_176, 16_464, 16_926]
    assert len(set.union(*ids)) == 181_566
    pooled = reader.trials("pooled", root=root)
    assert set(pooled.ids) == set.union(*ids)
    assert pooled.counts == (18_452, 163_114)
    assert "comparable with no published figure" in pooled.name


def test_the_eval_phase_has_the_published_counts_per_codec_and_attack(root):
    frame = ASVspoof2021LA().trials("eval", root=root).frame
    assert dict(frame["codec"].value_counts().iter_rows()) == {codec: total for codec, (total, _) in EVAL_CODECS.items()}
    assert dict(frame.filter(frame["label"] == "spoof")["attack"].value_counts().iter_rows()) == EVAL_ATTACKS
    pooled = ASVspoof2021LA().trials("pooled", root=root).frame
    assert set(pooled["codec"].value_counts()["count"]) == {CODEC_TOTAL}


def test_every_column_of_the_key_is_kept(root):
    line = (root / "keys/LA/CM/trial_metadata.txt").read_text().splitlines()[0]
    speaker, trial_id, codec, transmission, attack, label, trim, phase = line.split()
    frame = ASVspoof2021LA().trials(phase, root=root).frame
    row = frame.filter(frame["trial_id"] == trial_id).row(0, named=True)
    assert row["path"] == f"ASVspoof2021_LA_eval/flac/{trial_id}.flac"
    kept = [row[name] for name in ("speaker", "codec", "transmission", "attack", "label", "trim", "phase")]
    assert kept == [speaker, codec, transmission, "-" if label == "bonafide" else attack, label, trim, phase]


def test_a_bona_fide_line_may_mark_its_attack_in_either_way(tmp_path):
    key = write_key(tmp_path / "key.txt")
    key.write_text(key.read_text().replace(" bonafide bonafide ", " - bonafide "))
    assert ASVspoof2021LA().trials("eval", key=key).counts == (14_816, 133_360)


def test_the_whole_key_is_read_in_less_than_a_second(root):
    spent = []
    for _ in range(3):
        start = time.process_time()
        ASVspoof2021LA().trials("pooled", root=root)
        spent.append(time.process_time() - start)
    assert min(spent) < 1.0


def test_all_is_refused_because_no_published_figure_is_on_it(root):
    with pytest.raises(UnknownName, match=r"three disjoint sets .* published figures are on eval alone.* 'pooled'"):
        ASVspoof2021LA().trials("all", root=root)


def test_the_old_name_of_the_hidden_phase_is_explained(root):
    with pytest.raises(UnknownName, match="the full key calls this phase 'hidden'"):
        ASVspoof2021LA().trials("hidden_track", root=root)


def test_a_phase_that_the_reader_does_not_know_is_an_error_not_a_leak(tmp_path):
    key = write_key(tmp_path / "key.txt", hidden_as="hidden_track")
    with pytest.raises(CorpusError, match=r"key.txt:\d+: phase is 'hidden_track'; expected one of .*16926 such lines"):
        ASVspoof2021LA().trials("eval", key=key)


def test_a_cut_key_shows_expected_against_found(tmp_path):
    key = write_key(tmp_path / "key.txt", drop=1000)
    with pytest.raises(CorpusError, match=r"eval: expected 148,176 \(14,816 bona fide \+ 133,360 spoof\) trials, found 14"):
        ASVspoof2021LA().trials("eval", key=key)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LA_0009 LA_E_9332881 - A07 spoof", "has 5 columns; .* 2021 LA key has 8 .* 2019 layout.*asvspoof2019_la"),
        (
            "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -",
            "has 13 columns.* 2021 DF layout.*'table'",
        ),
        ("LA_E_9332881", "has 1 columns.* list of ids without labels"),
        ("D_4461 D_0000000169 F - - - AC1 A14 spoof -", "has 10 columns.* ASVspoof 5 layout"),
        ("a b c d e f", "has 6 columns.* no list of the challenge"),
        ("LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress", "trial_id is 'DF_E_2000011'.*is it the LA key"),
        ("LA_0009 LA_E_9332881 mp3 ita_tx A07 spoof notrim eval", "codec is 'mp3'; expected one of none, alaw"),
        ("LA_0009 LA_E_9332881 alaw ita_tx A07 spoof maybe eval", "trim is 'maybe'"),
        ("LA_0009 LA_E_9332881 alaw ita_tx spoof A07 notrim eval", "label is 'A07'; expected bonafide or spoof"),
        ("LA_0009 LA_E_9332881 alaw ita_tx bonafide spoof notrim eval", "attack is 'bonafide'; expected A and two digits"),
        ("LA_0009 LA_E_9332881 alaw ita_tx A07 bonafide notrim eval", "attack is 'A07'; expected bonafide or - on"),
    ],
)
def test_a_list_of_another_year_or_a_bad_field_is_named(tmp_path, line, message):
    key = tmp_path / "key.txt"
    key.write_text(line + "\n")
    with pytest.raises(CorpusError, match=f"key.txt:1.*{message}"):
        ASVspoof2021LA().trials("eval", key=key)


@pytest.mark.parametrize("place", ["keys/LA/CM", "keys/CM", "LA/CM", "ASVspoof2021_LA_eval/keys/CM"])
def test_the_key_is_found_where_the_releases_put_it(tmp_path, place):
    key = tmp_path / place / "trial_metadata.txt"
    key.parent.mkdir(parents=True)
    key.write_text("LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n")
    with pytest.raises(CorpusError, match=r"found 1 \(0 bona fide \+ 1 spoof\)"):
        ASVspoof2021LA().trials("eval", root=tmp_path)
