"""A small run that asks every question: planted recordings, embedded, scored, evaluated, analysed and reported."""

from pathlib import Path

import polars as pl

from spoofscope.cli import main
from tests.planted import planted_trials

CUES = {
    "A1": {(4000, 6000): 9},
    "A2": {(4000, 6000): 6},
    "B1": {(1000, 2000): 9},
    "B2": {(1000, 2000): 3},
    "C1": {(500, 800): 6},
    "C2": {(6000, 7000): 6},
}
PLAN = """
hypothesis = "Detectors lean on the band where the attacks of training differ most."
detectors = ["lfcc_gmm"]
held_by = "family"
held = [["A"], ["B"]]
width_hz = 1500
seeds = [0, 1]
steps = 10
replicates = 40
"""
RECIPE = """
title = "planted"
corpus = "table(path='{folder}/test.csv', title='planted, test')"
root = "{folder}/test"
train_corpus = "table(path='{folder}/train.csv', title='planted, train')"
train_root = "{folder}/train"
detectors = ["lfcc_gmm.builtin"]
embedders = ["spectral", "spectral_copy", "lfcc_cnn.builtin"]
plugins = ["{copy}"]
conditions = ["trim_silence", "noise('white', 10)"]
hold_out = ["attack", "family"]
nuisances = ["codec"]
folds = 3
min_count = 4
permutations = 500
replicates = 60
reference = true
plan = "{folder}/plan.toml"
workers = 0
clips = 0
out = "{folder}/run"
"""
COPY = Path(__file__).parent / "spectral_copy.py"


def write_analysed(folder: Path) -> Path:
    """Write both corpora, the plan and the recipe; return the recipe."""
    for side in ("train", "test"):
        trials = planted_trials(folder / side, side, CUES, speakers=6, seconds=0.4)
        codec = pl.Series("codec", [("mp3", "none")[at % 2] for at in range(len(trials))])
        trials.frame.with_columns(codec).write_csv(folder / f"{side}.csv")
    (folder / "plan.toml").write_text(PLAN)
    text = RECIPE.format(folder=folder, copy=COPY)
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def analysed_run(folder: Path) -> Path:
    """Run it all; return the run folder."""
    assert main(["run", str(write_analysed(folder))]) == 0
    return folder / "run"
