"""Find the weights of a model on this machine, or download and verify them."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Protocol

from spoofscope.errors import WeightsError

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60.0


class Source(Protocol):
    """The part of a card that says where weights come from."""

    @property
    def name(self) -> str:
        """Name of the model."""

    @property
    def weights_url(self) -> str:
        """Where the file is published."""

    @property
    def weights_sha256(self) -> str:
        """Its SHA-256, in lower-case hexadecimal."""

    @property
    def weights_file(self) -> str:
        """The file's name on this machine."""


def cache_folder() -> Path:
    """Return the folder that `fetch` fills: `$XDG_CACHE_HOME/spoofscope/weights`, or the same under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spoofscope" / "weights"


def weights_path(card: Source, *, weights: str | Path | None = None) -> Path:
    """Return where the weights of a model lie.

    Looked for in turn: the file that `weights` names, the folder in the environment variable `SPOOFSCOPE_WEIGHTS`, and
    the user's cache. The content is not read: see `verify`.

    Raises
    ------
    WeightsError
        If there is no such file; the message says how to get it.
    """
    if weights is not None:
        if not Path(weights).is_file():
            raise WeightsError(f"{card.name}: no weights at {weights}. Give the path of a file, or leave 'weights' out.")
        return Path(weights)
    folders = [cache_folder()]
    if os.environ.get("SPOOFSCOPE_WEIGHTS"):
        folders.insert(0, Path(os.environ["SPOOFSCOPE_WEIGHTS"]))
    for folder in folders:
        if (folder / card.weights_file).is_file():
            return folder / card.weights_file
    raise WeightsError(
        f"{card.name}: no file {card.weights_file} in {' or '.join(str(folder) for folder in folders)}. "
        f"Run 'spoofscope fetch detector {card.name}', or set SPOOFSCOPE_WEIGHTS to the folder that holds it."
    )


def verify(path: Path, card: Source) -> None:
    """Raise unless a file is, byte for byte, the one that the card names.

    Raises
    ------
    WeightsError
        Giving both digests.
    """
    found = sha256_of(path)
    if found != card.weights_sha256:
        raise WeightsError(
            f"{path} is not the file published for {card.name}: its SHA-256 is {found}, expected {card.weights_sha256}. "
            f"Run 'spoofscope fetch detector {card.name} --force', or give the right file."
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(card: Source, *, force: bool = False) -> Path:
    """Download the weights of a model into the user's cache, unless they are there; progress goes to stderr.

    The file is written beside its place, verified, and moved in: it is whole and right, or absent.

    Parameters
    ----------
    card : Source
        The card of a detector or embedder.
    force : bool
        Download even if the file is there.

    Returns
    -------
    Path
        Where the verified file lies.

    Raises
    ------
    WeightsError
        If the model has nothing to download, the address does not answer, the digest is wrong, or the disk is full.
    """
    if not card.weights_url:
        raise WeightsError(f"{card.name} has no weights to fetch: its card names no address.")
    place = cache_folder() / card.weights_file
    if place.is_file() and not force:
        verify(place, card)
        return place
    part = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=f"{place.name}.", suffix=".part", delete=False) as file:
            part = Path(file.name)
            _download(card, file)
        if (found := sha256_of(part)) != card.weights_sha256:
            raise WeightsError(
                f"{card.name}: what {card.weights_url} gave is not the published file: its SHA-256 is {found}, expected "
                f"{card.weights_sha256}. Nothing was kept. Get {card.weights_file} another way and put it into {cache_folder()}."
            )
        part.replace(place)
    except OSError as error:
        raise WeightsError(f"{card.name}: cannot write {place} ({error.strerror or error}). Free some space there.") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return place


def _download(card: Source, file: IO[bytes]) -> None:
    try:
        answer = urllib.request.urlopen(card.weights_url, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        raise WeightsError(f"{card.name}: {card.weights_url} answered {error.code} ({error.reason}).") from error
    except OSError as error:
        raise WeightsError(
            f"{card.name}: cannot reach {card.weights_url} ({getattr(error, 'reason', error)}). Without network, copy "
            f"{card.weights_file} from a machine that has it into {cache_folder()}, or into the folder SPOOFSCOPE_WEIGHTS."
        ) from error
    with answer:
        length = answer.headers.get("Content-Length")
        print(f"{card.name}: {card.weights_file}, {_megabytes(length)} from {card.weights_url}", file=sys.stderr)
        received = 0
        while chunk := _read(answer, card):
            file.write(chunk)
            received += len(chunk)
    if length is not None and received != int(length):
        raise WeightsError(f"{card.name}: the connection broke after {received} of {length} bytes. Run the command again.")


def _read(answer: IO[bytes], card: Source) -> bytes:
    try:
        return answer.read(CHUNK_BYTES)
    except OSError as error:
        raise WeightsError(f"{card.name}: the connection to {card.weights_url} broke ({error}). Run it again.") from error


def _megabytes(length: str | None) -> str:
    return "size unknown" if length is None else f"{int(length) / 1e6:.1f} MB"
