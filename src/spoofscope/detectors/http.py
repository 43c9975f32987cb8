"""A service that scores recordings over HTTP, as a detector."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from spoofscope.audio import SAMPLE_RATE, Audio, Padding
from spoofscope.cards import Polarity, adapter_card
from spoofscope.detectors import Card, detector
from spoofscope.detectors._posting import KEPT, Poster
from spoofscope.errors import AudioError, PluginError, UserError

Format: TypeAlias = Literal["json", "multipart"]
Encoding: TypeAlias = Literal["float32", "int16"]
DEFAULTS: dict[Format, tuple[str, str]] = {"json": ("recordings", "scores"), "multipart": ("file", "score")}


@detector(Card(name="http", licence="", output="as the service answers"))
class HttpService:
    """A service that scores recordings over HTTP.

    With `format="json"` a batch is one POST request of the type `application/json`, ::

        {"sample_rate": 16000, "recordings": ["UklGR...", ...]}

    in which each recording is a mono WAV file in base64 (the standard alphabet, padded), answered by `{"scores": [0.7, ...]}`,
    as many and in the same order. With `format="multipart"` each recording is one POST request of the type
    `multipart/form-data`, whose field `file` is the WAV file (`recording.wav`, `audio/wav`), answered by `{"score": 0.7}`. A
    null in place of a number means that there is no score for that recording, and the rest stand.

    A service that is busy or out of reach (408, 429, 500, 502, 503, 504, a connection that fails or is silent) is asked again,
    after the time that its Retry-After names, or else 0.5 s, doubled each time. A recording that it refuses (400, 413, 415, 422)
    costs only itself. Anything else ends the run; what was finished is kept, and the same command continues it. A redirection is
    followed if it keeps the request (307, 308); to another host it carries neither the token nor `headers`.

    The key of a score holds the address, not what answers there: give `name` another value when the service changes.

    Parameters
    ----------
    url : str
        The address that is posted to. A user and password in it are sent (Basic), but not recorded with the scores.
    format : {"json", "multipart"}
        Whether a batch is one request, or each recording.
    encoding : {"float32", "int16"}
        Samples in the WAV files: the very numbers that other detectors are given (WAVE format 3, which libsndfile, SciPy and
        ffmpeg read), or rounded to 16 bits (format 1, which everything reads).
    field : str
        The form's field that is the file, or the key that holds the list; `file` and `recordings` unless given.
    answer : str, optional
        Where the number, or the list of numbers, stands in the JSON that is answered: names of keys and numbers of items, joined
        by dots; `*` stands for every item of a list, as in `results.*.score`, and `""` for the whole. `score` and `scores` unless
        given.
    fields : mapping of str to str, number or bool
        Further fields of the form, or keys of the JSON object. Part of the key of a score.
    headers : mapping of str to str
        Further headers of every request. Part of the key of a score, and so no place for a secret.
    token_env : str
        The environment variable that holds a secret token. It is read when the first recording is scored, and neither recorded
        nor printed.
    token_header : str
        The header that carries the token: `Authorization` as `Bearer TOKEN`, any other, such as `X-Api-Key`, as it is.
    timeout_s : float
        Seconds of silence after which a request has failed.
    retries : int
        How often a failed request is sent again.
    requests_per_s : float, optional
        Requests that are sent in a second at most; as fast as they are answered unless given.
    sample_rate : int
        Rate of the audio that is sent, in hertz.
    window_s : float, optional
        Seconds that are sent, from the start; the whole recording unless given.
    padding : {"repeat", "zero", "none"}
        How a shorter recording is filled up to the window.
    polarity : {"bonafide", "spoof"}
        The class that a higher score stands for.
    name : str
        What the detector is called in tables; host and path of its address unless given.
    trained_on : sequence of str
        Corpora that it was trained on.

    Raises
    ------
    UserError
        If an option makes no sense.
    """

    def __init__(
        self,
        *,
        url: str,
        format: Format = "json",
        encoding: Encoding = "float32",
        field: str = "",
        answer: str | None = None,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        token_env: str = "",
        token_header: str = "Authorization",
        timeout_s: float = 60.0,
        retries: int = 5,
        requests_per_s: float | None = None,
        sample_rate: int = SAMPLE_RATE,
        window_s: float | None = None,
        padding: Padding = "repeat",
        polarity: Polarity = "bonafide",
        name: str = "",
        trained_on: Sequence[str] = (),
    ) -> None:
        for option, value, words in (("format", format, get_args(Format)), ("encoding", encoding, get_args(Encoding))):
            if value not in words:
                raise UserError(f"{option} is '{value}'; it must be {' or '.join(words)}")
        usual_field, usual_answer = DEFAULTS[format]
        self._format, self._encoding = format, encoding
        self._field, self._answer = field or usual_field, usual_answer if answer is None else answer
        self._fields = _checked_fields(fields or {}, format, self._field)
        self._poster = Poster(
            url,
            headers=headers or {},
            token_env=token_env,
            token_header=token_header,
            timeout_s=timeout_s,
            retries=retries,
            requests_per_s=requests_per_s,
        )
        self._known: dict[bytes, float | AudioError] = {}
        self.settings: Mapping[str, Any] = {
            "url": self._poster.recorded_url,
            "headers": dict(headers or {}),
            "format": format,
            "encoding": encoding,
            "field": self._field,
            "answer": self._answer,
            "fields": dict(self._fields),
        }
        self.card = adapter_card(
            name or self._poster.name,
            sample_rate=sample_rate,
            window_s=window_s,
            padding=padding,
            polarity=polarity,
            output=f"as {self._poster.name} answers",
            trained_on=trained_on,
        )

    def score(self, batch: Sequence[Audio]) -> NDArray[np.float32]:
        """Send the recordings, and return what is answered, (n,) float32; nan where that is null.

        Raises
        ------
        AudioError
            If the service refuses a recording.
        PluginError
            If it refuses everything, stays out of reach, or answers with anything but a number for each recording.
        """
        if not batch:
            return np.empty(0, dtype=np.float32)
        heard = [self.card.fit(audio) for audio in batch]
        scores = self._together(heard) if self._format == "json" else self._one_by_one(heard)
        with np.errstate(over="ignore"):
            return np.array(scores, dtype=np.float64).astype(np.float32)

    def _together(self, batch: Sequence[Audio]) -> list[float]:
        files = [base64.b64encode(self._wav(audio)).decode("ascii") for audio in batch]
        body = json.dumps({**self._fields, "sample_rate": self.card.sample_rate, self._field: files})
        reply = self._poster.post(body.encode(), "application/json")
        values = self._found_in(reply)
        if not isinstance(values, list):
            self._refuse(reply, f"'{self._answer}' is no list")
        if len(values) != len(batch):
            self._refuse(reply, f"{len(values)} scores for {len(batch)} recordings")
        return [self._number(value, reply) for value in values]

    def _one_by_one(self, batch: Sequence[Audio]) -> list[float]:
        """Send each recording once: where one of a batch is refused, the loop asks for each again, and finds its answer here."""
        if len(batch) > 1:
            self._known.clear()
        keys = [hashlib.sha256(audio.tobytes()).digest() for audio in batch]
        for key, audio in zip(keys, batch, strict=True):
            if key not in self._known:
                self._known[key] = self._send(audio)
        found = [self._known[key] for key in keys]
        refusals = [answer for answer in found if isinstance(answer, AudioError)]
        if len(batch) == 1 or not refusals:
            for key in keys:
                self._known.pop(key, None)
        if refusals:
            raise refusals[0]
        return [answer for answer in found if isinstance(answer, float)]

    def _send(self, audio: Audio) -> float | AudioError:
        body, content_type = form(self._fields, self._field, self._wav(audio))
        try:
            reply = self._poster.post(body, content_type)
        except AudioError as error:
            return error
        return self._number(self._found_in(reply), reply)

    def _wav(self, audio: Audio) -> bytes:
        return wav(audio, self.card.sample_rate, self._encoding)

    def _found_in(self, reply: bytes) -> Any:
        try:
            content = json.loads(reply)
        except (ValueError, RecursionError):
            self._refuse(reply, "no JSON")
        try:
            return _walk(content, self._answer.split(".") if self._answer else [])
        except (LookupError, TypeError, ValueError):
            self._refuse(reply, f"JSON without '{self._answer}'; say where the scores stand with answer")

    def _number(self, value: Any, reply: bytes) -> float:
        if value is None:
            return float("nan")
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._refuse(reply, f"{self._poster.hide(json.dumps(value))[:50]} where a number was expected")
        try:
            return float(value)
        except OverflowError:
            return float("inf")

    def _refuse(self, reply: bytes, what: str) -> NoReturn:
        raise PluginError(f"{self._poster.shown_url} answered {what}: {self._poster.quote(reply)}. {KEPT}")


def wav(audio: Audio, sample_rate: int, encoding: Encoding = "float32") -> bytes:
    """Return a recording, (n,) float32, as a mono WAV file; the same recording is always the same bytes.

    Sixteen bits are the samples times 32768, rounded and clipped: what was read from such a file is written as it was.
    """
    if encoding == "float32":
        samples, kind = audio.astype("<f4").tobytes(), 3
    else:
        samples, kind = np.clip(np.rint(audio * np.float32(32768)), -32768, 32767).astype("<i2").tobytes(), 1
    width = 4 if kind == 3 else 2
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, kind, 1, sample_rate, sample_rate * width, width, 8 * width)
    if kind != 1:
        chunks += b"fact" + struct.pack("<II", 4, len(audio))
    chunks += b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def form(fields: Mapping[str, Any], field: str, file: bytes) -> tuple[bytes, str]:
    """Return a form with one WAV file as `multipart/form-data`, and its content type with the boundary."""
    boundary = f"spoofscope-{hashlib.sha256(file).hexdigest()[:32]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"\r\n\r\n{_text(value)}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(field)}"; filename="recording.wav"\r\n'
        "Content-Type: audio/wav\r\n\r\n"
    )
    return "".join(parts).encode() + file + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")  # as browsers do


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _checked_fields(fields: Mapping[str, Any], format: Format, field: str) -> Mapping[str, Any]:
    if not isinstance(fields, Mapping):
        raise UserError(f"fields is {fields!r}; it must be a mapping, as in fields={{'model': 'v2'}}")
    taken = {field, "sample_rate"} if format == "json" else {field}
    for name, value in fields.items():
        if name in taken:
            raise UserError(f"fields may not set '{name}', which is filled in with what is sent")
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            raise UserError(f"fields: {name!r} is {value!r}; a name is a text, and its value a text, a number, True or False")
    return fields


def _walk(content: Any, path: Sequence[str]) -> Any:
    if not path:
        return content
    if path[0] == "*":
        if not isinstance(content, list):
            raise TypeError("only a list has items")
        return [_walk(item, path[1:]) for item in content]
    if isinstance(content, list):
        return _walk(content[int(path[0])], path[1:])
    return _walk(content[path[0]], path[1:])
