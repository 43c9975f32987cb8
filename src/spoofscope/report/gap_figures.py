"""The figures of what is lost on held-out groups and of what goes with it, each with a caption that states its message."""

from __future__ import annotations

from collections.abc import Sequence

from spoofscope.report.chosen import (
    FEW_LAYERS,
    OWN,
    Chosen,
    by,
    first,
    is_beyond_noise,
    is_clear,
    is_voice_shared,
    is_within_noise,
    marked,
    values,
)
from spoofscope.report.figures import Figure, Sketchbook
from spoofscope.report.findings import largest
from spoofscope.report.folder import Row
from spoofscope.report.marks import Panel, Series, draw_marks
from spoofscope.report.relations import Point, layer_sweep, scatter, slopes
from spoofscope.report.style import BLUE, GREEN, VERMILLION
from spoofscope.report.words import in_words, is_missing, p_value, percent, plural, signed, signed_points

MOST_SCATTERS = 2


def points_with_interval(row: Row, name: str) -> str:
    """Return `+14.8 points (12.1 to 17.3)`."""
    return f"{signed_points(row[name])} points{interval(row, name)}"


def interval(row: Row, name: str) -> str:
    """Return ` (+12.1 to +17.3)` in percentage points, or nothing where there is no interval."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if is_missing(low) or is_missing(high) else f" ({signed_points(low)} to {signed_points(high)})"


def rho_in_words(row: Row) -> str:
    """Return `rho −0.67 (−0.95 to −0.11), p 0.013`."""
    low, high = row["rho_low"], row["rho_high"]
    ends = "" if is_missing(low) or is_missing(high) else f" ({signed(low)} to {signed(high)})"
    return f"rho {signed(row['rho'])}{ends}, p {p_value(row['p'])}"


def gap_bars(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Each group when it was trained on and when it was not, and the gap between the two."""
    rows = chosen.gaps(embedder)
    known = largest(rows, "gap")
    if not known:
        return []
    hardest = largest(rows, "eer_with")
    beyond, below = sum(map(is_beyond_noise, rows)), sum(row["within_noise"] is False and row["gap"] < 0 for row in known)
    parts = [
        f"{embedder}, {space_in_words(rows[0])}: {known[0]['held']} loses most when held out, {points_with_interval(known[0], 'gap')}"
    ]
    if hardest:
        parts.append(f"the hardest even when it is trained on is {hardest[0]['held']}, EER {percent(hardest[0]['eer_with'])}")
    message = (
        f"{'; '.join(parts)}. {beyond} of {plural(len(known), 'gap')} {'is' if beyond == 1 else 'are'} beyond noise (filled)"
    )
    message += f", {below} below 0." if below else "."
    message += mark_words(rows) + chosen.scope(rows[0])
    panels = [
        Panel(
            (
                Series(rows, "eer_with", "trained on it as well", BLUE, "o", -0.14),
                Series(rows, "eer_without", "held out of the training", VERMILLION, "D", 0.14),
            ),
            "equal error rate on the group",
            "percent",
            title="Harder?",
            joins=True,
        ),
        Panel(
            (Series(rows, "gap", "", VERMILLION, "D", is_hollow=is_within_noise),),
            "held out less trained on, points",
            "points",
            title="Different?",
            lines=((0.0, False),),
        ),
    ]
    labels = [marked(row) for row in rows]
    return [book.draw(f"gaps-{embedder}", embedder, message, lambda: draw_marks(labels, panels, width_px=680))]


def space_in_words(row: Row) -> str:
    """Return the layer, and the head where there is one."""
    head = row.cells.get("head")
    return f"layer {row['layer']}{f', {head} head' if head else ''}"


def mark_words(rows: Sequence[Row]) -> str:
    """Return the key of the marks that stand behind names, for those that occur."""
    words = []
    if any(row["exposed"] for row in rows):
        words.append("†: the embedder was trained on the same algorithm, so the group is not unseen.")
    if any(is_voice_shared(row) for row in rows):
        parted = " or ".join(name or "nothing" for name in values(filter(is_voice_shared, rows), "disjoint"))
        words.append(f"‡: parted from training by {parted} alone, so a voice or a sentence may stand on both sides.")
    return "".join(f" {sentence}" for sentence in words)


def predictors(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """The gap against the primary predictor and against the other one, not circular, that goes with it most closely."""
    gaps = by((row for row in chosen.gaps(embedder) if not is_missing(row["gap"])), "held")
    shown = [row for row in chosen.associations(embedder) if not row["circular"] and not is_missing(row["rho"])][:MOST_SCATTERS]
    if not gaps:
        return []
    ends = [row[name] for row in gaps.values() for name in ("gap", "gap_low", "gap_high") if not is_missing(row[name])]
    reach = max(ends) - min(0.0, *ends)
    limits = (min(0.0, *ends) - 0.06 * reach, max(ends) + 0.08 * reach)
    return [figure for row in shown for figure in _scatter(book, chosen, row, gaps, limits)]


def _scatter(book: Sketchbook, chosen: Chosen, row: Row, gaps: dict[str, Row], limits: tuple[float, float]) -> list[Figure]:
    embedder, name = row["embedder"], row["predictor"]
    places = by(chosen.rows("geometry", embedder=embedder, predictor=name), "held")
    drawn = [
        Point(
            places[held]["value"],
            gap["gap"],
            gap["gap_low"],
            gap["gap_high"],
            held,
            held == row["carried_by"],
            bool(gap["exposed"]),
        )
        for held, gap in gaps.items()
        if held in places and not is_missing(places[held]["value"])
    ]
    if not drawn:
        return []
    parts = [f"{embedder}, {plural(row['n_attacks'] or len(drawn), 'group')}: {rho_in_words(row)}"]
    if row["carried_by"] and not is_missing(row["rho_without"]):
        parts.append(f"without {row['carried_by']} (ringed) {signed(row['rho_without'])}, p {p_value(row['p_without'])}")
    if not is_missing(row["partial_rho"]):
        parts.append(f"with difficulty held fixed {signed(row['partial_rho'])}, p {p_value(row['partial_p'])}")
    hollow = " Hollow: exposed." if any(point.is_marked for point in drawn) else ""
    gap = next(iter(gaps.values()))
    message = f"{'; '.join(parts)}; p and the interval of rho are over groups.{hollow}{chosen.scope(gap)}"
    title = f"{embedder}: {name}{', named beforehand' if chosen.is_primary(row) else ''}"
    return [
        book.draw(
            f"predictor-{embedder}-{name}",
            title,
            message,
            lambda: scatter(drawn, x_label=name, y_limits=limits),
        )
    ]


def forest(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """Every predictor's rank correlation with the gap, with its interval, its influence and its p-values."""
    rows = [row for row in chosen.associations(embedder) if not is_missing(row["rho"])]
    if not rows:
        return []
    clear = [row["predictor"] for row in rows if is_clear(row, "rho") and not row["circular"]]
    lasting = [
        row["predictor"] for row in rows if not row["circular"] and not is_missing(row["p_max_t"]) and row["p_max_t"] < 0.05
    ]
    message = (
        f"{embedder}, {space_in_words(rows[0])}: the interval leaves out 0 for {in_words(clear) or 'no predictor'}; after the search over "
        f"all predictors (max-T) p stays below 0.05 for {in_words(lasting) or 'none'}. Pale bars: the range when any one group is left out."
    )
    stated = first(row for row in rows if not is_missing(row["critical_rho"]))
    lines: list[tuple[float, bool]] = [(0.0, False)]
    if stated is not None:
        reach = stated["critical_rho"]
        lines += [(-reach, True), (reach, True)]
        message += f" Dashed: with {plural(stated['n_attacks'], 'group')} only a rho beyond ±{reach:.2f} can reach p 0.05."
    if any(row["circular"] for row in rows):
        message += " Hollow: circular, for the predictor is itself a detector that was not trained on the group."
    message += chosen.scope(rows[0], "groups")
    panel = Panel(
        (Series(rows, "rho", "", BLUE, "o", is_hollow=lambda row: bool(row["circular"])),),
        "rank correlation with the gap",
        "plain",
        lines=lines,
        bar=("jackknife_low", "jackknife_high"),
    )
    labels = [f"{row['predictor']}{' (named beforehand)' if chosen.is_primary(row) else ''}" for row in rows]
    columns = [("p", [p_value(row["p"]) for row in rows]), ("max-T p", [p_value(row["p_max_t"]) for row in rows])]
    return [
        book.draw(
            f"association-{embedder}", embedder, message, lambda: draw_marks(labels, [panel], width_px=560, columns=columns)
        )
    ]


def by_layer(book: Sketchbook, chosen: Chosen, embedder: str) -> list[Figure]:
    """The primary predictor's rank correlation by layer, and the gaps of every layer; nothing for an embedder with few layers."""
    rows = chosen.rows("layers", embedder=embedder, layer=None, predictor=None)
    stated = first(row for row in rows if chosen.is_primary(row))
    predictor = (stated or rows[0])["predictor"] if rows else ""
    rows = tuple(row for row in rows if row["predictor"] == predictor)
    own = [row for row in rows if row["gap_of"] == OWN and not is_missing(row["rho"])]
    fixed = [row for row in rows if row["gap_of"] != OWN and not is_missing(row["rho"])]
    layers = chosen.layers(embedder)
    if len(layers) <= FEW_LAYERS or not own:
        return []
    held = [row for row in chosen.rows("holdout", embedder=embedder, layer=None) if not is_missing(row["gap"])]
    gaps = {layer: of for layer in layers if (of := [row for row in held if row["layer"] == layer])}
    clear = sum(is_clear(row, "band") for row in own)
    lasting = [row for row in own if not is_missing(row["p_max_t"]) and row["p_max_t"] < 0.05]
    steepest = max(own, key=lambda row: abs(row["rho"]))
    message = (
        f"{embedder}: rank correlation of {predictor} with the gap at {plural(len(own), 'layer')}, largest at layer {steepest['layer']} "
        f"({signed(steepest['rho'])}). The {percent(chosen.folder.run['level'], 0)} band over groups holds all layers at once and leaves out 0 at "
        f"{clear or 'none'}; after the search over layers p stays below 0.05 at {len(lasting) or 'none'}. Neighbouring layers are nearly copies "
        f"of one another: these are not {len(own)} confirmations."
    )
    if len(gaps) > 1:
        message += " Below, a dot for every group's gap; the line joins the middle ones."
    primary = chosen.layer(embedder)
    return [
        book.draw(
            f"layers-{embedder}",
            embedder,
            message,
            lambda: layer_sweep(own, fixed, gaps if len(gaps) > 1 else {}, layers, primary=primary, predictor=predictor),
        )
    ]


def regimes(book: Sketchbook, chosen: Chosen) -> list[Figure]:
    """Each pair of embedders: every group's gap under both, and the paired differences with their mean."""
    pairs = dict.fromkeys((row["first"], row["second"]) for row in chosen.folder.rows("regimes"))
    answer = []
    for pair in pairs:
        rows = chosen.rows("regimes", first=pair[0], second=pair[1])
        answer += [*_slopes(book, pair, rows), *_differences(book, chosen, pair, rows)]
    return answer


def _slopes(book: Sketchbook, pair: tuple[str, str], rows: Sequence[Row]) -> list[Figure]:
    rows = [row for row in rows if not is_missing(row["gap_first"]) and not is_missing(row["gap_second"])]
    if not rows:
        return []
    exposed = [row["held"] for row in rows if row["exposed"]]
    heard = f" Dashed and hollow: {in_words(exposed)}, whose algorithm one of the two was trained on." if exposed else ""
    smaller = sum(row["gap_second"] < row["gap_first"] for row in rows)
    message = (
        f"The gap of each group under {pair[0]} (left) and {pair[1]} (right), clean recordings: smaller at the right for {smaller} of "
        f"{len(rows)}.{heard}"
    )
    title = f"{pair[0]} and {pair[1]}"
    return [book.draw(f"regimes-{pair[0]}-{pair[1]}", title, message, lambda: slopes(rows, pair))]


def _differences(book: Sketchbook, chosen: Chosen, pair: tuple[str, str], rows: Sequence[Row]) -> list[Figure]:
    rows = largest(rows, "difference")[::-1]
    tests = by(chosen.rows("regime_tests", first=pair[0], second=pair[1], attacks=None), "attacks")
    means = [row for row in tests.values() if not is_missing(row["mean_difference"])]
    if not rows:
        return []
    said = [f"{row['attacks']} groups {points_with_interval(row, 'mean_difference')}, p {p_value(row['p'])}" for row in means]
    clear = sum(row["within_noise"] is False for row in rows)
    message = f"{pair[1]} less {pair[0]}: {clear} of {plural(len(rows), 'difference')} beyond noise (filled)."
    message += f" Mean over {'; over '.join(said)}, its interval over groups." if said else ""
    message += chosen.scope(rows[0])
    panel = Panel(
        (
            Series([*rows, *[None] * len(means)], "difference", "", VERMILLION, "D", is_hollow=is_within_noise),
            Series([*[None] * len(rows), *means], "mean_difference", "", GREEN, "s"),
        ),
        "difference of the gaps, points",
        "points",
        lines=((0.0, False),),
    )
    names = [*map(marked, rows), *(f"mean, {row['attacks']}" for row in means)]
    title = f"{pair[1]} less {pair[0]}"
    return [
        book.draw(f"regimes-difference-{pair[0]}-{pair[1]}", title, message, lambda: draw_marks(names, [panel], width_px=400))
    ]
