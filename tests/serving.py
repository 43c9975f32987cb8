"""A scoring service on this machine that can be told to fail, and that keeps what it received."""

import base64
import email.parser
import email.policy
import io
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import numpy as np
import soundfile


class Request(NamedTuple):
    """What was received, and when."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, Any]:
        """The parts of a form by name, as the standard library's reader of mail parts them."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.body)
        return {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}

    @property
    def recordings(self) -> list[np.ndarray]:
        """What was sent, as libsndfile reads it."""
        if self.headers["content-type"] == "application/json":
            files = [base64.b64decode(text, validate=True) for text in self.json["recordings"]]
        else:
            files = [self.form["file"].get_payload(decode=True)]
        return [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in files]


class Reply(NamedTuple):
    """What is answered; a status of 0 hangs up."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 (never written to)


def level(request: Request) -> Reply:
    """Score by the mean level."""
    scores = [float(np.mean(np.abs(audio))) for audio in request.recordings]
    is_batch = request.headers["content-type"] == "application/json"
    return Reply(body={"scores": scores} if is_batch else {"score": scores[0]})


class Service:
    """`with Service() as service:` answers at `service.url`, as `script` says and then as `answer` does."""

    def __init__(self, answer: Callable[[Request], Reply] = level) -> None:
        self.answer = answer
        self.script: list[Reply | Callable[[Request], Reply]] = []
        self.requests: list[Request] = []
        self.dies_at = 0
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/score"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if this is not the first time."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                service._serve(self)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *arguments: object) -> None:
                """Say nothing: clients that hang up are part of the tests."""

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.path, headers, body, time.monotonic())
        self.requests.append(request)
        if self.dies_at and len(self.requests) >= self.dies_at:
            self.stop()
            return
        scripted = self.script.pop(0) if self.script else self.answer
        reply = scripted if isinstance(scripted, Reply) else scripted(request)
        if reply.status == 0:
            return
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
