"""What was asked: a TOML file into one frozen dataclass, and back.

The fields of `Recipe` are the recipe's keys and the command line's flags, so the three cannot drift apart.
"""

from __future__ import annotations

import ast
import difflib
import json
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from spoofscope.errors import RecipeError


def _key(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One run: which detectors, on which trials, under which conditions, and how the answer is computed.

    Names of corpora, detectors and conditions are expressions: a name, or a name with settings such as
    `table(path="calls.csv")`, `aasist.la19(threads=4)`, `noise("pink", snr_db=10)`. Paths are relative to the working folder, those of plug-ins to the
    recipe.
    """

    title: str = _key("", "title of the report")
    corpus: str = _key("builtin", "corpus, with its settings: builtin, asvspoof2021_la, table(path='calls.csv') ...")
    root: str = _key("", "folder that the corpus was unpacked into")
    protocol: str = _key("", "list of trials that is evaluated; the corpus's default list unless given")
    development: str = _key("split", "where thresholds are frozen: a protocol, or 'split' for half of the speakers on clean")
    detectors: tuple[str, ...] = _key(("lfcc_cnn.builtin",), "detectors, each with its settings")
    embedders: tuple[str, ...] = _key((), "embedders, each with its settings; a detector with an embedding is one as well")
    vectors: str = _key("float16", "numbers that embeddings are stored in: float16 or float32")
    grid: str = _key("", "a named list of conditions: quick, standard or reference")
    conditions: tuple[str, ...] = _key((), "conditions, after those of the grid; clean always comes first")
    subset: int = _key(0, "evaluate a stratified draw of this many trials; 0 for all")
    subset_by: tuple[str, ...] = _key(("attack", "speaker"), "columns that the draw is stratified by")
    out: str = _key("runs/audit", "run folder")
    seed: int = _key(0, "seed of every random stream")
    batch_size: int = _key(16, "recordings scored at a time; changes no result")
    workers: int = _key(-1, "processes that read and degrade; -1 for one per core, 0 for none; changes no result")
    executor: str = _key("local", "where the work runs: local or ray; changes no result")
    max_duration_s: float = _key(600.0, "refuse longer recordings, in seconds")
    allow_missing: bool = _key(False, "evaluate although some trials have no score, and carry the count")
    replicates: int = _key(1000, "bootstrap replicates behind each interval")
    level: float = _key(0.95, "coverage of the intervals")
    clusters: tuple[str, ...] = _key(
        ("speaker", "attack"), "columns whose values are resampled whole: speaker, or speaker and attack"
    )
    cost: str = _key("asvspoof5", "named constants of the detection cost: asvspoof5 or reference")
    breakdown: tuple[str, ...] = _key(("attack",), "columns, or crossings such as attack*codec, to break the error down by")
    min_count: int = _key(10, "a group with fewer spoof or bona fide trials is not given an error rate")
    clips: int = _key(6, "recordings that fail worst to keep for listening, per detector; 0 for none")
    clips_without: tuple[str, ...] = _key((), "attacks whose recordings must not be kept for listening")
    hold_out: tuple[str, ...] = _key((), "columns whose values are held out one by one: attack, family, algorithm, vocoder ...")
    taxonomy: str = _key(
        "", "facts about attacks, which add columns: a shipped taxonomy or a TOML file; the corpus's own unless given"
    )
    heads: tuple[str, ...] = _key(("logistic",), "heads trained on embeddings: logistic(C=1), lda, knn(k=15), mlp(hidden=64)")
    layers: tuple[str, ...] = _key((), "layers that are analysed; all unless given")
    layer: str = _key("", "the layer that findings are about, stated beforehand; the middle one unless given")
    predictor: str = _key("cf_d_bona", "the predictor of the gap that is stated beforehand")
    folds: int = _key(5, "folds that share no speaker and no source utterance")
    permutations: int = _key(100_000, "permutations behind each p-value")
    nuisances: tuple[str, ...] = _key((), "columns that may stand in for the class: codec, transmission, language ...")
    coverage: float = _key(0.95, "share of spoof trials that a conformal threshold promises to catch")
    reference: bool = _key(False, "repeat the reference study's own hold-out, geometry and neighbours beside ours")
    indexes: tuple[str, ...] = _key(
        ("exact(metric='cosine', whiten=True)",),
        "indexes that neighbours are found by; the first gives the answers; none for no search",
    )
    neighbours: int = _key(20, "neighbours that are asked")
    novelty_neighbour: int = _key(1, "novelty is the distance to this neighbour: 1 for the nearest")
    train_corpus: str = _key("", "another corpus, whose embeddings train heads that are tested on this one")
    train_root: str = _key("", "folder that the other corpus was unpacked into")
    train_protocol: str = _key("", "list of trials of the other corpus; its default list unless given")
    plan: str = _key("", "file with the plan of an intervention, which is sealed before anything is trained")
    augment: bool = _key(False, "train the detectors that train here with and without noise and codecs, and compare")
    plugins: tuple[str, ...] = _key((), "Python files that register more detectors, degradations or corpora")

    def __post_init__(self) -> None:
        for name, low in (
            ("subset", 0),
            ("batch_size", 1),
            ("workers", -1),
            ("replicates", 20),
            ("min_count", 1),
            ("clips", 0),
            ("folds", 2),
            ("permutations", 100),
            ("neighbours", 1),
            ("novelty_neighbour", 1),
        ):
            if getattr(self, name) < low:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        for name in ("level", "coverage"):
            if not 0 < getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it is a share between 0 and 1, such as 0.95")
        if not self.max_duration_s > 0:
            raise RecipeError(f"max_duration_s is {self.max_duration_s}; it must be above 0")
        if not self.detectors and not self.embedders:
            raise RecipeError("neither detectors nor embedders are named; name at least one ('spoofscope list detectors')")
        for name, words in (("executor", ("local", "ray")), ("vectors", ("float16", "float32"))):
            if getattr(self, name) not in words:
                raise RecipeError(f"{name} is '{getattr(self, name)}'; it must be {' or '.join(words)}")


class Call(NamedTuple):
    """A name with its settings, as written in an expression."""

    name: str
    positional: tuple[Any, ...]
    options: dict[str, Any]


def parse_expression(text: str) -> tuple[Call, ...]:
    """Read `name`, `name(settings)`, or several of them joined by `+`. Settings are literals; nothing is executed.

    Raises
    ------
    RecipeError
        If the text is anything else.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        return tuple(_call(node) for node in _operands(tree))
    except (SyntaxError, ValueError) as error:
        raise RecipeError(f"cannot read '{text}': write name, name(setting=value), or several joined by + ({error})") from error


def parse_call(text: str, kind: str, example: str) -> Call:
    """Read one name with settings given by name: how a recipe names a corpus, a detector or an embedder.

    `name:source` and `name:source(settings)` give the thing's first setting without quotes, as in `onnx:model.onnx` or
    `hf:ORG/NAME(polarity='spoof')`; an address that begins with `http://` or `https://` is the source of `http`.

    Raises
    ------
    RecipeError
        If there are several, or a setting has no name; the message shows `example`.
    """
    if scheme := re.match(r"\s*([A-Za-z_][\w.]*):(?=\S)", text):
        address = text[scheme.end() :].startswith("//")
        source, options = _source_and_settings(text.strip() if address else text[scheme.end() :].strip())
        return Call("http" if address else scheme[1], (source,), options)
    calls = parse_expression(text)
    if len(calls) != 1 or calls[0].positional:
        raise RecipeError(f"'{text}' must be one {kind}, with settings by name: {example}")
    return calls[0]


def _source_and_settings(text: str) -> tuple[str, dict[str, Any]]:
    """Part `source(setting=value)` at the bracket that opens the settings; the source may hold brackets of its own."""
    for bracket in re.finditer(r"\(", text) if text.endswith(")") else ():
        try:
            calls = parse_expression(f"x{text[bracket.start() :]}")
        except RecipeError:
            continue
        if len(calls) == 1 and not calls[0].positional:
            return text[: bracket.start()], calls[0].options
    return text, {}


def _operands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_operands(node.left), *_operands(node.right)]
    return [node]


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        return Call(_dotted(node), (), {})
    options = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise ValueError("** is not allowed")
        options[keyword.arg] = ast.literal_eval(keyword.value)
    return Call(_dotted(node.func), tuple(ast.literal_eval(argument) for argument in node.args), options)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ValueError("a name was expected")


def read_recipe(path: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe, then apply `changes` (flags) over it.

    Raises
    ------
    RecipeError
        If the file is missing or no TOML, a key is unknown (the nearest known one is named), or a value has the wrong type.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    if "plugins" in keys and isinstance(keys["plugins"], list):
        keys["plugins"] = [str(file.parent / plugin) for plugin in keys["plugins"]]
    return recipe_from({**keys, **(changes or {})}, where=str(path))


def recipe_from(keys: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Build a recipe from keys and values, checking both.

    Raises
    ------
    RecipeError
        If a key is unknown or a value has the wrong type.
    """
    types = typing.get_type_hints(Recipe)
    values = {}
    for name, value in keys.items():
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise RecipeError(f"{where}: unknown key '{name}'.{hint} Known: {', '.join(types)}.")
        values[name] = _typed(name, value, types[name], where)
    return Recipe(**values)


def _typed(name: str, value: Any, kind: Any, where: str) -> Any:
    if typing.get_origin(kind) is tuple:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise RecipeError(f"{where}: {name} is {value!r}; it must be a list of texts")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    words = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
    raise RecipeError(f"{where}: {name} is {value!r}; it must be {words[kind]}")


def write_recipe(recipe: Recipe) -> str:
    """Return the recipe as TOML, every default written out, each key with what it means."""
    lines = []
    for item in fields(recipe):
        assert item.default is not MISSING
        lines += [f"# {item.metadata['help']}", f"{item.name} = {_toml(getattr(recipe, item.name))}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)
