"""A folder as a corpus: the place of a recording says what it is."""

import pytest

from spoofscope.corpora.folder import Folder
from spoofscope.errors import CorpusError


@pytest.fixture
def root(tmp_path):
    for path in (
        "bonafide/p1/x.flac",
        "bonafide/p2/deep/er/y.WAV",
        "bonafide/z.mp3",
        "bonafide/notes.txt",
        "bonafide/._z.wav",
        "bonafide/.cache/q.wav",
        "spoof/vits/p1/x.flac",
        "spoof/vits/y.flac",
        "spoof/loose.wav",
    ):
        (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / path).touch()
    return tmp_path / "set"


def test_the_place_gives_label_attack_and_speaker(root):
    trials = Folder().trials(root=root)
    assert trials.name == "set, all"
    assert trials.frame.select("trial_id", "label", "attack", "speaker").rows() == [
        ("bonafide/p1/x.flac", "bonafide", "-", "p1"),
        ("bonafide/p2/deep/er/y.WAV", "bonafide", "-", "p2"),
        ("bonafide/z.mp3", "bonafide", "-", None),
        ("spoof/loose.wav", "spoof", "unknown", None),
        ("spoof/vits/p1/x.flac", "spoof", "vits", "p1"),
        ("spoof/vits/y.flac", "spoof", "vits", None),
    ]
    assert all(path.is_file() for path in trials.paths)


def test_a_protocol_is_a_folder_with_the_same_layout(root):
    trials = Folder().trials("set", root=root.parent)
    assert trials.ids == Folder().trials(root=root).ids
    assert trials.paths[0] == root / "bonafide/p1/x.flac"


def test_linked_folders_are_followed_once(root):
    (root / "spoof" / "linked").symlink_to(root / "bonafide" / "p2")
    (root / "bonafide" / "p1" / "loop").symlink_to(root / "bonafide")
    ids = Folder().trials(root=root).ids
    assert "spoof/linked/deep/er/y.WAV" in ids
    assert not any("loop" in one for one in ids)


def test_a_missing_class_says_what_the_folder_holds(root):
    (root / "spoof").rename(root / "fake")
    with pytest.raises(
        CorpusError, match=r"no folder 'spoof' in .*set; it needs bonafide/ and spoof/ and holds bonafide, fake"
    ):
        Folder().trials(root=root)
    with pytest.raises(CorpusError, match=r"no folder 'bonafide' in .*holds nothing"):
        Folder().trials(root=root / "absent")
    with pytest.raises(CorpusError, match="give root="):
        Folder().trials()


def test_a_class_without_recordings_is_an_error(root):
    for file in (root / "spoof").rglob("*.*"):
        file.unlink()
    with pytest.raises(CorpusError, match=r"no recording in .*spoof \(suffixes .aif"):
        Folder().trials(root=root)
