"""A run folder made from synthetic scores by real computation, for the tests of the page.

Every table follows docs/run-folder.md. The figures are computed here by short, slow definitions (sort, sweep, resample), so that
they agree with each other as those of a real run do; nothing is made up by hand.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spoofscope.storage import slug

Scores = NDArray[np.float64]

LEVEL = 0.95
COST = {"name": "ASVspoof 5", "p_spoof": 0.05, "c_miss": 1.0, "c_fa": 10.0}

# name, label, family, level, unit, loss of separation, shift of both classes
CONDITIONS: list[tuple[str, str, str, float | None, str, float, float]] = [
    ("clean", "clean", "clean", None, "", 0.0, 0.0),
    *((f"mp3_{k}", f"MP3 {k} kb/s", "mp3", float(k), "kb/s", 18 / k, 8 / k) for k in (128, 64, 32, 16, 8)),
    ("bandpass", "300–3400 Hz", "bandpass", None, "", 0.9, 0.9),
    ("telephony", "telephone line", "telephony", None, "", 1.3, 1.4),
    *(
        (f"noise_{s}", f"white noise {s} dB", "white noise", float(s), "dB", (32 - s) / 15, -(32 - s) / 14)
        for s in (30, 20, 10, 5, 0)
    ),
    ("window_4", "windows of 4 s", "windows", 4.0, "s", 0.05, 0.0),
    ("window_2", "windows of 2 s", "windows", 2.0, "s", 0.3, 0.0),
    ("window_0.5", "windows of 0.5 s", "windows", 0.5, "s", 1.2, 0.1),
]


@dataclass(frozen=True)
class Plan:
    """What to put into the folder; each odd case of a real run is one change of these."""

    detectors: tuple[str, ...] = ("aasist.la19", "aasist_l.la19", "lfcc_gmm.builtin")
    conditions: tuple[str, ...] = tuple(row[0] for row in CONDITIONS)
    attacks: tuple[str, ...] = ("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08")
    n_bonafide: int = 160
    n_per_attack: int = 40
    n_rare: int = 6
    speakers: int = 16
    replicates: int = 60
    development: bool = True
    synthetic: bool = True
    clips: int = 4
    failures: int = 2
    title: str = "Two published detectors and a baseline over the reference grid"
    labels: tuple[tuple[str, str], ...] = ()
    intervals: bool = True
    embedders: tuple[str, ...] = ()


TINY = Plan(
    detectors=("aasist.la19",),
    conditions=("clean", "mp3_8"),
    attacks=("A01", "A02"),
    n_bonafide=40,
    n_rare=3,
    replicates=12,
    clips=1,
)


@dataclass(frozen=True)
class Trial:
    trial_id: str
    label: str
    attack: str
    speaker: str
    codec: str


def eer(bonafide: Scores, spoof: Scores) -> float:
    _thresholds, miss, false_alarm = rates(bonafide, spoof)
    at = int(np.argmax(miss >= false_alarm))
    if at == 0 or miss[at] == false_alarm[at]:
        return float((miss[at] + false_alarm[at]) / 2)
    gap, before = miss[at] - false_alarm[at], miss[at - 1] - false_alarm[at - 1]
    along = -before / (gap - before)
    return float(miss[at - 1] + along * (miss[at] - miss[at - 1]))


def rates(bonafide: Scores, spoof: Scores) -> tuple[Scores, Scores, Scores]:
    thresholds = np.append(np.unique(np.concatenate([bonafide, spoof])), np.inf)
    miss = np.searchsorted(np.sort(bonafide), thresholds, side="left") / len(bonafide)
    false_alarm = 1 - np.searchsorted(np.sort(spoof), thresholds, side="left") / len(spoof)
    return thresholds, miss, false_alarm


def auc(bonafide: Scores, spoof: Scores) -> float:
    ordered = np.sort(spoof)
    below = np.searchsorted(ordered, bonafide, side="left")
    ties = np.searchsorted(ordered, bonafide, side="right") - below
    return float(np.mean(below + ties / 2) / len(spoof))


def cost(miss: Any, false_alarm: Any) -> Any:
    weigh_miss, weigh_fa = COST["c_miss"] * (1 - COST["p_spoof"]), COST["c_fa"] * COST["p_spoof"]
    return (weigh_miss * miss + weigh_fa * false_alarm) / min(weigh_miss, weigh_fa)


def min_dcf(bonafide: Scores, spoof: Scores) -> float:
    _, miss, false_alarm = rates(bonafide, spoof)
    return float(np.min(cost(miss, false_alarm)))


def cllr(bonafide: Scores, spoof: Scores) -> float:
    return float((np.mean(np.logaddexp(0, -bonafide)) + np.mean(np.logaddexp(0, spoof))) / 2 / np.log(2))


def min_cllr(bonafide: Scores, spoof: Scores) -> float:
    from sklearn.isotonic import IsotonicRegression

    scores = np.concatenate([bonafide, spoof])
    labels = np.concatenate([np.ones(len(bonafide)), np.zeros(len(spoof))])
    posterior = IsotonicRegression(y_min=1e-6, y_max=1 - 1e-6).fit(scores, labels).predict(scores)
    ratios = np.log(posterior / (1 - posterior)) - np.log(len(bonafide) / len(spoof))
    return cllr(ratios[: len(bonafide)], ratios[len(bonafide) :])


def affine(bonafide: Scores, spoof: Scores) -> tuple[float, float]:
    """Logistic calibration with equal priors, by Newton steps."""
    design = np.stack([np.concatenate([bonafide, spoof]), np.ones(len(bonafide) + len(spoof))], axis=1)
    labels = np.concatenate([np.ones(len(bonafide)), np.zeros(len(spoof))])
    weights = np.where(labels == 1, 0.5 / len(bonafide), 0.5 / len(spoof))
    theta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ theta))
        hessian = design.T @ (design * (weights * p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        theta = theta + np.linalg.solve(hessian, design.T @ (weights * (labels - p)))
    return float(theta[0]), float(theta[1])


def operating_thresholds(bonafide: Scores, spoof: Scores) -> dict[str, float]:
    thresholds, miss, false_alarm = rates(bonafide, spoof)
    return {
        "eer": float(thresholds[np.argmax(miss >= false_alarm)]),
        "dcf": float(thresholds[np.argmin(cost(miss, false_alarm)[:-1])]),
        "false_alarm_1pct": float(thresholds[np.argmax(false_alarm <= 0.01)]),
    }


def interval(values: list[float]) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    return float(np.quantile(values, tail)), float(np.quantile(values, 1 - tail))


class Maker:
    """Holds the scores of one plan while its tables are written."""

    def __init__(self, folder: Path, plan: Plan, seed: int = 7) -> None:
        self.folder, self.plan, self.rng = folder, plan, np.random.default_rng(seed)
        self.conditions = [row for row in CONDITIONS if row[0] in plan.conditions]
        self.labels = {row[0]: row[1] for row in self.conditions} | dict(plan.labels)
        self.trials = self._trials()
        self.bonafide = np.array([trial.label == "bonafide" for trial in self.trials])
        self.attack = np.array([trial.attack for trial in self.trials])
        self.codec = np.array([trial.codec for trial in self.trials])
        self.speaker = np.array([trial.speaker for trial in self.trials])
        self.scores = {
            (detector, row[0]): self._score(at, loss=row[5], shift=row[6])
            for at, detector in enumerate(plan.detectors)
            for row in self.conditions
        }
        self.development = {detector: self._score(at, loss=0.0, shift=0.0) for at, detector in enumerate(plan.detectors)}
        weights = [
            np.bincount(self.rng.integers(plan.speakers, size=plan.speakers), minlength=plan.speakers)
            for _ in range(plan.replicates)
        ]
        index = np.array([int(name[1:]) for name in self.speaker])
        self.picks = [np.repeat(np.arange(len(self.trials)), weight[index]) for weight in weights]

    def _trials(self) -> list[Trial]:
        plan = self.plan
        kinds = [("bonafide", "-")] * plan.n_bonafide
        for at, attack in enumerate(plan.attacks):
            many = plan.n_rare if at == len(plan.attacks) - 1 and len(plan.attacks) > 1 else plan.n_per_attack
            kinds += [("spoof", attack)] * many
        return [
            Trial(f"T{at:05d}", label, attack, f"S{at % plan.speakers:02d}", ("none", "opus", "amr")[at % 3])
            for at, (label, attack) in enumerate(kinds)
        ]

    def _score(self, detector: int, *, loss: float, shift: float) -> Scores:
        rng = np.random.default_rng([detector, int(1000 * loss), 5])
        strength = (4.2, 3.4, 2.1)[detector % 3]
        hardness = {attack: 0.28 * ((3 * at) % 8) for at, attack in enumerate(self.plan.attacks)}
        spread = np.array(
            [0.0 if trial.label == "bonafide" else -max(0.3, strength - hardness[trial.attack]) for trial in self.trials]
        )
        talker = 0.3 * np.random.default_rng(3).normal(size=self.plan.speakers)
        bias = np.array([talker[int(trial.speaker[1:])] for trial in self.trials])
        return 1.5 + spread * np.exp(-0.55 * loss) + bias + shift + rng.normal(size=len(self.trials))

    def classes(self, scores: Scores, rows: Any = None) -> tuple[Scores, Scores]:
        rows = np.arange(len(scores)) if rows is None else rows
        is_bonafide = self.bonafide[rows]
        return scores[rows][is_bonafide], scores[rows][~is_bonafide]

    def spread(self, function: Any, scores: Scores, keep: Any = None) -> tuple[Any, Any]:
        """Percentile interval of a function of the two classes over resampled speakers."""
        if not self.plan.intervals:
            return None, None
        values = []
        for pick in self.picks:
            rows = pick if keep is None else pick[keep[pick]]
            classes = self.classes(scores, rows)
            if all(len(part) for part in classes):
                values.append(function(*classes))
        return interval(values) if values else (None, None)

    def write(self, name: str, header: str, rows: list[list[Any]]) -> None:
        (self.folder / "tables").mkdir(parents=True, exist_ok=True)
        with (self.folder / "tables" / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header.split())
            for row in rows:
                writer.writerow(
                    [{True: "true", False: "false"}[cell] if isinstance(cell, bool | np.bool_) else cell for cell in row]
                )

    def conditions_table(self) -> None:
        rows = []
        for (detector, condition), scores in self.scores.items():
            row = next(row for row in self.conditions if row[0] == condition)
            classes = self.classes(scores)
            clean = self.scores[detector, "clean"]
            delta: list[Any] = [None] * 4
            if condition != "clean":
                low, high = self.paired(scores, clean)
                delta = [eer(*classes) - eer(*self.classes(clean)), low, high, low <= 0 <= high if low is not None else None]
            iid = [eer(*(self.rng.choice(part, len(part)) for part in classes)) for _ in range(20)]
            note = "" if self.plan.intervals else "no interval: one speaker"
            rows.append(
                [
                    detector,
                    condition,
                    self.labels[condition],
                    row[2],
                    row[3],
                    row[4],
                    len(classes[0]),
                    len(classes[1]),
                    self.plan.failures if condition == "clean" else 0,
                    eer(*classes),
                    *self.spread(eer, scores),
                    *(interval(iid) if self.plan.intervals else (None, None)),
                    eer(*classes),
                    0.0,
                    auc(*classes),
                    *self.spread(auc, scores),
                    min_dcf(*classes),
                    *self.spread(min_dcf, scores),
                    actual_dcf(*classes),
                    cllr(*classes),
                    min_cllr(*classes),
                    self.plan.speakers,
                    "speaker",
                    *delta,
                    note,
                ]
            )
        self.write(
            "conditions",
            "detector condition label family level unit n_bonafide n_spoof n_failed eer eer_low eer_high eer_iid_low eer_iid_high "
            "eer_challenge tied_fraction auc auc_low auc_high min_dcf min_dcf_low min_dcf_high act_dcf cllr min_cllr n_clusters "
            "clusters delta_eer delta_eer_low delta_eer_high within_noise note",
            rows,
        )

    def paired(self, scores: Scores, other: Scores) -> tuple[Any, Any]:
        if not self.plan.intervals:
            return None, None
        return interval([eer(*self.classes(scores, pick)) - eer(*self.classes(other, pick)) for pick in self.picks])

    def transfer_table(self) -> None:
        rows = []
        for detector in self.plan.detectors if self.plan.development else ():
            development = self.classes(self.development[detector])
            slope, offset = affine(*development)
            for point, threshold in operating_thresholds(*development).items():
                for condition in self.labels:
                    scores = self.scores[detector, condition]
                    rows.append([detector, condition, point, threshold, *at(threshold, *development)])
                    rows[-1] += self.carried(scores, threshold, slope, offset)
                    own = operating_thresholds(*self.classes(scores))[point]
                    rows[-1] += [own, own - threshold, int(self.bonafide.sum()), int((~self.bonafide).sum()), ""]
        self.write(
            "transfer",
            "detector condition operating_point threshold development_miss development_false_alarm miss miss_low miss_high false_alarm "
            "false_alarm_low false_alarm_high dcf dcf_low dcf_high min_dcf calibration_loss own_threshold shift n_bonafide n_spoof note",
            rows,
        )

    def carried(self, scores: Scores, threshold: float, slope: float, offset: float) -> list[Any]:
        classes = self.classes(scores)
        miss, false_alarm = at(threshold, *classes)
        ratios = [slope * part + offset for part in classes]
        return [
            *(miss, *self.spread(lambda *both: at(threshold, *both)[0], scores)),
            *(false_alarm, *self.spread(lambda *both: at(threshold, *both)[1], scores)),
            *(cost(miss, false_alarm), *self.spread(lambda *both: cost(*at(threshold, *both)), scores)),
            *(min_dcf(*classes), cllr(*ratios) - min_cllr(*ratios)),
        ]

    def breakdown_table(self) -> None:
        rows = []
        for (detector, condition), scores in self.scores.items():
            threshold = (
                operating_thresholds(*self.classes(self.development[detector]))["eer"] if self.plan.development else None
            )
            groups = [("attack", attack, self.bonafide | (self.attack == attack)) for attack in self.plan.attacks]
            groups += [("codec", codec, self.codec == codec) for codec in ("none", "opus", "amr")]
            for columns, group, keep in groups:
                classes = self.classes(scores, np.flatnonzero(keep))
                enough = min(len(part) for part in classes) >= 20
                figures: list[Any] = [eer(*classes), *self.spread(eer, scores, keep)] if enough else [None] * 3
                rates_there: list[Any] = list(at(threshold, *classes)) if threshold is not None and enough else [None, None]
                note = "" if enough else f"{min(len(part) for part in classes)} trials, fewer than 20"
                rows.append([detector, condition, columns, group, *map(len, classes), *figures, *rates_there, threshold, note])
        header = "detector condition columns group n_bonafide n_spoof eer eer_low eer_high miss false_alarm threshold note"
        self.write("breakdown", header, rows)

    def curve_tables(self) -> None:
        det, histograms = [], []
        for (detector, condition), scores in self.scores.items():
            _, miss, false_alarm = rates(*self.classes(scores))
            thin = np.unique(np.linspace(0, len(miss) - 1, 120).astype(int))
            det += [[detector, condition, miss[at], false_alarm[at]] for at in thin]
            every = np.concatenate([self.scores[detector, name] for name in self.labels])
            edges = np.linspace(every.min(), every.max(), 41)
            for label, part in zip(("bonafide", "spoof"), self.classes(scores), strict=True):
                counts, _ = np.histogram(part, edges)
                histograms += [
                    [detector, condition, label, left, right, many]
                    for left, right, many in zip(edges[:-1], edges[1:], counts, strict=True)
                ]
        self.write("det", "detector condition miss false_alarm", det)
        self.write("histograms", "detector condition label left right count", histograms)

    def heard_table(self) -> None:
        rows = []
        for (detector, condition), scores in self.scores.items():
            if not condition.startswith("window"):
                continue
            for seconds in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0):
                noisy = scores + np.random.default_rng(9).normal(size=len(scores)) * 2.5 / (0.5 + seconds)
                value, listening = eer(*self.classes(noisy)), int(len(scores) * min(1, 3 / seconds))
                miss, false_alarm = at(float(np.median(scores)), *self.classes(noisy))
                rows.append([detector, condition, seconds, value, *self.spread(eer, noisy), miss, false_alarm, listening])
        self.write("heard", "detector condition seconds eer eer_low eer_high miss false_alarm n_listening", rows)

    def detectors_table(self) -> None:
        rows = []
        for index, detector in enumerate(self.plan.detectors):
            for other in self.plan.detectors[index + 1 :]:
                one, two = self.scores[detector, "clean"], self.scores[other, "clean"]
                low, high = self.paired(one, two)
                within = None if low is None else low <= 0 <= high
                delta = eer(*self.classes(one)) - eer(*self.classes(two))
                rows.append([detector, other, delta, low, high, within, len(self.trials)])
        self.write("detectors", "detector other delta_eer delta_eer_low delta_eer_high within_noise n", rows)

    def measured_table(self) -> None:
        rows = []
        for detector, condition in self.scores:
            quantities = [("delay_samples", "samples", 0.0, 0.0, 0.0), ("length_ratio", "", 1.0, 1.0, 1.0)]
            if condition.startswith("noise"):
                asked = float(condition.split("_")[1])
                quantities.append(("snr_db", "dB", asked, asked - 0.04, asked + 0.05))
            if condition.startswith(("mp3", "tele", "band")):
                quantities.append(("bandwidth_hz", "Hz", 3400.0 + len(condition), 3300.0, 3522.0))
            rows += [[detector, condition, name, unit, len(self.trials), *rest] for name, unit, *rest in quantities]
        self.write("measured", "detector condition quantity unit n median low high", rows)

    def failure_tables(self) -> None:
        failures = [
            [detector, "clean", f"T9{at:04d}", f"flac/T9{at:04d}.flac", "truncated: holds 12000 of 64000 samples"]
            for detector in self.plan.detectors
            for at in range(self.plan.failures)
        ]
        self.write("failures", "detector condition trial_id path reason", failures)
        rows = []
        for (detector, condition), scores in self.scores.items():
            if not self.plan.development:
                continue
            threshold = operating_thresholds(*self.classes(self.development[detector]))["eer"]
            margin = np.where(self.bonafide, threshold - scores, scores - threshold)
            for rank, at in enumerate(np.argsort(-margin)[: self.plan.clips], 1):
                trial = self.trials[at]
                clip = (
                    self.clip(f"{slug(detector)}-{slug(condition)}-{rank}", int(at))
                    if condition in ("clean", "telephony")
                    else ""
                )
                rows.append([detector, condition, rank, trial.trial_id, trial.label, trial.attack, trial.speaker])
                rows[-1] += [scores[at], threshold, margin[at], clip]
        self.write("worst", "detector condition rank trial_id label attack speaker score threshold margin clip", rows)

    def embeddings_table(self) -> None:
        """Write the table of vectors, which are not made: the page opens none of them."""
        if not self.plan.embedders:
            return
        layers = [*map(str, range(25)), "final"]
        settings = {
            "pool": "mean_std",
            "normalise": False,
            "layers": layers,
            "configuration_sha256": "2c26b46b" * 8,
            "heads": 16,
        }
        rows = []
        for embedder in self.plan.embedders:
            for at, condition in enumerate(self.labels):
                failed = self.plan.failures if condition == "clean" else 0
                rows.append([embedder, condition, self.labels[condition], len(self.trials), failed, " ".join(layers), 2048])
                rows[-1] += ["float16", "first 4.0375 s", json.dumps(settings)]
                rows[-1] += [f"embeddings/{slug(embedder)}/{slug(condition)}-{at:012x}"]
        self.write("embeddings", "embedder condition label trials n_failed layers dim dtype heard settings folder", rows)

    def clip(self, name: str, seed: int) -> str:
        import soundfile

        rng = np.random.default_rng(seed)
        time = np.arange(16_000) / 16_000
        pitch = 110 + 60 * rng.random() + 15 * np.sin(2 * np.pi * 3 * time)
        phase = 2 * np.pi * np.cumsum(pitch) / 16_000
        voice = sum(np.sin(k * phase) * np.exp(-(((k * 130 - 700) / 900) ** 2)) for k in range(1, 40))
        envelope = np.clip(np.sin(2 * np.pi * 4 * time + rng.random()), 0, 1) ** 0.5
        sound = 0.2 * envelope * voice / np.abs(voice).max() + 0.002 * rng.normal(size=len(time))
        (self.folder / "clips").mkdir(exist_ok=True)
        soundfile.write(self.folder / "clips" / f"{name}.flac", sound, 16_000)
        return f"clips/{name}.flac"

    def description(self) -> None:
        plan, many = self.plan, len(self.plan.detectors)
        run = {
            "title": plan.title,
            "corpus": {
                "name": "builtin",
                "title": "Built-in corpus",
                "licence": "CC0-1.0",
                "url": "",
                "citation": "",
                "synthetic": plan.synthetic,
                "note": "Both classes are made by this package.",
            },
            "trials": {
                "describe": f"Built-in corpus, eval, {len(self.trials):,} trials ({plan.n_bonafide} bona fide, {int((~self.bonafide).sum())} spoof)",
                "n": len(self.trials),
                "n_bonafide": int(self.bonafide.sum()),
                "n_spoof": int((~self.bonafide).sum()),
                "n_speakers": plan.speakers,
                "n_attacks": len(plan.attacks),
                "digest": "5f1d0c2b9a77",
            },
            "development": {"source": "the development protocol", "n_bonafide": plan.n_bonafide, "n_spoof": 286}
            if plan.development
            else None,
            "detectors": [
                {
                    "name": name,
                    "paper": "Jung et al., ICASSP 2022",
                    "licence": "MIT",
                    "output": "logit of bona fide",
                    "trained_on": ["ASVspoof 2019 LA train"],
                    "weights_sha256": f"{at:x}e3a5b7c" * 8 if at < many - 1 or many == 1 else "",
                    "published": {"eer, ASVspoof 2019 LA eval": 0.0083},
                    "note": "",
                    "flipped": at == many - 1,
                    "parameters": 297_866,
                }
                for at, name in enumerate(plan.detectors)
            ],
            "conditions": [
                {"name": row[0], "label": self.labels[row[0]], "family": row[2], "level": row[3], "unit": row[4]}
                | {"settings": [] if row[0] == "clean" else [{"name": row[2], "version": 1, "level": row[3]}]}
                for row in self.conditions
            ],
            "cost": COST,
            "level": LEVEL,
            "replicates": plan.replicates,
            "clusters": "speaker",
            "seed": 7,
            "min_count": 20,
            "versions": {"spoofscope": "0.1.0", "python": "3.11.2", "numpy": "2.4.0", "torch": "2.13.0"},
            "machine": {"processor": "an unnamed processor", "cores": 2},
            "seconds": {"score": 81.2, "evaluate": 4.1},
            "warnings": ["2 of 448 trials could not be read; every figure is over the others."] if plan.failures else [],
        }
        (self.folder / "run.json").write_text(json.dumps(run, indent=2))
        (self.folder / "recipe.toml").write_text('title = "demo"\ncorpus = "builtin"\ngrid = "reference"\n')


def actual_dcf(bonafide: Scores, spoof: Scores) -> float:
    threshold = float(np.log(COST["p_spoof"] * COST["c_fa"] / ((1 - COST["p_spoof"]) * COST["c_miss"])))
    return float(cost(*at(threshold, bonafide, spoof)))


def at(threshold: float, bonafide: Scores, spoof: Scores) -> tuple[float, float]:
    """Miss and false-alarm rate at a threshold; a score at the threshold is accepted."""
    return float(np.mean(bonafide < threshold)), float(np.mean(spoof >= threshold))


def make_run_folder(folder: Path, plan: Plan | None = None) -> Path:
    """Write a whole run folder, less the page, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    maker = Maker(folder, plan or Plan())
    maker.description()
    for table in (maker.conditions_table, maker.transfer_table, maker.breakdown_table, maker.curve_tables):
        table()
    for table in (maker.heard_table, maker.detectors_table, maker.measured_table, maker.failure_tables, maker.embeddings_table):
        table()
    return folder
