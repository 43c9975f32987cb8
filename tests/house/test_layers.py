"""The four sentences that the code's layout rests on."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import spoofscope

SOURCE = Path(spoofscope.__file__).parent
HEAVY = {
    "torch",
    "transformers",
    "sklearn",
    "scipy",
    "matplotlib",
    "onnxruntime",
    "av",
    "ray",
    "faiss",
    "usearch",
    "jinja2",
    "safetensors",
}
ROOMS = {"corpora", "degradations", "detectors", "embedders", "metrics"}
LAYERS = {
    "errors": 0,
    **dict.fromkeys(("audio", "windows", "registry", "recipe", "fetch", "storage"), 1),
    **dict.fromkeys(("trials", "scores", "embeddings", "cards", "networks"), 2),
    **dict.fromkeys(ROOMS, 3),
    **dict.fromkeys(("run", "scoring", "embedding", "caches", "executors", "audit", "analysis", "retrieval", "training"), 4),
    "report": 5,
    **dict.fromkeys(("cli", "terminal", "verbs", "checks", "inventory", "__init__"), 6),
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def unit(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward(source: str, importer: str) -> list[str]:
    """What a module of `importer` imports from a layer above it, or from another room."""
    wrong = []
    for name in imports(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != "spoofscope" or len(parts) < 2 or parts[1] == importer or parts[1] not in LAYERS:
            continue
        if LAYERS[parts[1]] > LAYERS[importer] or {parts[1], importer} <= ROOMS:
            wrong.append(name)
    return wrong


def heavy(source: str) -> list[str]:
    """Heavy packages that a module imports outside its functions (type checking does not count)."""
    found = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in HEAVY]
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in HEAVY:
            found.append(node.module)
        waiting.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_has_its_layer_and_imports_downwards(path: Path) -> None:
    assert unit(path) in LAYERS, f"{unit(path)} has no layer: add it to LAYERS and to the design"
    assert upward(path.read_text(encoding="utf-8"), unit(path)) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_imports_anything_heavy_at_its_top(path: Path) -> None:
    assert heavy(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_module_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring and docstring.splitlines()[0].rstrip().endswith((".", ":", ","))


def test_metrics_needs_numpy_scores_and_errors_only() -> None:
    allowed = {"numpy", "spoofscope.metrics", "spoofscope.scores", "spoofscope.errors"}
    standard = {"__future__", "collections", "dataclasses", "functools", "itertools", "math", "typing", "warnings", "enum"}
    for path in sorted((SOURCE / "metrics").glob("*.py")):
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            root = name.split(".")[0]
            assert root in standard or any(name == known or name.startswith(f"{known}.") for known in allowed), (
                path.name,
                name,
            )


def test_the_guards_see_a_planted_fault() -> None:
    assert upward("from spoofscope.report import write_report", "run") == ["spoofscope.report.write_report"]
    assert upward("from spoofscope.detectors import cards", "metrics") == ["spoofscope.detectors.cards"]
    assert upward("from spoofscope.audio import read_audio", "run") == []
    assert heavy("class A:\n    import torch\n") == ["torch"]
    assert heavy("def f():\n    import torch\n") == []
