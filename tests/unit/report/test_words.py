"""Numbers as people read them."""

import math

import pytest

from spoofscope.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0812, "8.1\u202f%"),
        (0.5, "50.0\u202f%"),
        (0.0, "0\u202f%"),
        (1.0, "100.0\u202f%"),
        (0.0002, "<\u202f0.1\u202f%"),
        (0.0005, "0.1\u202f%"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_a_rate_is_printed_as_a_percentage_that_never_rounds_to_zero(value, text):
    assert words.percent(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.231, "+23.1"), (-0.004, "−0.4"), (0.0, "+0.0"), (None, "–")])
def test_a_difference_always_has_its_sign(value, text):
    assert words.signed_points(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0376, "0.0376"),
        (1.2, "1.2"),
        (2.0849, "2.08"),
        (1234.6, "1,235"),
        (8.0, "8"),
        (-0.128, "−0.128"),
        (2e-5, "2.00e−05"),
        (None, "–"),
    ],
)
def test_a_figure_keeps_three_significant_digits(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.081, "1 in 12"), (0.001, "1 in 1,000"), (0.0, ""), (0.45, ""), (None, "")])
def test_a_rate_is_one_in_so_many_where_that_helps(value, text):
    assert words.one_in(value) == text


def test_a_list_is_joined_as_in_a_sentence():
    assert [words.in_words(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_a_count_agrees_with_its_noun():
    assert [words.plural(many, "attack") for many in (0, 1, 1200)] == ["0 attacks", "1 attack", "1,200 attacks"]


@pytest.mark.parametrize(
    ("quantity", "unit", "text"),
    [("snr_db", "dB", "SNR, dB"), ("delay_samples", "samples", "delay, samples"), ("clipped_fraction", "", "clipped fraction")],
)
def test_a_measured_quantity_shows_its_unit_once(quantity, unit, text):
    assert words.quantity_name(quantity, unit) == text


@pytest.mark.parametrize(
    ("layers", "text"),
    [(["embedding"], "embedding"), (["0", "9", "final"], "0, 9 and final"), (["0", "1", "2", "3"], "0 to 3"), ([], "")],
)
def test_a_few_layers_are_named_and_of_many_the_first_and_the_last(layers, text):
    assert words.layers_in_words(layers) == text


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, ""),
        ({"pool": "mean", "normalise": True, "layers": ["0"]}, "mean over time; normalised first"),
        (
            {"pool": "mean_std", "normalise": False, "heads": 16},
            "mean and standard deviation over time; not normalised; heads 16",
        ),
        ({"features": "both"}, "features both"),
        ({"configuration_sha256": "0123456789ab" + "c" * 52}, "configuration SHA-256 0123456789ab…"),
        ({"scale": 1.0, "gain_db": -0.5, "constants": {}, "bonafide": None, "input": ""}, "scale 1; gain db −0.5"),
        ({"constants": {"rate": 16_000, "names": ["a", "b"]}, "causal": False}, "constants rate 16000, names a, b; causal no"),
        ({"pool": ["mean"], "normalise": "peak"}, "pool mean; normalise peak"),
        ({"bonafide": 0}, "bonafide 0"),
    ],
)
def test_the_settings_of_an_embedder_are_words_and_what_is_empty_is_left_out(settings, text):
    assert words.settings_in_words(settings) == text
