"""The reader of ASVspoof 2019 LA: columns, partitions, layouts, and the words of its errors."""

import gzip
from pathlib import Path

import pytest

from spoofscope.corpora.asvspoof2019_la import CARD, ASVspoof2019LA
from spoofscope.errors import CorpusError, TrialsError, UnknownName
from tests.keys import write_key

PROTOCOLS = "ASVspoof2019_LA_cm_protocols"


def list_of(prefix: str, bonafide: int, spoof: int, attacks: list[str]) -> str:
    rows = [f"LA_0001 {prefix}{at:07} - - bonafide" for at in range(bonafide)]
    rows += [f"LA_0002 {prefix}{bonafide + at:07} - {attacks[at % len(attacks)]} spoof" for at in range(spoof)]
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def dev() -> str:
    return list_of("LA_D_", *CARD.protocols["dev"], [f"A{n:02}" for n in range(1, 7)])


@pytest.fixture
def root(tmp_path: Path, dev: str) -> Path:
    folder = tmp_path / "LA" / PROTOCOLS
    folder.mkdir(parents=True)
    (folder / "ASVspoof2019.LA.cm.dev.trl.txt").write_text(dev)
    return tmp_path


def test_the_official_layout_gives_the_published_counts_and_paths(root):
    trials = ASVspoof2019LA().trials("dev", root=root)
    assert trials.counts == (2_548, 22_296)
    assert trials.name == "ASVspoof 2019 LA, dev"
    assert trials.paths[0] == root / "LA/ASVspoof2019_LA_dev/flac/LA_D_0000000.flac"
    assert trials.frame.row(0, named=True)["speaker"] == "LA_0001"
    assert set(trials.frame["attack"]) == {"-", "A01", "A02", "A03", "A04", "A05", "A06"}


def test_the_folder_la_itself_can_be_the_root(root):
    (root / "LA" / "ASVspoof2019_LA_dev" / "flac").mkdir(parents=True)
    trials = ASVspoof2019LA().trials("dev", root=root / "LA")
    assert trials.paths[0] == root / "LA/ASVspoof2019_LA_dev/flac/LA_D_0000000.flac"


def test_a_compressed_list_of_several_partitions_is_cut_by_id(tmp_path, dev):
    file = tmp_path / "all.txt.gz"
    file.write_bytes(gzip.compress((list_of("LA_T_", 3, 4, ["A01"]) + dev).encode()))
    trials = ASVspoof2019LA().trials("dev", protocol_file=file)
    assert len(trials) == 24_844
    with pytest.raises(CorpusError, match=r"train: expected 25,380 .* found 7 \(3 bona fide \+ 4 spoof\)"):
        ASVspoof2019LA().trials("train", protocol_file=file)


def test_a_byte_order_mark_is_no_part_of_the_first_speaker(tmp_path, dev):
    file = tmp_path / "list.txt"
    file.write_text(dev, encoding="utf-8-sig")
    assert ASVspoof2019LA().trials("dev", protocol_file=file).frame["speaker"][0] == "LA_0001"


def test_one_missing_trial_is_an_error_that_shows_both_counts(root, dev):
    file = root / "LA" / PROTOCOLS / "ASVspoof2019.LA.cm.dev.trl.txt"
    file.write_text(dev[: dev.rstrip().rindex("\n") + 1])
    with pytest.raises(CorpusError, match=r"expected 24,844 \(2,548 .* 22,296 spoof\) trials, found 24,843 \(2,548 .* 22,295"):
        ASVspoof2019LA().trials("dev", root=root)


def test_a_list_of_another_partition_says_what_it_holds(tmp_path, dev):
    file = tmp_path / "list.txt"
    file.write_text(dev)
    with pytest.raises(CorpusError, match=r"holds no trial of eval \(LA_E_\.\.\.\); its 24,844 are LA_D_"):
        ASVspoof2019LA().trials("eval", protocol_file=file)


def test_a_2021_key_is_recognised_and_the_right_reader_named(tmp_path):
    key = write_key(tmp_path / "trial_metadata.txt", drop=181_000)
    with pytest.raises(CorpusError, match=r":1 has 8 columns; .* 2019 LA protocol has 5 .* 2021 LA layout.*asvspoof2021_la"):
        ASVspoof2019LA().trials("eval", protocol_file=key)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LA_0001 LA_D_0000001 - - human", r"list.txt:2: label is 'human'; expected bonafide or spoof"),
        ("LA_0001 LA_D_0000001 - bonafide -", r"list.txt:2: label is '-'"),
        ("LA_0001 LA_D_0000001 - A01 bonafide", r"list.txt:2: attack is 'A01'; expected - on a bona fide line"),
        ("LA_0001 LA_D_0000001 - - spoof", r"list.txt:2: attack is '-'; expected A and two digits on a spoof line"),
        ("PA_0001 PA_D_0000001 aaa - bonafide", r"list.txt:2: trial_id is 'PA_D_0000001'; expected an id such as LA_E_"),
        ("LA_0001 LA_D_0000001 bonafide", r"list.txt:2 has 3 columns where the first line has 5: 'LA_0001"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_field(tmp_path, line, message):
    file = tmp_path / "list.txt"
    file.write_text(f"LA_0001 LA_D_0000000 - - bonafide\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        ASVspoof2019LA().trials("dev", protocol_file=file)


def test_blank_lines_and_tabs_do_not_shift_the_line_numbers(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("LA_0001\tLA_D_0000000  - - bonafide\r\n\n   \nLA_0001 LA_D_0000001 - - x\n")
    with pytest.raises(CorpusError, match=r"list.txt:4: label is 'x'"):
        ASVspoof2019LA().trials("dev", protocol_file=file)


def test_a_repeated_trial_is_an_error(tmp_path, dev):
    file = tmp_path / "list.txt"
    file.write_text(dev + dev.splitlines()[7])
    with pytest.raises(TrialsError, match=r"trial_id appears more than once .*LA_D_0000007"):
        ASVspoof2019LA().trials("dev", protocol_file=file)


def test_a_misspelt_protocol_gets_the_nearest(root):
    with pytest.raises(UnknownName, match=r"no protocol 'devel'. Did you mean 'dev'\? It has eval, dev, train"):
        ASVspoof2019LA().trials("devel", root=root)


def test_a_missing_list_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(CorpusError, match=rf"not under .*looked for {PROTOCOLS}/.*train.trn.txt.*protocol_file="):
        ASVspoof2019LA().trials("train", root=tmp_path)
    with pytest.raises(CorpusError, match="give root="):
        ASVspoof2019LA().trials("train")
    with pytest.raises(CorpusError, match="protocol_file: no such file"):
        ASVspoof2019LA().trials("train", protocol_file=tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00binary", "is not a text file"),
        (b"\x1f\x8b\x08\x00broken", "is a damaged gzip file"),
        (gzip.compress(b"LA_0001 LA_D_0000000 - - bonafide\n" * 99, mtime=0)[:-9], "is a damaged gzip file"),
    ],
)
def test_a_damaged_list_is_an_error_that_names_the_file(tmp_path, content, message):
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    with pytest.raises(CorpusError, match=f"list.txt {message}"):
        ASVspoof2019LA().trials("dev", protocol_file=file)
