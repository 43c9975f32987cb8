"""Looking up by name: clashes name both files, misses suggest, and a broken plug-in is not forgotten."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from spoofscope import registry
from spoofscope.errors import PluginError, UnknownName
from spoofscope.registry import Registry, load_plugin, origin_of


@pytest.fixture
def room(tmp_path, monkeypatch):
    """An importable package `toys` whose files register themselves in `toys.things`."""
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "__init__.py").write_text("from spoofscope.registry import Registry\nthings = Registry('toy', 'toys')\n")
    (folder / "_private.py").write_text("raise RuntimeError('a private module was imported')\n")
    register(folder / "ball.py", "ball")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] in ("toys", "outside", "other") or "_plugin_" in name]:
        del sys.modules[name]


def register(file: Path, name: str, *, before: str = "", after: str = "") -> Path:
    file.write_text(
        f"{before}\nfrom spoofscope.registry import origin_of\nfrom toys import things\n"
        f"class Toy:\n    pass\nthings.add('{name}', Toy, origin=origin_of(Toy))\n{after}\n"
    )
    return file


def things() -> Registry:
    import toys

    return toys.things


def offer(monkeypatch, *modules: str) -> None:
    entries = [EntryPoint(name=module, value=module, group="toys") for module in modules]
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [entry for entry in entries if entry.group == group])


def test_a_room_is_imported_at_the_first_look_up(room):
    assert things().get("ball").__name__ == "Toy"
    assert things().names() == ["ball"]
    assert things().origin("ball") == str(room / "ball.py")


def test_a_miss_gives_the_nearest_name_and_the_list(room):
    register(room / "bat.py", "bat")
    with pytest.raises(UnknownName, match=r"no toy is named 'bll'\. Did you mean 'ball'\? Known: ball, bat\."):
        things().get("bll")


def test_a_broken_file_of_the_room_fails_each_time_and_hides_nothing(room):
    (room / "broken.py").write_text("import a_package_that_is_not_there")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            things().get("no_such_toy")
    (room / "broken.py").unlink()
    assert things().names() == ["ball"]


def test_two_files_with_one_name_are_an_error_naming_both(room, tmp_path):
    assert things().names() == ["ball"]
    other = register(tmp_path / "mine.py", "ball")
    with pytest.raises(PluginError, match=rf"two toys are named 'ball': one in {room}/ball\.py, one in {other}\."):
        load_plugin(other)


def test_two_things_of_one_file_with_one_name_are_an_error(room, tmp_path):
    twice = "class Second:\n    pass\nthings.add('twin', Second, origin=origin_of(Second))"
    with pytest.raises(PluginError, match="two toys are named 'twin'"):
        load_plugin(register(tmp_path / "mine.py", "twin", after=twice))


def test_a_file_may_be_imported_again(room):
    import importlib

    first = things().get("ball")
    importlib.reload(sys.modules["toys.ball"])
    assert things().get("ball") is not first


def test_a_plug_in_file_is_found_once_loaded_and_loaded_once(room, tmp_path):
    file = register(tmp_path / "mine.py", "kite")
    load_plugin(file)
    first = things().get("kite")
    load_plugin(tmp_path / "sub" / ".." / "mine.py")
    assert things().get("kite") is first
    assert origin_of(first) == str(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def (", "failed to import: SyntaxError"),
        ("import a_package_that_is_not_there", "failed to import: ModuleNotFoundError: No module named 'a_package"),
        ("1 / 0", "failed to import: ZeroDivisionError"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_says_why_and_can_be_mended(tmp_path, content, message):
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(PluginError, match=rf"the plug-in .*mine\.py {message}"):
        load_plugin(file)
    file.write_text("fine = True\n# longer than before, so that no cached byte code is taken for it")
    load_plugin(file)


def test_a_plug_in_must_be_a_python_file_that_exists(tmp_path):
    with pytest.raises(PluginError, match="no plug-in file at"):
        load_plugin(tmp_path / "none.py")
    (tmp_path / "mine.txt").write_text("x = 1")
    with pytest.raises(PluginError, match=r"mine\.txt is not a Python file; its name must end in \.py"):
        load_plugin(tmp_path / "mine.txt")


def test_an_entry_point_is_loaded_when_a_look_up_would_miss(room, tmp_path, monkeypatch):
    register(tmp_path / "outside.py", "yoyo")
    offer(monkeypatch, "outside")
    things().get("ball")
    assert "outside" not in sys.modules
    assert things().origin("yoyo") == str(tmp_path / "outside.py")


def test_two_packages_with_one_name_are_an_error_every_time(room, tmp_path, monkeypatch):
    first, second = register(tmp_path / "outside.py", "yoyo"), register(tmp_path / "other.py", "yoyo")
    offer(monkeypatch, "outside", "other")
    for name in ("yoyo", "top"):
        with pytest.raises(PluginError, match=rf"two toys are named 'yoyo': one in {first}, one in {second}"):
            things().get(name)


def test_a_broken_package_is_shown_in_the_error_of_the_look_up_that_missed(room, tmp_path, monkeypatch):
    register(tmp_path / "outside.py", "yoyo")
    (tmp_path / "other.py").write_text("raise OSError('no licence found')")
    offer(monkeypatch, "other", "outside")
    assert things().names() == ["ball", "yoyo"]
    with pytest.raises(
        UnknownName, match=r"no toy is named 'top'.* The plug-in other failed to import \(OSError: no licence found\)"
    ):
        things().get("top")
