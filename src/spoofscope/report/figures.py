"""The figures of a run: which of them its tables allow, each with a title and a caption that states its message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spoofscope.report import charts, curves, style
from spoofscope.report.findings import HEADLINE_POINT, largest
from spoofscope.report.folder import Row, RunFolder
from spoofscope.report.words import in_words, is_missing, number, percent, plural
from spoofscope.storage import slug

NAMED_CURVES = 6
MOST_SMALL_ATTACKS = 6


@dataclass(frozen=True)
class Figure:
    """One figure as the page shows it.

    Parameters
    ----------
    name : str
        Of its files, `figures/NAME.svg` and `.pdf`.
    title, message : str
        What it is, and what it shows in this run.
    svg : str
        To set into the page.
    width_px : int
        The width that it is drawn for; it grows to a quarter more, and shrinks to three quarters before it scrolls.
    """

    name: str
    title: str
    message: str
    svg: str
    width_px: int


@dataclass
class Sketchbook:
    """Draws the figures of one run into a folder, giving each a name of its own."""

    run: RunFolder
    folder: Path
    taken: set[str] = field(default_factory=set)

    def draw(self, name: str, title: str, message: str, drawing: Callable[[], Any]) -> Figure:
        """Draw, save, and return one figure."""
        unique, at = slug(name), 2
        while unique in self.taken:
            unique, at = f"{slug(name)}-{at}", at + 1
        self.taken.add(unique)
        with style.styled():
            figure = drawing()
            svg = style.save(figure, self.folder, unique)
        return Figure(unique, title, message, svg, round(figure.get_figwidth() * style.PIXELS_PER_INCH))

    def overview(self) -> list[Figure]:
        """The EER of every condition, all detectors in one figure."""
        rows = self.run.rows("conditions")
        if not any(not is_missing(row["eer"]) for row in rows):
            return []
        parts = []
        for detector in self.run.detectors:
            own = largest(self.run.rows("conditions", detector=detector), "eer")
            if own:
                worst, best = own[0], own[-1]
                ends = f"from {percent(best['eer'])} ({best['label']}) to {percent(worst['eer'])} ({worst['label']})"
                parts.append(f"{detector}: {ends if worst is not best else percent(worst['eer'])}")
        message = f"Equal error rate by condition. {'; '.join(parts)}. Whiskers are {self._interval} intervals; the vertical line is clean."
        labels = self.run.labels
        return [
            self.draw(
                "conditions",
                "Error in every condition",
                message,
                lambda: charts.error_by_condition(rows, self.run.detectors, labels),
            )
        ]

    def sweeps(self) -> list[Figure]:
        """One panel for each family of conditions with at least two levels."""
        families: dict[tuple[str, str], list[Row]] = {}
        for row in self.run.rows("conditions"):
            if not is_missing(row["level"]) and not is_missing(row["eer"]):
                families.setdefault((row["family"], row["unit"]), []).append(row)
        swept = {key: rows for key, rows in families.items() if len({row["level"] for row in rows}) > 1}
        clean = {name: self.run.rows("conditions", detector=name, condition="clean")[0] for name in self.run.detectors}
        shown = [*clean.values(), *(row for rows in swept.values() for row in rows)]
        upper = charts.upper_limit([row[name] for row in shown for name in ("eer", "eer_high")])
        return [self._sweep(family, unit, rows, clean, upper) for (family, unit), rows in swept.items()]

    def _sweep(self, family: str, unit: str, rows: list[Row], clean: Mapping[str, Row], upper: float) -> Figure:
        parts = []
        for detector in self.run.detectors:
            own = largest((row for row in rows if row["detector"] == detector), "eer")
            if own:
                who = f"{detector}: worst" if len(self.run.detectors) > 1 else "Worst"
                where = f"{number(own[0]['level'])} {unit}".strip()
                parts.append(f"{who} at {where}, {percent(own[0]['eer'])} (clean {percent(clean[detector]['eer'])})")
        title = family_title(family, [row["label"] for row in rows])
        return self.draw(
            f"sweep-{family}",
            title,
            f"{'; '.join(parts)}.",
            lambda: curves.sweep(
                rows, clean, self.run.detectors, unit=", ".join(part for part in (title, unit) if part), upper=upper
            ),
        )

    def transfer(self, detector: str) -> list[Figure]:
        """Both errors at the threshold frozen at the development EER, in every condition."""
        rows = self.run.rows("transfer", detector=detector, operating_point=HEADLINE_POINT)
        accepted, rejected = largest(rows, "false_alarm"), largest(rows, "miss")
        if not accepted or not rejected:
            return []
        labels = self.run.labels
        message = (
            f"{detector}, one threshold frozen on development speech: fakes let through reach {percent(accepted[0]['false_alarm'])} "
            f"({labels[accepted[0]['condition']]}), real people turned away reach {percent(rejected[0]['miss'])} "
            f"({labels[rejected[0]['condition']]}). An arrow is how far the threshold would have to move, in units of the score."
        )
        return [self.draw(f"transfer-{detector}", detector, message, lambda: charts.frozen_threshold(rows, labels))]

    def attacks(self, detector: str) -> list[Figure]:
        """The EER of each attack under each condition, the hardest attack first."""
        rows = self.run.rows("breakdown", detector=detector, columns="attack")
        conditions = [name for name in self.run.labels if any(row["condition"] == name for row in rows)]
        minimum = self.run.run["min_count"]
        reliable = largest((row for row in rows if charts.is_reliable(row, minimum)), "eer")
        if not reliable:
            return []
        hardest = largest((row for row in rows if row["condition"] == conditions[0]), "eer")
        attacks = list(dict.fromkeys([*(row["group"] for row in hardest), *(row["group"] for row in rows)]))
        ranked = {row["group"] for row in reliable}
        left_out = [attack for attack in attacks if attack not in ranked]
        if len(left_out) > MOST_SMALL_ATTACKS:
            attacks = [attack for attack in attacks if attack in ranked]
            small = f"{plural(len(left_out), 'attack')} with fewer than {plural(minimum, 'trial')} of a class everywhere are left out."
        else:
            small = f"'few': fewer than {plural(minimum, 'trial')} of a class."
        labels = self.run.labels
        message = (
            f"{detector}: equal error rate in percent, attacks in the order of their error under {labels[conditions[0]]}, "
            f"the hardest on the left; darker is worse. The largest is {percent(reliable[0]['eer'])}, {reliable[0]['group']} under "
            f"{labels[reliable[0]['condition']]}. {small}"
        )
        return [
            self.draw(
                f"attacks-{detector}",
                detector,
                message,
                lambda: charts.attack_by_condition(rows, attacks, conditions, labels, min_count=minimum),
            )
        ]

    def det(self, detector: str) -> list[Figure]:
        """The DET curves of one detector: clean and the worst conditions named, the rest in grey."""
        rows = self.run.rows("det", detector=detector)
        if not rows:
            return []
        drawn = {row["condition"] for row in rows}
        worst = [row["condition"] for row in largest(self.run.rows("conditions", detector=detector), "eer")]
        names = [name for name in dict.fromkeys(["clean", *worst]) if name in drawn][:NAMED_CURVES]
        labels = self.run.labels
        others = f" The other {len(drawn) - len(names)} conditions are grey." if len(drawn) > len(names) else ""
        message = f"{detector}: {in_words([labels[name] for name in names])}; nearer the lower left corner is better.{others}"
        series = [(detector, name, labels[name]) for name in names]
        return [self.draw(f"det-{detector}", detector, message, lambda: curves.det(rows, series))]

    def det_clean(self) -> list[Figure]:
        """The DET curves of all detectors on clean recordings; nothing where there is one detector."""
        rows = self.run.rows("det", condition="clean")
        if len(self.run.detectors) < 2 or not rows:
            return []
        series = [(name, "clean", name) for name in self.run.detectors[: len(style.STROKES)]]
        message = "Every detector on clean recordings; nearer the lower left corner is better."
        return [self.draw("det-clean", "All detectors, clean", message, lambda: curves.det(rows, series))]

    def histograms(self, detector: str) -> list[Figure]:
        """The scores of both classes in every condition, with the frozen threshold."""
        rows = self.run.rows("histograms", detector=detector)
        conditions = [name for name in self.run.labels if any(row["condition"] == name for row in rows)]
        if not conditions:
            return []
        frozen = self.run.rows("transfer", detector=detector, operating_point=HEADLINE_POINT)
        threshold = frozen[0]["threshold"] if frozen else None
        line = (
            f"The dashed line is the frozen threshold, {number(threshold)}: real speech left of it is turned away, fakes right of it pass."
            if not is_missing(threshold)
            else "No threshold was frozen in this run."
        )
        message = (
            f"{detector}: scores of real speech (above each line) and fakes (hatched, below), each scaled to its peak. {line}"
        )
        labels = self.run.labels
        return [
            self.draw(
                f"scores-{detector}", detector, message, lambda: charts.score_histograms(rows, conditions, labels, threshold)
            )
        ]

    def heard(self, detector: str) -> list[Figure]:
        """Error against seconds heard, for conditions that listen in windows."""
        rows = [row for row in self.run.rows("heard", detector=detector) if not is_missing(row["eer"])]
        labels = self.run.labels
        series = [(name, labels[name]) for name in dict.fromkeys(row["condition"] for row in rows)]
        if not series:
            return []
        parts = []
        for name, label in series:
            own = [row for row in rows if row["condition"] == name]
            first, last = own[0], own[-1]
            ends = f"{percent(first['eer'])} after {number(first['seconds'])} s, {percent(last['eer'])} after {number(last['seconds'])} s"
            parts.append(f"{label}: {ends}")
        message = f"{detector}. {'; '.join(parts)}."
        return [self.draw(f"heard-{detector}", detector, message, lambda: curves.heard(rows, series))]

    def each(self, draw: Callable[[str], list[Figure]]) -> list[Figure]:
        """Return the figures of one kind for every detector."""
        return [figure for detector in self.run.detectors for figure in draw(detector)]

    @property
    def _interval(self) -> str:
        return percent(self.run.run["level"], 0)


def family_title(family: str, labels: Sequence[str]) -> str:
    """Return what people call a family: the words that all its labels begin with (`white noise` of `white noise 5 dB`)."""
    split = [label.split() for label in labels]
    shared = []
    for words in zip(*split, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    name = " ".join(shared) if len(set(labels)) > 1 and shared else family.replace("_", " ")
    return f"{name[:1].upper()}{name[1:]}"


def draw_figures(run: RunFolder, folder: Path) -> dict[str, list[Figure]]:
    """Draw every figure that the tables of a run allow; a kind that they do not allow is an empty list."""
    book = Sketchbook(run, folder)
    return {
        "overview": book.overview(),
        "sweeps": book.sweeps(),
        "transfer": book.each(book.transfer),
        "attacks": book.each(book.attacks),
        "det": [*book.det_clean(), *book.each(book.det)],
        "histograms": book.each(book.histograms),
        "heard": book.each(book.heard),
    }
