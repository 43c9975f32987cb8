"""Read the challenge's lists of trials: fields by column, every value checked, every error with its line."""

from __future__ import annotations

import difflib
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from spoofscope.corpora import Card
from spoofscope.errors import CorpusError, UnknownName
from spoofscope.trials import BONAFIDE, NO_ATTACK, SPOOF

LINE = "_line"

# What a list is, by the number of its columns: a list of another year fails with this sentence.
LOOKS_LIKE = {
    1: "a list of ids without labels; the labels are in the key, which is a download of its own",
    2: "a score file or a list without attacks; give the challenge's own protocol or key",
    5: "a list in the ASVspoof 2019 layout; read it with corpus = 'asvspoof2019_la'",
    8: "a key in the ASVspoof 2021 LA layout; read it with corpus = 'asvspoof2021_la'",
    10: "a list in the ASVspoof 5 layout; make a table of it and read that with corpus = 'table'",
    13: "a key in the ASVspoof 2021 DF layout; make a table of it and read that with corpus = 'table'",
}


def read_fields(path: Path, fields: Sequence[str], *, list_name: str) -> pl.DataFrame:
    """Split every line of a list at white space into named columns of text, keeping its number as `_line`.

    Raises
    ------
    CorpusError
        If the file cannot be read, is empty, or has a line with another number of fields; if that is so from the first
        line on, the message says which layout it looks like.
    """
    rows = pl.DataFrame({"text": pl.Series(_read_lines(path), dtype=pl.String)}).with_row_index(LINE, offset=1)
    rows = rows.with_columns(pl.col("text").str.extract_all(r"\S+").alias("parts")).filter(pl.col("parts").list.len() > 0)
    if rows.height == 0:
        raise CorpusError(f"{path} is empty; it should be {list_name}")
    width = len(rows["parts"][0])
    if width != len(fields):
        looks = LOOKS_LIKE.get(width, "no list of the challenge that spoofscope knows")
        raise CorpusError(
            f"{path}:{rows[LINE][0]} has {width} columns; {list_name} has {len(fields)} ({' '.join(fields)}). "
            f"It looks like {looks}."
        )
    ragged = rows.filter(pl.col("parts").list.len() != width)
    if ragged.height:
        raise CorpusError(
            f"{path}:{ragged[LINE][0]} has {len(ragged['parts'][0])} columns where the first line has {width}: '{ragged['text'][0]}'"
        )
    return rows.select(LINE, *(pl.col("parts").list.get(at).alias(field) for at, field in enumerate(fields)))


def check_field(rows: pl.DataFrame, path: Path, field: str, is_good: pl.Expr, expected: str) -> None:
    """Raise `CorpusError` naming file, line, field and value unless `is_good` holds for every row."""
    bad = rows.filter(~is_good)
    if bad.height:
        raise CorpusError(f"{path}:{bad[LINE][0]}: {field} is '{bad[field][0]}'; expected {expected} ({bad.height} such lines)")


def check_labels(rows: pl.DataFrame, path: Path, *, bonafide_attacks: Sequence[str]) -> pl.DataFrame:
    """Check label and attack of every row against each other, and write `-` as the attack of bona fide rows."""
    check_field(rows, path, "label", pl.col("label").is_in([BONAFIDE, SPOOF]), f"{BONAFIDE} or {SPOOF}")
    bonafide = pl.col("label") == BONAFIDE
    marked = pl.col("attack").is_in(list(bonafide_attacks))
    check_field(rows, path, "attack", ~bonafide | marked, f"{' or '.join(bonafide_attacks)} on a bona fide line")
    check_field(rows, path, "attack", bonafide | pl.col("attack").str.contains(r"^A\d\d$"), "A and two digits on a spoof line")
    return rows.with_columns(attack=pl.when(bonafide).then(pl.lit(NO_ATTACK)).otherwise("attack"))


def check_protocol(card: Card, protocol: str) -> None:
    """Raise `UnknownName`, with the nearest name and the list, unless the corpus has this protocol."""
    if protocol in card.protocols:
        return
    near = difflib.get_close_matches(protocol, card.protocols, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UnknownName(f"{card.title} has no protocol '{protocol}'.{hint} It has {', '.join(card.protocols)}.")


def find_list(root: Path | None, given: str | Path | None, candidates: Sequence[str], *, what: str, option: str) -> Path:
    """Return the list that was given, or the first candidate below `root` that exists.

    Raises
    ------
    CorpusError
        If there is none; the message says where it was looked for, and which option names one kept elsewhere.
    """
    if given is not None:
        if not Path(given).is_file():
            raise CorpusError(f"{option}: no such file: {given}")
        return Path(given)
    if root is None:
        raise CorpusError(f"{what}: give root=, the folder that the corpus was unpacked into, or {option}=, the list itself")
    for candidate in candidates:
        if (root / candidate).is_file():
            return root / candidate
    raise CorpusError(f"{what}: not under {root} (looked for {', '.join(candidates)}). Give {option}= if it is kept elsewhere.")


def find_folder(root: Path, candidates: Sequence[str]) -> str:
    """Return the first candidate that is a folder below `root`; the first of all where none is.

    A list can be read, and ready scores evaluated on it, without any audio: absent audio is found when it is read.
    """
    return next((candidate for candidate in candidates if (root / candidate).is_dir()), candidates[0])


def _read_lines(path: Path) -> list[str]:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not a text file ({error.reason} at byte {error.start})") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CorpusError(f"{path} is a damaged gzip file ({error})") from error
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror}") from error
