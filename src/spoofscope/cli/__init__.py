"""The command line: verbs over recipes. Progress goes to stderr, results to stdout.

Exit codes: 0; 2 what the user wrote; 3 the data; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from spoofscope.cli import files, looking, neighbours, stages
from spoofscope.errors import SpoofscopeError
from spoofscope.verbs import KINDS, Run, build_parser

__all__ = ["KINDS", "RUNS", "main"]


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


RUNS: dict[str, Run] = {
    "demo": stages.demo,
    "run": stages.run,
    "score": stages.score,
    "embed": stages.embed,
    "evaluate": stages.evaluate,
    "analyse": stages.analyse,
    "retrieve": stages.retrieve,
    "report": stages.report,
    "neighbours": neighbours.neighbours,
    "list": looking.list_kinds,
    "show": looking.show,
    "check": looking.check,
    "fetch": files.fetch,
    "convert": files.convert,
    "import-embeddings": files.import_embeddings,
    "metrics": files.metrics,
    "build-corpus": files.build_corpus,
    "train": files.train,
}
