"""The command line: verbs over recipes. Progress goes to stderr, results to stdout.

Exit codes: 0; 2 what the user wrote; 3 the data; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spoofscope import __version__
from spoofscope.errors import SpoofscopeError, UserError
from spoofscope.recipe import Recipe, read_recipe, recipe_from, write_recipe

if TYPE_CHECKING:
    from spoofscope.audit import Audit, OnProgress

KINDS = ("corpora", "degradations", "detectors", "grids", "metrics")

DEMO: dict[str, Any] = {
    "title": "spoofscope demo",
    "corpus": "builtin",
    "protocol": "eval",
    "development": "dev",
    "detectors": ["lfcc_cnn.builtin"],
    "grid": "quick",
    "breakdown": ["attack", "family"],
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
    parser = argparse.ArgumentParser(
        prog="spoofscope", description="Where does an audio deepfake detector break, and why?", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"spoofscope {__version__}")
    parser.set_defaults(verb=None, debug=False)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    demo = _verb(verbs, "demo", _demo, "the whole audit on the built-in corpus; no download, no GPU")
    _add_recipe_flags(demo)
    for name, run, text in (
        ("run", _run, "score, evaluate and report, in order; continues what is there"),
        ("score", _score, "score every detector under every condition"),
        ("evaluate", _evaluate, "turn the scores of a run into tables"),
    ):
        verb = _verb(verbs, name, run, text)
        verb.add_argument("recipe", nargs="?", help="TOML file; flags override its keys")
        _add_recipe_flags(verb)
    report = _verb(verbs, "report", _report, "write the page of an evaluated run")
    report.add_argument("target", help="run folder, or the recipe that made it")

    listing = _verb(verbs, "list", _list, "what can be named in a recipe")
    listing.add_argument("kind", nargs="?", choices=KINDS)
    show = _verb(verbs, "show", _show, "the card of a detector or corpus, the settings of a degradation")
    show.add_argument("kind", choices=("detector", "corpus", "degradation"))
    show.add_argument("name")
    check = _verb(verbs, "check", _check, "test a corpus, detector or degradation against what it promises")
    check.add_argument("kind", choices=("corpus", "detector", "degradation"))
    check.add_argument("name", help="expression, such as asvspoof2021_la, aasist.la19 or noise('pink', 10)")
    check.add_argument("--root", help="folder that the corpus was unpacked into")
    check.add_argument("--protocol", help="list of trials; the corpus's default unless given")
    check.add_argument("--limit", type=int, default=0, help="read at most this many recordings; 0 for all")
    fetch = _verb(verbs, "fetch", _fetch, "download published weights, verified")
    fetch.add_argument("kind", choices=("detector",))
    fetch.add_argument("name")
    fetch.add_argument("--force", action="store_true", help="download again although the file is there")

    metrics = _verb(verbs, "metrics", _metrics, "a ready score file against a protocol; nothing else needed")
    metrics.add_argument("scores", help="text of scores: 'id score', or 'id attack label score'; .gz too")
    metrics.add_argument(
        "--corpus", help="corpus that the ids belong to, such as asvspoof2019_la; the file's own labels unless given"
    )
    metrics.add_argument("--protocol", help="list of trials: eval, progress ...")
    metrics.add_argument("--root", help="folder that the corpus was unpacked into")
    metrics.add_argument("--asv-scores", help="ASV scores of the challenge, for min t-DCF")
    metrics.add_argument(
        "--tdcf", choices=("2019", "2021"), default="2019", help="constants of the t-DCF (default: %(default)s)"
    )
    metrics.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates (default: %(default)s)")
    metrics.add_argument("--level", type=float, default=0.95, help="coverage of the intervals (default: %(default)s)")
    metrics.add_argument("--seed", type=int, default=0)
    metrics.add_argument("--out", help="write the per-attack table to this CSV file")
    build = _verb(verbs, "build-corpus", _build_corpus, "a labelled spoof corpus made from a folder of real speech")
    build.add_argument("--bonafide", required=True, help="folder of recordings; a sub-folder is a speaker")
    build.add_argument("--out", required=True, help="folder to write")
    build.add_argument("--attacks", nargs="*", metavar="B01", help="attacks to make; all unless given")
    build.add_argument(
        "--speaker-pattern", metavar="REGEX", help="where a path names its speaker; a folder's name unless given"
    )
    build.add_argument("--limit", type=int, default=0, help="use at most this many recordings; 0 for all")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--workers", type=int, default=-1, help="processes; -1 for one per core")
    train = _verb(verbs, "train", _train, "train a built-in detector on a corpus")
    train.add_argument("detector", choices=("lfcc_gmm", "lfcc_cnn"))
    train.add_argument("--corpus", default="builtin")
    train.add_argument("--protocol", default="train")
    train.add_argument("--root", help="folder that the corpus was unpacked into")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--out", required=True, help="safetensors file to write")
    return parser


def _verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False
    )
    verb.set_defaults(run=run, verb=name)
    verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
    if name in ("list", "show", "check"):
        verb.add_argument("--plugin", action="append", default=[], metavar="FILE", help="Python file that registers more")
    return verb


def _add_recipe_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--print-recipe", action="store_true", help="print the recipe that repeats this command, and stop")
    types = typing.get_type_hints(Recipe)
    group = verb.add_argument_group("recipe keys")
    for field in fields(Recipe):
        kind, default = types[field.name], field.default
        shown = " ".join(default) if isinstance(default, tuple) else default
        settings: dict[str, Any] = {
            "default": argparse.SUPPRESS,
            "help": f"{field.metadata['help']} (default: {shown or 'none'})",
        }
        if kind is bool:
            settings |= {"action": argparse.BooleanOptionalAction}
        elif typing.get_origin(kind) is tuple:
            settings |= {"nargs": "*", "metavar": "X"}
        else:
            settings |= {"type": kind, "metavar": kind.__name__.upper()}
        group.add_argument(f"--{field.name.replace('_', '-')}", **settings)


def _recipe(options: argparse.Namespace, base: dict[str, Any] | None = None) -> Recipe:
    names = {field.name for field in fields(Recipe)}
    flags = {name: value for name, value in vars(options).items() if name in names}
    file = getattr(options, "recipe", None)
    if file is not None:
        return read_recipe(file, flags)
    if not flags and base is None:
        raise UserError("name a recipe, or give its keys as flags ('spoofscope run --help'); 'spoofscope demo' needs neither")
    return recipe_from({**(base or {}), **flags}, where="command line")


def _stages(options: argparse.Namespace, stages: Sequence[str], base: dict[str, Any] | None = None) -> int:
    recipe = _recipe(options, base)
    if options.print_recipe:
        print(write_recipe(recipe), end="")
        return 0
    from spoofscope.analysis.evaluate import evaluate
    from spoofscope.audit import Audit

    audit = Audit(recipe)
    if "score" in stages:
        with _progress() as on_progress:
            audit.score(on_progress)
    if "evaluate" in stages:
        with _status("computing metrics and intervals"):
            warnings = evaluate(audit)
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        _print_summary(audit)
    if "report" in stages:
        _write_report(audit.folder)
    return 0


def _demo(options: argparse.Namespace) -> int:
    return _stages(options, ("score", "evaluate", "report"), DEMO)


def _run(options: argparse.Namespace) -> int:
    return _stages(options, ("score", "evaluate", "report"))


def _score(options: argparse.Namespace) -> int:
    return _stages(options, ("score",))


def _evaluate(options: argparse.Namespace) -> int:
    return _stages(options, ("evaluate",))


def _report(options: argparse.Namespace) -> int:
    from spoofscope.audit import require_run

    folder = Path(read_recipe(options.target).out if options.target.endswith(".toml") else options.target)
    require_run(folder)
    _write_report(folder)
    return 0


def _write_report(folder: Path) -> None:
    from spoofscope.report import write_report

    with _status("writing the report"):
        page = write_report(folder)
    print(f"report: {page}")


def _print_summary(audit: Audit) -> None:
    import polars as pl

    table = pl.read_csv(audit.folder / "tables" / "conditions.csv")
    columns = ["detector", "condition", "trials", "EER %", "interval", "difference from clean"]
    rows = []
    for row in table.iter_rows(named=True):
        delta = (
            ""
            if row["delta_eer"] is None
            else f"{100 * row['delta_eer']:+.1f}" + (" (within noise)" if row["within_noise"] else "")
        )
        interval = "" if row["eer_low"] is None else f"{100 * row['eer_low']:.1f} to {100 * row['eer_high']:.1f}"
        error = "" if row["eer"] is None else f"{100 * row['eer']:.1f}"
        rows.append([row["detector"], row["label"], str(row["n_bonafide"] + row["n_spoof"]), error, interval, delta])
    _print_table(audit.data.trials.describe(), columns, rows)


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@contextmanager
def _progress() -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}

        def on_progress(name: str, total: int, done: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.advance(tasks[name], done)

        yield on_progress


@contextmanager
def _status(text: str) -> Iterator[None]:
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield


def _list(options: argparse.Namespace) -> int:
    from spoofscope import inventory

    _load_plugins(options)
    for kind in [options.kind] if options.kind else KINDS:
        _print_table(kind, ("name", "what it is"), inventory.listing(kind))
    return 0


def _show(options: argparse.Namespace) -> int:
    from spoofscope import inventory

    _load_plugins(options)
    _print_table(options.name, ("key", "value"), inventory.card(options.kind, options.name))
    return 0


def _check(options: argparse.Namespace) -> int:
    from spoofscope import inventory

    _load_plugins(options)
    root = Path(options.root) if options.root else None
    findings = inventory.check(options.kind, options.name, root=root, protocol=options.protocol, limit=options.limit)
    rows = [("ok" if finding.ok else "FAILED", finding.name, finding.detail) for finding in findings]
    _print_table(f"{options.kind} {options.name}", ("", "what", "found"), rows)
    return 0 if all(finding.ok for finding in findings) else 3


def _load_plugins(options: argparse.Namespace) -> None:
    from spoofscope.registry import load_plugin

    for plugin in options.plugin:
        load_plugin(plugin)


def _fetch(options: argparse.Namespace) -> int:
    from spoofscope.detectors import card_of
    from spoofscope.fetch import fetch

    print(fetch(card_of(options.name), force=options.force))
    return 0


def _metrics(options: argparse.Namespace) -> int:
    import numpy as np
    import polars as pl

    from spoofscope import inventory
    from spoofscope.analysis.scorefile import evaluate_score_file, read_asv_scores, trials_in_file
    from spoofscope.audit import default_protocol, open_corpus
    from spoofscope.run import write_table

    if options.corpus:
        corpus, settings = open_corpus(options.corpus)
        root = Path(options.root) if options.root else None
        trials = corpus.trials(options.protocol or default_protocol(corpus.card), root=root, **settings)
    else:
        trials = trials_in_file(options.scores)
    asv = read_asv_scores(options.asv_scores) if options.asv_scores else None
    with _status("resampling"):
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
    _print_table(f"{options.scores}: {result.trials}", ("metric", "value", interval, "note"), inventory.score_file_rows(result))
    columns = ("attack", "bona fide", "spoof", "EER", f"{100 * options.level:g} % interval", "note")
    _print_table("by attack", columns, inventory.attack_rows(result))
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
    from spoofscope.audit import open_corpus
    from spoofscope.training import train

    corpus, settings = open_corpus(options.corpus)
    trials = corpus.trials(options.protocol, root=Path(options.root) if options.root else None, **settings)
    print(train(options.detector, trials, Path(options.out), seed=options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
