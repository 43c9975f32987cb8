"""Repeat every correlation of the reference study's second part (why a detector does not generalise) from its published tables.

Run from the repository root, with the tables in ../shared/study/published, or name another folder and where to write:

    python -m examples.published_generalisation [PUBLISHED] [docs/results]

Writes published_generalisation.csv: a row for each figure, as printed in the study's re-check (sections 4.1 and 5) and as computed here. A figure agrees if
it rounds to the printed one; one that is drawn at random (permutations, resamples, simulations), if it is within three standard errors of both draws.
Rows without a published figure are what the study leaves out. Two figures differ in their last digit: 0.039482 and 0.020494 stand there as 0.040 and
0.021, as if rounded to four decimals first. Then prints what `spoofscope analyse` says of the same tables.
"""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spoofscope.analysis.association.layer_sweep import sweep_layers
from spoofscope.analysis.association.published import TableAnalysis, analyse_tables
from spoofscope.metrics.correlations import (
    correlation_p,
    critical_rho,
    leave_one_out_error,
    partial_spearman,
    pearson,
    spearman,
    spearman_power,
)
from spoofscope.metrics.permutation import benjamini_hochberg, permutation_test

SHARED = Path(__file__).resolve().parents[2] / "shared"
PUBLISHED = SHARED / "study" / "published"
SPACES = {"A": "", "mean+std": "_meanstd", "B": "_ft", "AASIST": "_aasist"}
BOUND = 0.015  # three standard errors of a bound from 20,000 resamples, roughly; the BCa bounds move twice as much


def chance(p: float, first: int, second: int) -> float:
    """Three standard errors of the difference of a share p in two sets of draws."""
    return 3 * math.sqrt(p * (1 - p) * (1 / first + 1 / second))


class Book:
    """The rows: what, as printed, ours."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def claim(self, what: str, published: str, ours: float, within: float = 0.0) -> None:
        """Enter a figure; `within` is what chance may add to the rounding of the printed one."""
        row: dict[str, Any] = {"what": what, "published": published, "ours": float(ours), "difference": None, "agrees": None}
        if published.startswith("<"):
            row["agrees"] = bool(ours < float(published[1:]))
        elif published:
            half = 0.5 * 10.0 ** -len(published.partition(".")[2]) if "e" not in published else 0.0
            row["difference"] = float(ours) - float(published)
            row["agrees"] = abs(row["difference"]) <= min(half, 0.5) + within + 1e-9
        self.rows.append(row)

    def correlation(self, what: str, x: Any, y: Any, rho: str, p: str = "", *, kind: Any = spearman) -> None:
        """Enter a correlation and its p by the t approximation."""
        value = kind(np.asarray(x), np.asarray(y))
        if rho:
            self.claim(f"{what}: {'r' if kind is pearson else 'rho'}", rho, value)
        if p:
            self.claim(f"{what}: p", p, correlation_p(value, len(x)))


def read(folder: Path, space: str) -> pl.DataFrame:
    """Gaps in points, seen difficulty and predictors of one representation, as they stand in the files."""
    gaps = pl.read_csv(folder / f"loao_per_attack{SPACES[space]}.csv").select(
        "family", "eer_seen_pct", "gap_std", "probe_selectivity"
    )
    return pl.read_csv(folder / f"geometry_h2{SPACES[space]}.csv").join(gaps, on="family", validate="1:1")


def predictors(book: Book, found: TableAnalysis) -> None:
    """Section 5, the first table."""
    printed = {
        "d_bona": "-0.666 0.0130 0.0156 -0.95 -0.11 -0.94 -0.06 -0.53 0.012 -0.74 0.004",
        "cos_bona": "-0.558 0.0473 0.050 -0.94 0.11 -0.93 0.20 -0.45 0.032 -0.64 0.019",
        "bona_axis_proj": "0.520 0.0686 0.072 -0.19 0.95 -0.28 0.92 0.43 0.044 0.60 0.029",
        "knn_bona_frac": "0.684 0.0100 0.012 0.24 0.92 0.16 0.90 0.55 0.017 0.99 <1e-4",
        "rel": "-0.371 0.21 0.21 -0.89 0.33",
        "d_near_spoof": "-0.042 0.893 0.892 -0.67 0.73",
        "d_mean_spoof": "0.292 0.33 0.33",
    }
    within = {**dict.fromkeys(("rho_low", "rho_high"), BOUND), **dict.fromkeys(("bca_low", "bca_high"), 2 * BOUND)}
    figures = ["rho", "p_t", "p", "rho_low", "rho_high", "bca_low", "bca_high", "tau", "tau_p", "pearson", "pearson_p"]
    for one in found.associations:
        within["p"] = chance(one.p, 200_000, 100_000)
        for figure, published in zip(figures, printed[one.predictor].split(), strict=False):
            book.claim(f"A, {one.predictor}: {figure}", published, getattr(one, figure), within.get(figure, 0.0))
    one = found.associations[0]
    book.claim("A, d_bona: jackknife_low", "-0.795", one.jackknife_low)
    book.claim("A, d_bona: jackknife_high", "-0.574", one.jackknife_high)


def multiplicity(book: Book, found: TableAnalysis) -> None:
    """Section 5, multiplicity: corrections of permutation p, which multiply its chance as well."""
    by = {one.predictor: one for one in found.associations}
    for name, holm, bh in (("knn_bona_frac", "0.073", "0.047"), ("d_bona", "0.078", "0.047"), ("cos_bona", "0.20", "0.099")):
        drawn = chance(by[name].p, 200_000, 100_000) / by[name].p
        book.claim(f"A, {name}: p_holm", holm, by[name].p_holm, drawn * by[name].p_holm)
        book.claim(f"A, {name}: p_bh", bh, by[name].p_bh, drawn * by[name].p_bh)
        book.claim(f"A, {name}: p_max_t", "", by[name].p_max_t)


def leave_outs(book: Book, spaces: dict[str, pl.DataFrame]) -> None:
    """Section 5, influence."""
    space = spaces["A"]
    printed = {
        "A19": "-0.574 0.051 -0.438 0.155 0.389 0.212",
        "A13": "-0.574 0.051 -0.445 0.147 0.389 0.212",
        "A19 A13": "-0.446 0.169 -0.278 0.408 0.205 0.545",
        "A19 A10": "-0.733 0.010 -0.661 0.027 0.615 0.044",
        "A19 A18": "-0.538 0.088 -0.369 0.264 0.314 0.346",
        "A17 A18 A19": "-0.529 0.116 -0.353 0.318 0.280 0.434",
    }
    for left_out, figures in printed.items():
        rest = space.filter(~pl.col("family").is_in(left_out.split()))
        pairs = iter(figures.split())
        for name in ("d_bona", "cos_bona", "bona_axis_proj"):
            book.correlation(f"A without {left_out}, {name}", rest[name], rest["gap_pct"], next(pairs), next(pairs))
    rest = space.filter(pl.col("family") != "A19")
    book.correlation("A without A19, d_bona, Pearson", rest["d_bona"], rest["gap_pct"], "-0.37", "0.24", kind=pearson)
    for name, published in (("A", "0.054"), ("mean+std", "0.019")):
        rest = spaces[name].filter(pl.col("family") != "A19")
        test = permutation_test(rest["d_bona"].to_numpy(), rest["gap_pct"].to_numpy(), rng=np.random.default_rng(0))
        book.claim(
            f"{name} without A19, d_bona: permutation p", published, float(test.p), chance(float(test.p), 200_000, 100_000)
        )


def representations(book: Book, spaces: dict[str, pl.DataFrame]) -> None:
    """Section 5, the other representations."""
    printed = {
        "mean+std d_bona": "-0.747 0.0034",
        "mean+std bona_axis_proj": "0.730 0.0046",
        "mean+std cos_bona": "-0.576 0.040",
        "AASIST knn_bona_frac": "0.558 0.048",
        "AASIST d_bona": "-0.431 0.14",
        "AASIST cos_bona": "-0.483 0.095",
        "B d_bona": "0.066 0.83",
        "B cos_bona": "-0.091 0.77",
        "B bona_axis_proj": "0.044 0.89",
        "B knn_bona_frac": "0.679 0.011",
    }
    for what, figures in printed.items():
        space, name = what.split()
        book.correlation(f"{space}, {name}", spaces[space][name], spaces[space]["gap_pct"], *figures.split())
    tied = spaces["B"]["gap_pct"].round(10)
    for name in ("d_bona", "cos_bona", "bona_axis_proj"):
        book.claim(
            f"B, {name}, gaps of 0 that differ by 3e-17 tied: rho", "", spearman(spaces["B"][name].to_numpy(), tied.to_numpy())
        )
    rest = spaces["mean+std"].filter(pl.col("family") != "A19")
    for name, figures in {"d_bona": "-0.677 0.016", "bona_axis_proj": "0.656 0.021", "cos_bona": "-0.460 0.133"}.items():
        book.correlation(f"mean+std without A19, {name}", rest[name], rest["gap_pct"], *figures.split())


def identity(book: Book, folder: Path, spaces: dict[str, pl.DataFrame]) -> None:
    """H1 (identity selectivity goes with the gap) and the change between encoders; sections 5 and 4.1 (12)."""
    regimes = pl.read_csv(folder / "regime_comparison.csv")
    book.correlation("B less A, d_cos and d_gap", regimes["d_cos"], regimes["d_gap"], "-0.082", "0.789")
    for space, figures in {"A": "-0.025 0.936", "mean+std": "-0.60 0.032", "AASIST": "0.20 0.52"}.items():
        frame = spaces[space]
        book.correlation(f"{space}, probe selectivity", frame["probe_selectivity"], frame["gap_pct"], *figures.split())
    wide = pl.read_csv(folder / "selectivity_by_layer_attack.csv")
    gaps = pl.read_csv(folder / "loao_per_attack.csv").select("family", "gap_pct", layer=pl.lit("9"))
    long = wide.unpivot(index="layer", variable_name="held").with_columns(predictor=pl.lit("selectivity"))
    swept = sweep_layers(gaps, long, seed=0)
    printed = pl.read_csv(folder / "layer_sweep_selectivity.csv")
    for layer, rho, p, ours in zip(printed["layer"], printed["rho_vs_gap"], printed["p"], swept["rho"], strict=True):
        book.claim(f"A, selectivity of layer {layer}, gap of layer 9: rho", f"{rho:.12f}", ours)
        book.claim(f"A, selectivity of layer {layer}, gap of layer 9: p", f"{p:.12f}", correlation_p(ours, 13))
    book.claim("A, selectivity: layers with p < 0.10", "0", sum(correlation_p(rho, 13) < 0.1 for rho in swept["rho"]))
    book.claim("A, selectivity: least p_max_t of 25 layers", "", swept["p_max_t"].min())  # type: ignore[arg-type]


def hardness(book: Book, spaces: dict[str, pl.DataFrame]) -> None:
    """Section 5, hardness: is it non-transfer, or difficulty?"""
    for space, rho in {"A": "0.957", "mean+std": "0.851", "B": "0.798"}.items():
        book.correlation(f"{space}, gap and seen EER", spaces[space]["gap_pct"], spaces[space]["eer_seen_pct"], rho)
    frame = spaces["A"]
    book.correlation("A, d_bona and seen EER", frame["d_bona"], frame["eer_seen_pct"], "-0.700", "0.008")
    for space, name, rho, p in (
        ("A", "d_bona", "0.02", "0.95"),
        ("mean+std", "d_bona", "-0.57", "0.055"),
        ("A", "cos_bona", "0.60", "0.04"),
    ):
        partial(book, f"{space}, {name} given seen EER", spaces[space], name, spaces[space]["eer_seen_pct"], rho, p)
    partial(
        book, "A, d_bona given voice conversion", frame, "d_bona", frame["family"].is_in(["A17", "A18", "A19"]), "-0.47", "0.12"
    )


def partial(book: Book, what: str, frame: pl.DataFrame, name: str, given: pl.Series, rho: str, p: str) -> None:
    """Enter a partial correlation with the gap."""
    value = partial_spearman(frame[name].to_numpy(), frame["gap_pct"].to_numpy(), given.cast(pl.Float64).to_numpy())
    book.claim(f"{what}: rho", rho, float(value))
    book.claim(f"{what}: p", p, float(correlation_p(value, frame.height - 1)))


def deployed(book: Book, folder: Path, space: pl.DataFrame) -> None:
    """Section 5: EER of the deployed detector for each attack, against where the attack lies."""
    attacks = pl.read_csv(folder / "per_attack_eer_full.csv").with_columns(param=pl.col("param").fill_null(""))
    printed = {
        "clean": "-0.73 0.005",
        "noise snr_db=10": "-0.74 0.004",
        "noise snr_db=0": "-0.60 0.031",
        "mp3 bitrate_kbps=8": "-0.60 0.031",
        "streaming chunk_ms=500": "-0.79 0.001",
    }
    for condition, figures in printed.items():
        family, _, param = condition.partition(" ")
        chosen = attacks.filter(
            (pl.col("condition") == family) & pl.col("param").str.split(",").list.first().is_in([param or "—"])
        )
        both = chosen.join(space, left_on="attack_id", right_on="family", validate="1:1")
        book.correlation(f"detector under {condition}, d_bona and EER", both["d_bona"], both["eer_pct"], *figures.split())


def prediction(book: Book, spaces: dict[str, pl.DataFrame]) -> None:
    """Sections 5 and 4.1 (29): a line on d_bona, or the median, for an attack that was left out; points."""
    for space, line, median in (("A", "2.66", "1.66"), ("mean+std", "2.77", "1.57")):
        errors = leave_one_out_error(spaces[space][["d_bona"]].to_numpy(), spaces[space]["gap_pct"].to_numpy())
        book.claim(f"{space}, leave one attack out, line on d_bona: MAE", line, float(errors.line[0]))
        book.claim(f"{space}, leave one attack out, median: MAE", median, errors.median)
    # the other twelve are predicted from sets that hold A19
    x, y = spaces["A"]["d_bona"].to_numpy(), spaces["A"]["gap_pct"].to_numpy()
    rest = [np.delete(np.arange(13), at) for at in range(1, 13)]
    line = [abs(np.polyval(np.polyfit(x[kept], y[kept], 1), x[at]) - y[at]) for at, kept in enumerate(rest, 1)]
    book.claim("A, the same, errors of the twelve other than A19: MAE of the line", "1.75", float(np.mean(line)))
    book.claim(
        "A, the same: MAE of the median",
        "0.58",
        float(np.mean([abs(np.median(y[kept]) - y[at]) for at, kept in enumerate(rest, 1)])),
    )


def resolution(book: Book, space: pl.DataFrame) -> None:
    """Section 5: the gap's own noise, and gaps too small to tell apart."""
    gap, rng, draws = space["gap_pct"].to_numpy(), np.random.default_rng(0), 20_000
    spread = np.maximum(space["gap_std"].to_numpy(), 0.2) / math.sqrt(5)
    rho = spearman(gap[:, None] + spread[:, None] * rng.standard_normal((13, draws)), space["d_bona"].to_numpy())
    low, median, high = np.quantile(rho, [0.025, 0.5, 0.975])
    for what, published, ours in (("median", "-0.63", median), ("2.5 %", "-0.73", low), ("97.5 %", "-0.48", high)):
        book.claim(f"A, d_bona, noise of the gap propagated: {what} of rho", published, ours, BOUND)
    share = float(np.mean(correlation_p(rho, 13) < 0.05))
    book.claim("A, d_bona, noise of the gap propagated: share with p < 0.05", "0.88", share, chance(share, 2_000, draws))
    for least, name, p in (
        ("0.1", "d_bona", "0.035"),
        ("0.2", "d_bona", "0.070"),
        ("0.42", "d_bona", "0.040"),
        ("0.2", "cos_bona", "0.12"),
    ):
        tied = np.where(np.abs(gap) < float(least), 0, gap)
        book.correlation(f"A, {name}, gaps under {least} points tied", space[name], tied, "", p)


def power(book: Book) -> None:
    """Section 5: what so few attacks can show."""
    for n, rho, published in ((13, 0.5, "0.40"), (13, 0.67, "0.71"), (32, 0.5, "0.83"), (60, 0.4, "0.88")):
        ours = float(spearman_power(rho, n, rng=np.random.default_rng(n), simulations=40_000))
        book.claim(f"power of {n} attacks for a true rho of {rho}", published, ours, chance(ours, 10_000, 40_000))
    book.claim("critical |rho| of 13 attacks", "0.553", critical_rho(13))


def layers(book: Book, folder: Path) -> None:
    """Sections 5 and 4.1 (8): counts over 25 layers, from the published p (the table has three decimals)."""
    table = pl.read_csv(folder / "geometry_layer_sweep.csv")
    d_bona, cos_bona = table["rho_d_bona"].to_numpy(), table["rho_cos_bona"].to_numpy()
    book.claim("A, d_bona: layers with p < 0.05", "19", float((table["p_d_bona"] < 0.05).sum()))
    book.claim("A, d_bona: layers with p < 0.05, p from rho", "19", float((correlation_p(d_bona, 13) < 0.05).sum()))
    book.claim("A, cos_bona: layers with p < 0.05", "14", float((table["p_cos_bona"] < 0.05).sum()))
    book.claim("A, cos_bona: layers with p < 0.05, p from rho", "14", float((correlation_p(cos_bona, 13) < 0.05).sum()))
    book.claim("A, d_bona: layers with rho < 0", "25", float((d_bona < 0).sum()))
    kept = np.flatnonzero(benjamini_hochberg(correlation_p(d_bona, 13)) < 0.05)
    book.claim("A, d_bona: layers that Benjamini-Hochberg keeps", "3", len(kept))
    for published, layer in zip(["7", "8", "18"], kept, strict=True):
        book.claim("A, d_bona: a layer that Benjamini-Hochberg keeps", published, float(layer))
    book.claim("A, d_bona: rank of layer 9 by |rho|", "4", float((np.abs(d_bona) > abs(d_bona[9])).sum() + 1))


def main(folder: Path, out: Path) -> None:
    book, spaces = Book(), {space: read(folder, space) for space in SPACES}
    found = analyse_tables(folder / "loao_per_attack.csv", folder / "geometry_h2.csv", primary="d_bona", replicates=20_000)
    predictors(book, found)
    leave_outs(book, spaces)
    representations(book, spaces)
    identity(book, folder, spaces)
    hardness(book, spaces)
    multiplicity(book, found)
    layers(book, folder)
    deployed(book, folder, spaces["A"])
    prediction(book, spaces)
    resolution(book, spaces["A"])
    power(book)
    table = pl.DataFrame(book.rows, infer_schema_length=None)
    table.write_csv(out / "published_generalisation.csv", float_precision=6)
    for what, published, ours, _, agrees in table.iter_rows():
        print(f"{what:82} {published or '-':>16} {ours:12.6f}  {'' if agrees is None else 'agrees' if agrees else 'DIFFERS'}")
    print(
        f"\n{table['agrees'].sum()} of {table['agrees'].count()} published figures agree; {table['agrees'].null_count()} are new\n"
    )
    print("\n".join(found.sentences))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else PUBLISHED), Path(sys.argv[2] if len(sys.argv) > 2 else "docs/results"))
