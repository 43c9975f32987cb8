"""The figures of the second part: what their captions claim, and that their words can be read."""

import csv
import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spoofscope.report import control_figures, gap_figures, probe_figures, relations, retrained_figures, style
from spoofscope.report.chosen import Chosen
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.folder import Row, read_run_folder
from spoofscope.report.generalisation import generalisation
from spoofscope.report.marks import TICKS, Panel, Series, round_ticks, row_height
from spoofscope.report.schemas import ANALYSIS

PROBED = {"embedder": "xlsr", "condition": "clean", "layer": "5"}
SPACE = PROBED | {"head": "logistic"}
HELD = {"method": "cross-fitted", "held_by": "attack", "disjoint": "speaker and source", "exposed": "false"}
ANALYSIS_FACTS: dict[str, Any] = {
    **{"held_by": "attack", "disjoint": [], "folds": 5, "heads": ["logistic"], "layers": {"xlsr": "5"}, "primary": "d_bona"},
    **{"permutations": 100, "level": 0.95, "method": "cross-fitted", "exposure": {}, "contamination": [], "plan": None},
    **{"groups": {}, "left_out": {}, "findings": [], "warnings": []},
}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    with (folder / "tables" / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ANALYSIS[name], restval="")
        writer.writeheader()
        writer.writerows(rows)


def about(folder: Path, **facts: Any) -> None:
    (folder / "analysis.json").write_text(json.dumps(ANALYSIS_FACTS | facts))


def spread(name: str, value: float, half: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def drawn(folder: Path, draw: Callable[[Sketchbook, Chosen, str], list[Figure]], name: str) -> list[Figure]:
    run = read_run_folder(folder)
    return draw(Sketchbook(run, folder / "report" / "figures"), Chosen(run), name)


def gap(held: str, value: float, half: float, **more: Any) -> dict[str, Any]:
    noise = {"within_noise": str(abs(value) <= half).lower()}
    return SPACE | HELD | {"held": held} | spread("gap", value, half) | noise | spread("eer_with", 0.1, 0.05) | more


def test_a_gap_caption_says_what_the_marks_and_the_bars_are(tiny: Path) -> None:
    write(
        tiny, "holdout", gap("A01", 0.2, 0.1, exposed="true"), gap("A02", 0.01, 0.1, disjoint="source"), gap("A03", -0.2, 0.1)
    )
    (figure,) = drawn(tiny, gap_figures.gap_bars, "xlsr")
    assert "A01 loses most when held out, +20.0 points (+10.0 to +30.0)" in figure.message
    assert "1 of 3 gaps is beyond noise (filled), 1 below 0." in figure.message
    assert "†: the embedder was trained on the same algorithm" in figure.message
    assert "‡: parted from training by source alone" in figure.message
    run = json.loads((tiny / "run.json").read_text())
    assert figure.message.endswith(f"Clean recordings; bars are 95\u202f% intervals over whole clusters ({run['clusters']}).")


def test_voices_parted_in_two_ways_are_said_to_be_parted_by_the_one_or_the_other(tiny: Path) -> None:
    write(tiny, "holdout", gap("A01", 0.2, 0.1, disjoint="speaker"), gap("A02", 0.1, 0.1, disjoint="source"))
    assert "by speaker or source alone" in drawn(tiny, gap_figures.gap_bars, "xlsr")[0].message


@pytest.mark.parametrize(("many", "there"), [(2, False), (3, True)])
def test_a_sweep_over_layers_needs_more_than_two(tiny: Path, many: int, there: bool) -> None:
    rows = [SPACE | {"predictor": "d_bona", "layer": str(at), "gap_of": "own", "n_attacks": 9} for at in range(many)]
    write(
        tiny,
        "layers",
        *(row | spread("rho", -0.4, 0.5) | {"band_low": -0.95, "band_high": 0.2, "p_max_t": 0.3} for row in rows),
    )
    assert len(drawn(tiny, gap_figures.by_layer, "xlsr")) == there
    second = generalisation(read_run_folder(tiny))
    assert second is not None and ("layers" in second["sections"]) == there


def test_only_what_exceeds_the_control_task_beyond_noise_counts_as_read_out(tiny: Path) -> None:
    def probe(target: str, **more: Any) -> dict[str, Any]:
        return (
            PROBED
            | {"target": target, "probe": "linear", "features": "embedding", "chance": 0.2}
            | spread("accuracy", 0.8, 0.1)
            | more
        )

    clear, noise, below = (spread("selectivity", value, 0.1) for value in (0.3, 0.05, -0.3))
    write(tiny, "probes", probe("attack", **clear), probe("codec", **noise), probe("language", **below), probe("speaker"))
    (figure,) = drawn(tiny, probe_figures.probe_marks, "xlsr")
    assert "1 of 3 probes read out more than their control task" in figure.message
    assert "intervals over whole speakers" in figure.message


def test_the_sweep_of_a_probe_without_a_control_task_claims_none(tiny: Path) -> None:
    rows = [
        PROBED
        | {"layer": str(at), "target": "speaker", "probe": "linear", "features": "embedding", "chance": 0.1}
        | spread("accuracy", 0.1 * at, 0.1)
        for at in range(1, 5)
    ]
    write(tiny, "probes", *rows)
    (figure,) = drawn(tiny, probe_figures.probe_sweeps, "xlsr")
    assert "most accurate at layer 4, 40.0" in figure.message
    assert "control" not in figure.message and "code" not in figure.message and "bits" not in figure.svg


def test_a_few_clips_are_counted_where_they_bring_the_forecast_nearer(tiny: Path) -> None:
    errors = {("A01", 0): 0.3, ("A02", 0): 0.1, ("A01", 5): 0.2, ("A02", 5): 0.15, ("A01", 20): 0.1}
    write(
        tiny,
        "few_samples",
        *(
            SPACE | {"held": held, "samples": size, "actual": 0.5, "mae": off} | spread("predicted", 0.4, 0.2)
            for (held, size), off in errors.items()
        ),
    )
    message = drawn(tiny, control_figures.few_samples, "xlsr")[0].message
    assert "Nearer than from the others alone: with 5 clips for 1 of 2 and 20 clips for 1 of 1." in message


def masked(held: str, seed: str, value: float, **more: Any) -> dict[str, Any]:
    return (
        {"plan": "ab", "detector": "lfcc_cnn", "held": held, "arm": "target", "seed": seed}
        | spread("difference", value, 0.02)
        | more
    )


@pytest.mark.parametrize(("direction", "side"), [("narrows", "puts it below 0"), ("widens", "puts it above 0"), (None, "")])
def test_a_masked_band_is_held_against_the_side_that_the_plan_names(tiny: Path, direction: str | None, side: str) -> None:
    plan = {"digest": "ab", "text": {"hypothesis": "H", "direction": direction, "held": [], "seeds": [0]}}
    about(tiny, plan=plan if direction else None)
    whole = masked("all", "all", 0.05, p=0.9, p_holm=1.0, supports="false")
    write(tiny, "masking", masked("A", "0", -0.1), masked("A", "all", -0.1), whole, masked("A", "all", 0.3, arm="unmasked"))
    message = drawn(tiny, retrained_figures.masking, "lfcc_cnn")[0].message
    assert (side in message) if side else ("hypothesis puts" not in message)
    assert "Over all groups +5.0 points (+3.0 to +7.0), p 0.9, 1 after Holm: the result goes against the hypothesis." in message


def test_augmentation_tells_the_error_apart_from_the_gap(tiny: Path) -> None:
    def row(question: str, difference: float, **more: Any) -> dict[str, Any]:
        return (
            {"detector": "lfcc_cnn", "question": question, "condition": "clean"} | spread("difference", difference, 0.02) | more
        )

    write(
        tiny,
        "augmentation",
        row("robustness", 0.01, eer_plain=0.1, eer_augmented=0.11),
        row("robustness", -0.1, condition="mp3_8", eer_plain=0.3, eer_augmented=0.2, recovered=0.5),
        row("gap", 0.1, held="A", loss=0.2),
        row("gap", 0.0, held="B", loss=0.2),
        row("gap", 0.05, held="all", loss=0.2),
    )
    (error,) = drawn(tiny, retrained_figures.robustness, "lfcc_cnn")
    assert "lower beyond noise in 1 of 2 conditions and higher in 0; on clean recordings +1.0 points" in error.message
    assert ">50\u202f%<" in error.svg
    (narrowed,) = drawn(tiny, retrained_figures.narrowed, "lfcc_cnn")
    assert "narrower beyond noise in 0 of 2 groups and wider in 1; over all groups +5.0 points" in narrowed.message


@pytest.mark.parametrize("ends", [(-0.021, 0.15), (0.0, 0.043), (-0.004, 0.0061), (0.0, 1.0), (-0.31, 0.02)])
@pytest.mark.parametrize("unit", ["points", "percent", "size"])
def test_a_tick_says_exactly_where_it_stands(ends: tuple[float, float], unit: str) -> None:
    with style.styled():
        figure = style.new_figure(300, 200)
        axes = figure.subplots()
        round_ticks(axes.xaxis, TICKS[unit])
        axes.set_xlim(*ends)
        figure.draw_without_rendering()
        ticks = axes.get_xticks()
        words = [label.get_text() for label in axes.get_xticklabels()]
    said = [float(word.replace("−", "-").rstrip("%")) for word in words]
    assert said == pytest.approx([100 * tick for tick in ticks], abs=1e-6)
    assert len(set(words)) == len(words) >= 3


def test_a_line_is_as_high_as_the_marks_on_it_need() -> None:
    row = Row("masking", 1, {"x": 0.1})
    apart = [Series([row, row], "x", "", "k", "o", lift) for lift in (-0.3, -0.1, 0.1, 0.3)]
    assert row_height([Panel(apart, "", "points")]) > row_height([Panel(apart[:1], "", "points")])
    lonely = [Series([row, None], "x", "", "k", "o", -0.3), Series([None, row], "x", "", "k", "o", 0.3)]
    assert row_height([Panel(lonely, "", "points")]) == row_height([Panel(apart[:1], "", "points")])


@pytest.mark.parametrize(
    "name", ["google_speech_embedding", "aasist.la19", "a" * 40, "hf:facebook/wav2vec2-xls-r-300m", "_", ""]
)
def test_a_long_name_is_parted_and_loses_nothing_that_fits(name: str) -> None:
    lines = relations.in_lines(name).split("\n")
    assert all(len(line) <= relations.LABEL_LENGTH for line in lines)
    assert "".join(lines) == name or "…" in "".join(lines)


def boxes(figure: Any, names: list[str]) -> dict[str, Any]:
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if any(name.startswith(text.get_text().rstrip("…")) for name in names)]
    return {text.get_text(): text.get_window_extent() for text in texts}


@pytest.mark.parametrize("seed", range(6))
def test_names_in_a_scatter_of_many_groups_do_not_hide_each_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"generator-{at}+hifigan" for at in range(23)]
    points = [
        relations.Point(float(x), float(y), float(y) - 0.02, float(y) + 0.03, name, at == 0)
        for at, (x, y, name) in enumerate(zip(rng.normal(size=23), rng.exponential(0.03, 23), names, strict=True))
    ]
    with style.styled():
        figure = relations.scatter(points, x_label="d_bona", y_limits=(-0.05, 0.3))
        written = boxes(figure, names)
    assert len(written) >= 2
    for one, other in combinations(written.values(), 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert max(width, 0) * max(height, 0) <= 0.2 * one.width * one.height


def test_the_largest_gaps_are_named_among_many_that_change_more() -> None:
    cells = [{"held": f"group-{at}", "gap_first": 0.0, "gap_second": 0.01 * at, "exposed": False} for at in range(20)]
    cells += [{"held": "outlier", "gap_first": 0.5, "gap_second": 0.5, "exposed": True}]
    with style.styled():
        figure = relations.slopes([Row("regimes", at, row) for at, row in enumerate(cells)], ("one", "other"))
    words = [text.get_text() for text in figure.axes[0].texts]
    assert "outlier" in words and "group-19" in words and "group-0" not in words
