"""What can be typed: every verb with its arguments, the flags of a recipe being made from the recipe's own fields.

A verb is one entry of `VERBS`, with a function that adds its arguments; what it does is a function of `cli`, under the same name.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from spoofscope import __version__
from spoofscope.recipe import Recipe

KINDS = ("corpora", "degradations", "detectors", "embedders", "grids", "metrics")

Run = Callable[[argparse.Namespace], int]


class Verb(NamedTuple):
    """One verb: what it is for, and what adds its arguments; some take plug-ins beside a recipe's own."""

    text: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    takes_plugins: bool = False


def build_parser(runs: Mapping[str, Run]) -> argparse.ArgumentParser:
    """Return the parser of the command line; `runs` holds what each verb does."""
    parser = argparse.ArgumentParser(
        prog="spoofscope", description="Where does an audio deepfake detector break, and why?", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"spoofscope {__version__}")
    parser.set_defaults(verb=None, debug=False)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for name, verb in VERBS.items():
        description = f"{verb.text[0].upper()}{verb.text[1:]}."
        arguments = verbs.add_parser(name, help=verb.text, description=description, allow_abbrev=False)
        arguments.set_defaults(run=runs[name], verb=name)
        arguments.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if verb.takes_plugins:
            arguments.add_argument(
                "--plugin", action="append", default=[], metavar="FILE", help="Python file that registers more"
            )
        verb.add_arguments(arguments)
    return parser


def _recipe_flags(verb: argparse.ArgumentParser) -> None:
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


def _recipe(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("recipe", nargs="?", help="TOML file; flags override its keys")
    _recipe_flags(verb)


def _analyse(verb: argparse.ArgumentParser) -> None:
    _recipe(verb)
    tables = verb.add_argument_group("ready tables, instead of a recipe")
    tables.add_argument(
        "--gaps", metavar="CSV", help="a row for each attack: held (or family), gap, eer_with ...; needs --geometry"
    )
    tables.add_argument("--geometry", metavar="CSV", help="a row for each attack and a column for each predictor")


def _report(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("target", help="run folder, or the recipe that made it")


def _neighbours(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("clip", help="recording to ask about")
    verb.add_argument("--index", required=True, metavar="DIR", help="indexes/EMBEDDER of a run folder, written by 'retrieve'")
    verb.add_argument(
        "--neighbours", type=int, default=0, metavar="INT", help="how many are shown and vote; as in the run unless given"
    )
    verb.add_argument(
        "--without", action="append", default=[], metavar="COLUMN=VALUE", help="leave such trials out: speaker=p225, source=..."
    )
    verb.add_argument("--page", metavar="HTML", help="write a page with the recording and its neighbours, to listen to")


def _list(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("kind", nargs="?", choices=KINDS)


def _show(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("kind", choices=("detector", "embedder", "corpus", "degradation"))
    verb.add_argument("name")


def _check(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("kind", choices=("corpus", "detector", "degradation", "embedder"))
    verb.add_argument("name", help="expression, such as asvspoof2021_la, aasist.la19 or noise('pink', 10)")
    verb.add_argument(
        "--corpus", help="try the usual readings of a detector (polarity, padding, pre-emphasis ...) on this labelled corpus"
    )
    verb.add_argument("--root", help="folder that the corpus was unpacked into")
    verb.add_argument("--protocol", help="list of trials; the corpus's default unless given")
    verb.add_argument("--limit", type=int, default=0, help="read at most this many recordings; 0 for all")


def _fetch(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("kind", choices=("detector", "embedder"))
    verb.add_argument("name")
    verb.add_argument("--force", action="store_true", help="download again although the file is there")


def _convert(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("architecture", choices=("ssl_aasist",))
    verb.add_argument("checkpoint", help="the file as published, .pth or .safetensors")
    verb.add_argument("out", help="safetensors file to write")
    verb.add_argument("--heads", type=int, help="attention heads of the encoder, which its tensors do not tell (default: 16)")


def _import_embeddings(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("folder", help="folder with layer_<L>.npy, utt_ids.npy and meta.csv")
    verb.add_argument("--out", required=True, help="folder to write")
    verb.add_argument(
        "--vectors", choices=("float16", "float32"), default="float16", help="numbers stored (default: %(default)s)"
    )
    verb.add_argument("--corpus", help="corpus that the ids belong to, whose columns (speaker, codec ...) are taken over")
    verb.add_argument("--protocol", help="list of trials: eval, progress ...")
    verb.add_argument("--root", help="folder that the corpus was unpacked into")


def _metrics(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("scores", help="text of scores: 'id score', or 'id attack label score'; .gz too")
    verb.add_argument(
        "--corpus", help="corpus that the ids belong to, such as asvspoof2019_la; the file's own labels unless given"
    )
    verb.add_argument("--protocol", help="list of trials: eval, progress ...")
    verb.add_argument("--root", help="folder that the corpus was unpacked into")
    verb.add_argument("--asv-scores", help="ASV scores of the challenge, for min t-DCF")
    verb.add_argument("--tdcf", choices=("2019", "2021"), default="2019", help="constants of the t-DCF (default: %(default)s)")
    verb.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates (default: %(default)s)")
    verb.add_argument("--level", type=float, default=0.95, help="coverage of the intervals (default: %(default)s)")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--out", help="write the per-attack table to this CSV file")


def _build_corpus(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--bonafide", required=True, help="folder of recordings; a sub-folder is a speaker")
    verb.add_argument("--out", required=True, help="folder to write")
    verb.add_argument("--attacks", nargs="*", metavar="B01", help="attacks to make; all unless given")
    verb.add_argument("--speaker-pattern", metavar="REGEX", help="where a path names its speaker; a folder's name unless given")
    verb.add_argument("--limit", type=int, default=0, help="use at most this many recordings; 0 for all")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--workers", type=int, default=-1, help="processes; -1 for one per core")


def _train(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("detector", choices=("lfcc_gmm", "lfcc_cnn"))
    verb.add_argument("--corpus", default="builtin")
    verb.add_argument("--protocol", default="train")
    verb.add_argument("--root", help="folder that the corpus was unpacked into")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--out", required=True, help="safetensors file to write")


VERBS = {
    "demo": Verb("the whole audit on the built-in corpus; no download, no GPU", _recipe_flags),
    "run": Verb("score, embed, evaluate, analyse, retrieve and report, in order; continues what is there", _recipe),
    "score": Verb("score every detector under every condition", _recipe),
    "embed": Verb("embed every trial with every embedder under every condition", _recipe),
    "evaluate": Verb("turn the scores of a run into tables", _recipe),
    "analyse": Verb("hold generators out on stored embeddings, and ask why detection does not generalise", _analyse),
    "retrieve": Verb("ask the neighbours of every trial: bona fide or not, which generator, none that is known", _recipe),
    "report": Verb("write the page of an evaluated run", _report),
    "neighbours": Verb("what the nearest trials of a run say of one recording", _neighbours),
    "list": Verb("what can be named in a recipe", _list, takes_plugins=True),
    "show": Verb("the card of a detector, embedder or corpus, the settings of a degradation", _show, takes_plugins=True),
    "check": Verb("test a corpus, detector, embedder or degradation against what it promises", _check, takes_plugins=True),
    "fetch": Verb("download published weights, verified", _fetch),
    "convert": Verb("a published checkpoint into safetensors that load at once", _convert),
    "import-embeddings": Verb("published embedding caches into a store of vectors", _import_embeddings),
    "metrics": Verb("a ready score file against a protocol; nothing else needed", _metrics),
    "build-corpus": Verb("a labelled spoof corpus made from a folder of real speech", _build_corpus),
    "train": Verb("train a built-in detector on a corpus", _train),
}
