"""Recipes: what is read, what is refused, and that writing one repeats it."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoofscope.errors import RecipeError
from spoofscope.recipe import Call, Recipe, parse_call, parse_expression, read_recipe, recipe_from, write_recipe


def test_a_written_recipe_reads_back_as_itself() -> None:
    recipe = Recipe(
        title='a "quoted" title\nwith é', detectors=("a.b", "c(path='x y')"), subset=7, level=0.9, allow_missing=True
    )
    assert recipe_from(tomllib.loads(write_recipe(recipe))) == recipe


@given(
    title=st.text(st.characters(codec="utf-8", exclude_categories=("Cs",))),
    subset=st.integers(0, 10**9),
    level=st.floats(0.01, 0.99),
    detectors=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cs",))), min_size=1),
)
def test_any_recipe_survives_being_written(title: str, subset: int, level: float, detectors: list[str]) -> None:
    recipe = Recipe(title=title, subset=subset, level=level, detectors=tuple(detectors))
    assert recipe_from(tomllib.loads(write_recipe(recipe))) == recipe


def test_every_key_says_what_it_means() -> None:
    assert all(len(field.metadata["help"]) >= 10 for field in fields(Recipe))


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("detector = ['x']")
    with pytest.raises(RecipeError, match="unknown key 'detector'. Did you mean 'detectors'"):
        read_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = 'one'", "seed is 'one'; it must be a whole number"),
        ("seed = true", "seed is True; it must be a whole number"),
        ("detectors = 'aasist.la19'", "must be a list of texts"),
        ("level = 95", "it is a share between 0 and 1"),
        ("batch_size = 0", "batch_size is 0; it must be at least 1"),
        ("executor = 'spark'", "it must be local or ray"),
        ("seed = = 1", "is not TOML"),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RecipeError, match=words):
        read_recipe(tmp_path / "r.toml")


def test_a_missing_recipe_is_named() -> None:
    with pytest.raises(RecipeError, match=r"cannot read the recipe nowhere.toml"):
        read_recipe("nowhere.toml")


def test_flags_override_the_file(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("seed = 1\nsubset = 5")
    recipe = read_recipe(tmp_path / "r.toml", {"seed": 2})
    assert (recipe.seed, recipe.subset) == (2, 5)


def test_plugins_are_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("plugins = ['mine.py']")
    assert read_recipe(tmp_path / "r.toml").plugins == (str(tmp_path / "mine.py"),)


def test_an_expression_is_a_name_with_settings() -> None:
    assert parse_expression("a.b(x=1, y='z') + c('w', 2.5)") == (Call("a.b", (), {"x": 1, "y": "z"}), Call("c", ("w", 2.5), {}))


@pytest.mark.parametrize(
    "text", ["__import__('os').system('x')", "a(b())", "a(**{})", "a + 1", "a; b", "", "lambda: 1", "a(x=open)"]
)
def test_an_expression_never_runs_anything(text: str) -> None:
    with pytest.raises(RecipeError, match="cannot read"):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "name", "source", "options"),
    [
        ("onnx:model.onnx", "onnx", "model.onnx", {}),
        (" hf:ORG/NAME-large_1.0 ", "hf", "ORG/NAME-large_1.0", {}),
        ("onnx:model.onnx(bonafide=1, name='mine')", "onnx", "model.onnx", {"bonafide": 1, "name": "mine"}),
        ("onnx:my model (2).onnx(polarity='spoof')", "onnx", "my model (2).onnx", {"polarity": "spoof"}),
        ("onnx:my model (2).onnx", "onnx", "my model (2).onnx", {}),
        ("python:a.b:Model(args={'filts': [70, (1, 32)]})", "python", "a.b:Model", {"args": {"filts": [70, (1, 32)]}}),
        ("command:python score.py {list}", "command", "python score.py {list}", {}),
        ("ssl_aasist.encoder:w.pth(heads=4)", "ssl_aasist.encoder", "w.pth", {"heads": 4}),
        ("http:https://host/score", "http", "https://host/score", {}),
        ("http://host:80/a?b=(c)", "http", "http://host:80/a?b=(c)", {}),
        ("https://host/score(format='multipart')", "http", "https://host/score", {"format": "multipart"}),
    ],
)
def test_what_stands_behind_a_colon_is_the_first_setting(text: str, name: str, source: str, options: dict) -> None:
    assert parse_call(text, "detector", "a(b=1)") == Call(name, (source,), options)


def test_a_colon_inside_a_setting_makes_no_scheme_and_settings_without_a_name_are_refused() -> None:
    assert parse_call("table(path='C:calls.csv')", "corpus", "a(b=1)") == Call("table", (), {"path": "C:calls.csv"})
    for text in ("scores('a:b')", "a + b", "onnx:", ":model"):
        with pytest.raises(RecipeError, match=r"cannot read|must be one detector, with settings by name: a\(b=1\)"):
            parse_call(text, "detector", "a(b=1)")


def test_a_source_never_runs_anything() -> None:
    text = "onnx:model.onnx(name=__import__('os').getcwd())"
    assert parse_call(text, "detector", "a(b=1)") == Call("onnx", (text.removeprefix("onnx:"),), {})
