"""The recordings that fail worst, kept as the detector heard them so that a person can listen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from spoofscope.audio import Audio, read_audio
from spoofscope.audit import Audit
from spoofscope.degradations.conditions import Condition
from spoofscope.storage import slug, writing
from spoofscope.trials import BONAFIDE

LONGEST_S = 8.0


def worst_rows(
    audit: Audit, detector: str, condition: Condition, frame: pl.DataFrame, *, threshold: float, limit: int
) -> Iterator[dict[str, Any]]:
    """Give the trials furthest on the wrong side of a threshold, both classes in turn, and write their sound.

    `margin` is the distance from the threshold, positive where the decision is wrong; a trial that is decided rightly is
    not listed. At most `LONGEST_S` seconds are kept of each, and nothing of the attacks in `recipe.clips_without`.
    """
    side = pl.when(pl.col("label") == BONAFIDE).then(threshold - pl.col("score")).otherwise(pl.col("score") - threshold)
    wrong = frame.with_columns(side.cast(pl.Float64).alias("margin")).filter(pl.col("margin") > 0)
    wrong = wrong.sort("margin", "trial_id", descending=[True, False])
    ranked = wrong.with_columns(pl.col("margin").cum_count().over("label").alias("_turn")).sort(
        "_turn", "label", maintain_order=True
    )
    paths = dict(zip(audit.data.trials.ids, audit.data.trials.paths, strict=True))
    for rank, row in enumerate(ranked.head(limit).iter_rows(named=True), 1):
        clip = ""
        if row["attack"] not in audit.recipe.clips_without and paths[row["trial_id"]].is_file():
            clip = _write_clip(audit, detector, condition, row["trial_id"], paths[row["trial_id"]])
        kept = {key: row[key] for key in ("trial_id", "label", "attack", "speaker", "score")}
        yield {"rank": rank} | kept | {"threshold": threshold, "margin": row["margin"], "clip": clip}


def _write_clip(audit: Audit, detector: str, condition: Condition, trial_id: str, path: Path) -> str:
    rate = audit.detectors[detector].card.sample_rate
    clean = read_audio(path, sample_rate=rate, max_duration_s=audit.recipe.max_duration_s)
    heard = condition.degrade(clean, rate, condition.rng(audit.recipe.seed, trial_id))[: round(LONGEST_S * rate)]
    digest = hashlib.sha256(f"{condition.name}|{trial_id}".encode()).hexdigest()[:8]
    name = f"clips/{slug(condition.name)}-{slug(trial_id)[-40:]}-{digest}.flac"
    _write_flac(heard, rate, audit.folder / name)
    return name


def _write_flac(audio: Audio, sample_rate: int, path: Path) -> None:
    import soundfile

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            soundfile.write(str(path), np.clip(audio, -1, 1), sample_rate, subtype="PCM_16")
        except soundfile.SoundFileError as error:
            raise OSError(str(error)) from error
