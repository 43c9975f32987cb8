"""Conditions: expressions, grids, and the stream of each trial."""

import numpy as np
import pytest

from spoofscope.degradations.conditions import CLEAN, GRIDS, parse_condition, parse_conditions
from spoofscope.errors import RecipeError, UnknownName


def test_positions_and_names_of_settings_mean_the_same() -> None:
    assert parse_condition("noise('pink', 10)").settings() == parse_condition("noise(snr_db=10, kind='pink')").settings()


def test_telephony_is_band_pass_then_mu_law() -> None:
    chain = parse_condition("telephony").chain
    assert [step.name for step in chain] == ["bandpass", "g711"]
    assert (chain[0].low_hz, chain[0].high_hz, chain[1].law) == (300, 3400, "mu")


def test_a_named_condition_can_be_chained() -> None:
    assert [step.name for step in parse_condition("noise('white', 10) + telephony").chain] == ["noise", "bandpass", "g711"]


def test_a_sweep_knows_its_parameter_and_unit() -> None:
    assert [(c.family, c.level, c.unit) for c in map(parse_condition, ("mp3(32)", "noise('pink', 5)", "windows(2)"))] == [
        ("mp3", 32.0, "kb/s"),
        ("noise pink", 5.0, "dB"),
        ("windows", 2.0, "s"),
    ]


def test_the_reference_grid_is_the_sweep_of_the_reference_study() -> None:
    conditions = parse_conditions("reference", ())
    assert len(conditions) == 17 and conditions[0] == CLEAN
    assert [c.level for c in conditions if c.family == "mp3"] == [128, 64, 32, 16, 8]
    noises = [c for c in conditions if c.family.startswith("noise")]
    assert [c.level for c in noises] == [30, 20, 10, 5, 0] and all(c.chain[0].over == "file" for c in noises)
    windows = [c.windows for c in conditions if c.windows]
    assert [(w.window_s, w.hop_s, w.tail) for w in windows] == [
        (4, None, "drop"),
        (2, None, "drop"),
        (2, 1.8, "drop"),
        (0.5, None, "drop"),
    ]


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_can_be_read_and_lists_nothing_twice(name: str) -> None:
    conditions = parse_conditions(name, ("clean",))
    assert len({condition.name for condition in conditions}) == len(conditions) == len(GRIDS[name]) + 1


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("mp4(32)", UnknownName, "Did you mean 'mp3'"),
        ("mp3(bitrate=32)", RecipeError, "mp3 has no setting 'bitrate'; it has bitrate_kbps"),
        ("mp3(32, bitrate_kbps=32)", RecipeError, "bitrate_kbps is given twice"),
        ("windows(2) + mp3(32)", RecipeError, "put windows last"),
        ("windows(2) + windows(1)", RecipeError, "windows twice"),
        ("windows(0)", RecipeError, "must last longer than 0 s"),
        ("telephony + nonsense", UnknownName, "Also known: clean, windows, telephony"),
    ],
)
def test_a_wrong_condition_is_refused_in_plain_words(text: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        parse_condition(text)


def test_the_same_condition_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match="same condition"):
        parse_conditions("", ("mp3(32)", "mp3(bitrate_kbps=32)"))


def test_an_unknown_grid_is_refused_with_the_list() -> None:
    with pytest.raises(UnknownName, match="Known: quick, standard, reference"):
        parse_conditions("nightmare", ())


def test_a_trial_has_one_stream_whatever_the_spelling_and_another_for_any_other_trial_seed_or_setting() -> None:
    def draw(text: str, seed: int, trial_id: str) -> float:
        return float(parse_condition(text).rng(seed, trial_id).standard_normal())

    first = draw("noise('white', 10)", 0, "a")
    assert first == draw("noise(snr_db=10, kind='white')", 0, "a")
    others = {draw("noise('white', 10)", 0, "b"), draw("noise('white', 10)", 1, "a"), draw("noise('white', 5)", 0, "a")}
    assert first not in others and len(others) == 3


def test_noise_differs_between_trials_unlike_in_the_reference_study() -> None:
    audio = np.sin(np.arange(16_000, dtype=np.float32) / 10)
    condition = parse_condition("noise('white', 10)")
    added = [condition.degrade(audio, 16_000, condition.rng(0, name)) - audio for name in ("a", "b")]
    assert abs(np.corrcoef(*added)[0, 1]) < 0.05
