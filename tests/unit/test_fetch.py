"""Finding, downloading and verifying weights, against a server on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from spoofscope import fetch as fetching
from spoofscope.errors import WeightsError
from spoofscope.fetch import cache_folder, fetch, verify, weights_path

CONTENT = bytes(range(256)) * 5000  # 1.28 MB: more than one chunk
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Published(BaseHTTPRequestHandler):
    """Serve `CONTENT` whole, cut short, or not at all."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path == "/missing.pth":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 700_000 if self.path == "/cut.pth" else None])

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), Published) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPOOFSCOPE_WEIGHTS", raising=False)
    return tmp_path / "cache" / "spoofscope" / "weights"


def card(url: str = "", *, digest: str = DIGEST) -> SimpleNamespace:
    return SimpleNamespace(name="some.model", weights_url=url, weights_sha256=digest, weights_file="some.pth")


def address(server: HTTPServer, file: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{file}"


def test_fetched_weights_are_whole_verified_and_found_afterwards(
    server: HTTPServer, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = card(address(server, "whole.pth"))
    assert fetch(model) == cache / "some.pth" == weights_path(model)
    assert (cache / "some.pth").read_bytes() == CONTENT
    assert [file.name for file in cache.iterdir()] == ["some.pth"]
    assert "some.pth, 1.3 MB from http" in capsys.readouterr().err


def test_weights_that_are_there_are_not_fetched_again_unless_forced(server: HTTPServer) -> None:
    model = card(address(server, "whole.pth"))
    fetch(model)
    fetch(model)
    assert len(server.requests) == 1
    fetch(model, force=True)
    assert len(server.requests) == 2


def test_a_damaged_file_in_the_cache_is_not_taken_for_fetched(server: HTTPServer, cache: Path) -> None:
    model = card(address(server, "whole.pth"))
    cache.mkdir(parents=True)
    (cache / "some.pth").write_bytes(b"half")
    with pytest.raises(WeightsError, match=r"not the file published for some\.model.*--force"):
        fetch(model)
    assert fetch(model, force=True).read_bytes() == CONTENT


def test_a_wrong_digest_leaves_nothing_and_keeps_what_was_there(server: HTTPServer, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "some.pth").write_bytes(b"earlier")
    with pytest.raises(WeightsError, match=f"SHA-256 is {DIGEST}, expected 0000"):
        fetch(card(address(server, "whole.pth"), digest="0" * 64), force=True)
    assert [(file.name, file.read_bytes()) for file in cache.iterdir()] == [("some.pth", b"earlier")]


def test_a_broken_connection_leaves_nothing(server: HTTPServer, cache: Path) -> None:
    with pytest.raises(WeightsError, match="broke after 700000 of 1280000 bytes"):
        fetch(card(address(server, "cut.pth")))
    assert list(cache.iterdir()) == []


def test_an_address_that_is_gone_is_named_with_its_answer(server: HTTPServer) -> None:
    with pytest.raises(WeightsError, match=r"missing\.pth answered 404"):
        fetch(card(address(server, "missing.pth")))


def test_without_network_the_error_says_what_to_copy_where(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot reach http://127\.0\.0\.1:9/x.*copy some\.pth .* into"):
        fetch(card("http://127.0.0.1:9/x"))
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_said_to_be_full_and_leaves_nothing(
    server: HTTPServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(model: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_download", full)
    with pytest.raises(WeightsError, match=r"cannot write .*some\.pth \(No space left on device\)"):
        fetch(card(address(server, "whole.pth")))
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="cannot write"):
        fetch(card("http://127.0.0.1:9/x"))


def test_a_model_without_weights_has_nothing_to_fetch() -> None:
    with pytest.raises(WeightsError, match="no weights to fetch"):
        fetch(card())


def test_weights_are_looked_for_in_the_option_then_the_variable_then_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, folder = tmp_path / "named.pth", tmp_path / "folder"
    folder.mkdir()
    cache.mkdir(parents=True)
    for file in (named, folder / "some.pth", cache / "some.pth"):
        file.write_bytes(CONTENT)
    assert weights_path(card()) == cache / "some.pth" == cache_folder() / "some.pth"
    monkeypatch.setenv("SPOOFSCOPE_WEIGHTS", str(folder))
    assert weights_path(card()) == folder / "some.pth"
    assert weights_path(card(), weights=named) == named
    (folder / "some.pth").unlink()
    assert weights_path(card()) == cache / "some.pth"


def test_absent_weights_are_an_error_that_gives_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file some\.pth in .*Run 'spoofscope fetch detector some\.model'"):
        weights_path(card())
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.pth"):
        weights_path(card(), weights=tmp_path / "nowhere.pth")


def test_verification_reads_every_byte(tmp_path: Path) -> None:
    file = tmp_path / "some.pth"
    file.write_bytes(CONTENT)
    verify(file, card())
    file.write_bytes(CONTENT[:-1] + b"\0")
    with pytest.raises(WeightsError, match="not the file published"):
        verify(file, card())
