"""The command line: verbs over recipes. Progress goes to stderr, results to stdout.

Exit codes: 0; 2 what the user wrote; 3 the data; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spoofscope.errors import SpoofscopeError, UserError
from spoofscope.recipe import Recipe, read_recipe, recipe_from, write_recipe
from spoofscope.terminal import print_table, progress, status
from spoofscope.verbs import KINDS, Run, build_parser

if TYPE_CHECKING:
    from spoofscope.audit import Audit
    from spoofscope.checks import Finding
    from spoofscope.trials import Trials

DEMO: dict[str, Any] = {
    "title": "spoofscope demo",
    "corpus": "builtin",
    "protocol": "eval",
    "development": "dev",
    "detectors": ["lfcc_cnn.builtin"],
    "grid": "quick",
    "breakdown": ["attack", "family"],
    "embedders": ["lfcc_cnn.builtin", "spectral"],
    "hold_out": ["attack", "family"],
    "train_corpus": "builtin",
    "train_protocol": "train",
    "out": "runs/demo",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.verb is None:
        parser.print_help()
        return 0
    try:
        return int(options.run(options) or 0)
    except SpoofscopeError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped; what was finished is kept, and the same command continues it", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    return build_parser(RUNS)


def _recipe(options: argparse.Namespace, base: dict[str, Any] | None = None) -> Recipe:
    names = {field.name for field in fields(Recipe)}
    flags = {name: value for name, value in vars(options).items() if name in names}
    file = getattr(options, "recipe", None)
    if file is not None:
        return read_recipe(file, flags)
    if not flags and base is None:
        raise UserError("name a recipe, or give its keys as flags ('spoofscope run --help'); 'spoofscope demo' needs neither")
    return recipe_from({**(base or {}), **flags}, where="command line")


def _stages(options: argparse.Namespace, stages: Sequence[str], recipe: Recipe | None = None) -> int:
    recipe = recipe or _recipe(options)
    if options.print_recipe:
        print(write_recipe(recipe), end="")
        return 0
    from spoofscope.analysis.evaluate import evaluate
    from spoofscope.audit import Audit

    audit = Audit(recipe)
    if "score" in stages:
        with progress() as on_progress:
            audit.score(on_progress)
    if "embed" in stages:
        with progress() as on_progress:
            audit.embed(on_progress)
        _print_embeddings(audit.folder)
    if "evaluate" in stages:
        with status("computing metrics and intervals"):
            warnings = evaluate(audit)
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        _print_summary(audit)
    if "analyse" in stages:
        from spoofscope.analysis.generalise import analyse

        with progress() as on_progress:
            findings, warnings = analyse(audit, on_progress)
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        for finding in findings:
            print(finding)
    if "report" in stages:
        _write_report(audit.folder)
    return 0


def _demo(options: argparse.Namespace) -> int:
    return _everything(options, _recipe(options, DEMO))


def _run(options: argparse.Namespace) -> int:
    return _everything(options, _recipe(options))


def _everything(options: argparse.Namespace, recipe: Recipe) -> int:
    wanted = {
        "score": recipe.detectors,
        "embed": recipe.embedders,
        "evaluate": recipe.detectors,
        "analyse": recipe.embedders and recipe.hold_out,
        "report": recipe.detectors,
    }
    return _stages(options, [stage for stage, is_asked in wanted.items() if is_asked], recipe)


def _embed(options: argparse.Namespace) -> int:
    recipe = _recipe(options)
    if not (options.print_recipe or recipe.embedders):
        raise UserError("embedders is empty; name at least one ('spoofscope list embedders')")
    return _stages(options, ("embed",), recipe)


def _score(options: argparse.Namespace) -> int:
    return _stages(options, ("score",))


def _evaluate(options: argparse.Namespace) -> int:
    return _stages(options, ("evaluate",))


def _analyse(options: argparse.Namespace) -> int:
    if not (options.gaps or options.geometry):
        return _stages(options, ("analyse",))
    if not (options.gaps and options.geometry):
        raise UserError("--gaps and --geometry are two tables of one experiment; give both")
    from spoofscope.analysis.association.associate import HEADER, association_rows, association_table
    from spoofscope.analysis.association.published import analyse_tables
    from spoofscope.storage import write_table

    given = {name: getattr(options, name) for name in ("permutations", "replicates", "level", "seed") if hasattr(options, name)}
    with status("permuting"):
        found, sentences = analyse_tables(options.gaps, options.geometry, primary=getattr(options, "predictor", None), **given)
    print_table(f"{options.geometry} against {options.gaps}", HEADER, association_rows(found))
    for sentence in sentences:
        print(sentence)
    if hasattr(options, "out"):
        write_table(association_table(found), Path(options.out) / "tables" / "association.csv")
    return 0


def _report(options: argparse.Namespace) -> int:
    from spoofscope.audit import require_run

    folder = Path(read_recipe(options.target).out if options.target.endswith(".toml") else options.target)
    require_run(folder)
    _write_report(folder)
    return 0


def _write_report(folder: Path) -> None:
    from spoofscope.report import write_report

    with status("writing the report"):
        page = write_report(folder)
    print(f"report: {page}")


def _print_summary(audit: Audit) -> None:
    import polars as pl

    from spoofscope import inventory

    table = pl.read_csv(audit.folder / "tables" / "conditions.csv")
    columns = ("detector", "condition", "trials", "EER %", "interval", "difference from clean")
    print_table(audit.data.trials.describe(), columns, inventory.condition_rows(table))


def _print_embeddings(folder: Path) -> None:
    import polars as pl

    from spoofscope import inventory

    columns = ("embedder", "condition", "trials", "failed", "layers", "dim", "heard", "folder")
    print_table("embeddings", columns, inventory.embedding_rows(pl.read_csv(folder / "tables" / "embeddings.csv")))


def _list(options: argparse.Namespace) -> int:
    from spoofscope import inventory

    _load_plugins(options)
    for kind in [options.kind] if options.kind else KINDS:
        print_table(kind, ("name", "what it is"), inventory.listing(kind))
    return 0


def _show(options: argparse.Namespace) -> int:
    from spoofscope import inventory

    _load_plugins(options)
    print_table(options.name, ("key", "value"), inventory.card(options.kind, options.name))
    return 0


def _check(options: argparse.Namespace) -> int:
    from spoofscope import inventory

    _load_plugins(options)
    if options.corpus:
        return _check_readings(options)
    root = Path(options.root) if options.root else None
    findings = inventory.check(options.kind, options.name, root=root, protocol=options.protocol, limit=options.limit)
    return _print_findings(f"{options.kind} {options.name}", findings)


def _check_readings(options: argparse.Namespace) -> int:
    from spoofscope import inventory
    from spoofscope.audit import open_detector
    from spoofscope.checks.detector import check_detector
    from spoofscope.checks.readings import check_readings

    if options.kind != "detector":
        raise UserError(f"--corpus tries the readings of a detector; a {options.kind} has none. Leave --corpus out.")
    if options.limit < 0:
        raise UserError(f"--limit is {options.limit}; it is a number of recordings, or 0 for all")
    detector, trials = open_detector(options.name), _trials(options)
    hears = not hasattr(detector, "lookup")
    code = _print_findings(f"detector {options.name}", check_detector(detector)) if hears else 0
    with progress() as on_progress:
        total = min(options.limit or len(trials), len(trials))
        done = functools.partial(on_progress, f"readings of {options.name}", total)
        found = check_readings(detector, trials, limit=options.limit, on_progress=done)
    columns = ("reading", "EER", f"{100 * found.level:g} % interval", f"difference ({100 * found.paired_level:.4g} % interval)")
    print_table(found.trials, (*columns, "trials changed", "what it is"), inventory.reading_rows(found))
    return max(code, _print_findings(f"readings, resampling {found.clusters}", found.findings))


def _print_findings(title: str, findings: Sequence[Finding]) -> int:
    """Print findings and return the exit code that they deserve."""
    rows = [("ok" if finding.ok else "FAILED", finding.name, finding.detail) for finding in findings]
    print_table(title, ("", "what", "found"), rows)
    return 0 if all(finding.ok for finding in findings) else 3


def _trials(options: argparse.Namespace) -> Trials:
    """Read the list of trials that `--corpus`, `--protocol` and `--root` name."""
    from spoofscope.audit import default_protocol, open_corpus

    corpus, settings = open_corpus(options.corpus)
    root = Path(options.root) if options.root else None
    return corpus.trials(options.protocol or default_protocol(corpus.card), root=root, **settings)


def _load_plugins(options: argparse.Namespace) -> None:
    from spoofscope.registry import load_plugin

    for plugin in options.plugin:
        load_plugin(plugin)


def _fetch(options: argparse.Namespace) -> int:
    from spoofscope import inventory
    from spoofscope.fetch import fetch

    card = inventory.card_of(options.kind, options.name)
    print(fetch(card, force=options.force))
    for part in card.parts:
        print(fetch(part, force=options.force))
    return 0


def _convert(options: argparse.Namespace) -> int:
    from spoofscope import inventory
    from spoofscope.networks.ssl_aasist_checkpoint import convert

    converted = convert(Path(options.checkpoint), Path(options.out), heads=options.heads)
    print_table(f"{options.out}, from {options.checkpoint}", ("key", "value"), inventory.checkpoint_rows(converted))
    return 0


def _import_embeddings(options: argparse.Namespace) -> int:
    from spoofscope.caches import import_cache

    trials = _trials(options) if options.corpus else None
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


def _metrics(options: argparse.Namespace) -> int:
    import numpy as np
    import polars as pl

    from spoofscope import inventory
    from spoofscope.analysis.scorefile import evaluate_score_file, read_asv_scores, trials_in_file
    from spoofscope.storage import write_table

    trials = _trials(options) if options.corpus else trials_in_file(options.scores)
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


def _build_corpus(options: argparse.Namespace) -> int:
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


def _train(options: argparse.Namespace) -> int:
    from spoofscope.training import train

    print(train(options.detector, _trials(options), Path(options.out), seed=options.seed))
    return 0


RUNS: dict[str, Run] = {
    "demo": _demo,
    "run": _run,
    "score": _score,
    "embed": _embed,
    "evaluate": _evaluate,
    "analyse": _analyse,
    "report": _report,
    "list": _list,
    "show": _show,
    "check": _check,
    "fetch": _fetch,
    "convert": _convert,
    "import-embeddings": _import_embeddings,
    "metrics": _metrics,
    "build-corpus": _build_corpus,
    "train": _train,
}

if __name__ == "__main__":
    sys.exit(main())
