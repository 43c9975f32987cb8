"""The documents stay true: short, with examples that run and links that lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_is_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_example_runs(document: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from spoofscope.registry import Registry

    add = Registry.add

    def add_built_ins(self: Registry, name: str, thing: object, *, origin: str) -> None:
        if not origin.startswith("example_"):  # what an example registers must not stay
            add(self, name, thing, origin=origin)

    monkeypatch.setattr(Registry, "add", add_built_ins)
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(blocks(document, "python")):
        exec(compile(block, f"{document.name}[{number}]", "exec"), {"__name__": f"example_{number}"})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_is_understood(document: Path) -> None:
    import shlex

    from spoofscope.cli import _parser

    for block in blocks(document, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["spoofscope"] and len(words) > 1:
                _parser().parse_args(words[1:])
