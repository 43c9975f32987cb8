"""What there is, what it says of itself, and whether it keeps it: list, show, check."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spoofscope.errors import UserError
from spoofscope.terminal import print_table, progress
from spoofscope.verbs import KINDS

if TYPE_CHECKING:
    from spoofscope.checks import Finding
    from spoofscope.trials import Trials


def list_kinds(options: argparse.Namespace) -> int:
    """Print what can be named in a recipe."""
    from spoofscope import inventory

    _load_plugins(options)
    for kind in [options.kind] if options.kind else KINDS:
        print_table(kind, ("name", "what it is"), inventory.listing(kind))
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a card."""
    from spoofscope import inventory

    _load_plugins(options)
    print_table(options.name, ("key", "value"), inventory.card(options.kind, options.name))
    return 0


def check(options: argparse.Namespace) -> int:
    """Test a thing against what it promises."""
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
    detector, trials = open_detector(options.name), trials_of(options)
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


def trials_of(options: argparse.Namespace) -> Trials:
    """Read the list of trials that `--corpus`, `--protocol` and `--root` name."""
    from spoofscope.audit import default_protocol, open_corpus

    corpus, settings = open_corpus(options.corpus)
    root = Path(options.root) if options.root else None
    return corpus.trials(options.protocol or default_protocol(corpus.card), root=root, **settings)


def _load_plugins(options: argparse.Namespace) -> None:
    from spoofscope.registry import load_plugin

    for plugin in options.plugin:
        load_plugin(plugin)
