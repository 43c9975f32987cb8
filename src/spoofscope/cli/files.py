"""Files in, files out, without a recipe: weights, caches, score files, corpora."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spoofscope.cli.looking import trials_of
from spoofscope.terminal import print_table, status


def fetch(options: argparse.Namespace) -> int:
    """Download published weights, verified."""
    from spoofscope import inventory
    from spoofscope.fetch import fetch

    card = inventory.card_of(options.kind, options.name)
    print(fetch(card, force=options.force))
    for part in card.parts:
        print(fetch(part, force=options.force))
    return 0


def convert(options: argparse.Namespace) -> int:
    """Write a published checkpoint as safetensors."""
    from spoofscope import inventory
    from spoofscope.networks.ssl_aasist_checkpoint import convert

    converted = convert(Path(options.checkpoint), Path(options.out), heads=options.heads)
    print_table(f"{options.out}, from {options.checkpoint}", ("key", "value"), inventory.checkpoint_rows(converted))
    return 0


def import_embeddings(options: argparse.Namespace) -> int:
    """Read a published embedding cache into a store of vectors."""
    from spoofscope.caches import import_cache

    trials = trials_of(options) if options.corpus else None
    stored = import_cache(options.folder, options.out, trials=trials, dtype=options.vectors)
    print(
        f"{len(stored):,} trials, layers {', '.join(stored.layers)} of {stored.dim:,} numbers ({options.vectors}): {options.out}"
    )
    if stored.failures.height:
        row = stored.failures.row(0, named=True)
        print(
            f"warning: {stored.failures.height} trials have no vectors (first: {row['trial_id']}: {row['status']})",
            file=sys.stderr,
        )
    return 0


def metrics(options: argparse.Namespace) -> int:
    """Evaluate a ready score file."""
    import numpy as np
    import polars as pl

    from spoofscope import inventory
    from spoofscope.analysis.scorefile import evaluate_score_file, read_asv_scores, trials_in_file
    from spoofscope.storage import write_table

    trials = trials_of(options) if options.corpus else trials_in_file(options.scores)
    asv = read_asv_scores(options.asv_scores) if options.asv_scores else None
    with status("resampling"):
        result = evaluate_score_file(
            options.scores,
            trials,
            rng=np.random.default_rng(options.seed),
            asv=asv,
            replicates=options.replicates,
            level=options.level,
        )
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    interval = f"{100 * options.level:g} % interval ({result.clusters})"
    print_table(f"{options.scores}: {result.trials}", ("metric", "value", interval, "note"), inventory.score_file_rows(result))
    columns = ("attack", "bona fide", "spoof", "EER", f"{100 * options.level:g} % interval", "note")
    print_table("by attack", columns, inventory.attack_rows(result))
    if options.out:
        write_table(pl.DataFrame(inventory.attack_table(result), infer_schema_length=None), Path(options.out))
    return 0


def build_corpus(options: argparse.Namespace) -> int:
    """Make a labelled spoof corpus from real speech."""
    from spoofscope.corpora.builtin.own import FOLDER_NAME, build_corpus

    built = build_corpus(
        options.bonafide,
        options.out,
        seed=options.seed,
        workers=None if options.workers < 0 else max(1, options.workers),
        limit=options.limit or None,
        speaker_pattern=options.speaker_pattern or FOLDER_NAME,
        **({"attacks": options.attacks} if options.attacks else {}),
    )
    labels = built.frame["label"].to_list()
    print(f"{labels.count('bonafide')} bona fide and {labels.count('spoof')} spoof recordings: {built.table}")
    for refused in built.refused:
        print(f"left out: {refused.source}: {refused.reason}", file=sys.stderr)
    return 3 if built.refused else 0


def train(options: argparse.Namespace) -> int:
    """Train a built-in detector."""
    from spoofscope.training import train

    print(train(options.detector, trials_of(options), Path(options.out), seed=options.seed))
    return 0
