"""Post to one address: paced, again where that may help, and without a word about secrets."""

from __future__ import annotations

import base64
import email.utils
import http.client
import os
import re
import socket
import ssl
import string
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from spoofscope import __version__
from spoofscope.errors import AudioError, PluginError, UserError

TRIED_AGAIN = (408, 429, 500, 502, 503, 504)
RECORDING_REFUSED = (400, 413, 415, 422)
KEPT = "What was finished is kept; the same command continues from there."
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 600.0
MOST_REDIRECTIONS = 5
MOST_BYTES = 1 << 26
QUOTED = 200
OWN_HEADERS = ("content-type", "content-length", "host", "connection", "transfer-encoding")

# What tests put in the place of time.
_sleep = time.sleep
_clock = time.monotonic
_now = time.time


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes


class Poster:
    """Posts to one address; see `spoofscope.detectors.http.HttpService` for what its options mean.

    Attributes
    ----------
    shown_url : str
        The address for messages: without user, password and query.
    recorded_url : str
        The address for the key of a score: without user and password.
    name : str
        Host and path.

    Raises
    ------
    UserError
        If the address is none, or an option makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        token_env: str,
        token_header: str,
        timeout_s: float,
        retries: int,
        requests_per_s: float | None,
    ) -> None:
        address = _address(url)
        host = address.netloc.rpartition("@")[2]
        self._url = urlunsplit((address.scheme, host, address.path or "/", address.query, ""))
        self._login = unquote(f"{address.username or ''}:{address.password or ''}") if "@" in address.netloc else ""
        self.recorded_url = self._url
        self.shown_url, self.name = f"{address.scheme}://{host}{address.path}", f"{host}{address.path}".rstrip("/")
        if self._login and token_env and token_header.lower() == "authorization":
            raise UserError(
                f"{self.shown_url}: a user in the address and token_env both need the header Authorization; give one"
            )
        self._headers = _checked_headers(headers, token_header)
        self._token_env, self._token_header = token_env, token_header
        if not timeout_s > 0:
            raise UserError(f"timeout_s is {timeout_s}; it must be above 0")
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise UserError(f"retries is {retries!r}; it is a number of attempts, 0 or more")
        if requests_per_s is not None and not requests_per_s > 0:
            raise UserError(f"requests_per_s is {requests_per_s}; it must be above 0 (None for no limit)")
        self._timeout_s, self._retries = timeout_s, retries
        self._interval_s = 1 / requests_per_s if requests_per_s else 0.0
        self._free_at = float("-inf")
        self._opener = _opener()

    def post(self, body: bytes, content_type: str) -> bytes:
        """Return the body of the answer.

        Raises
        ------
        AudioError
            If the server refuses what was sent (400, 413, 415, 422).
        PluginError
            If it refuses to serve at all, or failed as often as `retries` allows.
        UserError
            If the token is not there to be sent.
        """
        for attempt in range(self._retries + 1):
            self._pace()
            try:
                reply = self._send(body, content_type)
            except (OSError, http.client.HTTPException) as error:
                failure, asked_s = self._connection_failure(error), None
            else:
                if 200 <= reply.status < 300:
                    return reply.body
                failure, asked_s = self._judge(reply), _retry_after_s(reply.headers.get("Retry-After"))
            if attempt < self._retries:
                _sleep(self._pause_s(attempt, asked_s, failure))
        times = "once" if self._retries == 0 else f"{self._retries + 1} times"
        raise PluginError(f"{self.shown_url} {failure}; it was asked {times}. {KEPT}")

    def quote(self, body: bytes) -> str:
        """Return the start of a body for a message, in one line and without what is secret."""
        text = self.hide(" ".join(body.decode("utf-8", errors="replace").split()))
        return f"'{text[:QUOTED]}'" if text else "nothing"

    def hide(self, text: str) -> str:
        """Return a server's words without the secrets that it was sent."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _judge(self, reply: Reply) -> str:
        """Say what failed, if asking again may help; raise if it cannot."""
        said = f"{reply.status} {self.hide(reply.phrase)}".strip() + f", {self.quote(reply.body)}"
        if reply.status in TRIED_AGAIN:
            return f"answered {said}"
        if reply.status in RECORDING_REFUSED:
            raise AudioError(f"{self.shown_url} refused the recording: {said}")
        if reply.status in (401, 403):
            known = self._token_env or self._login
            advice = "Is the token or password right, and allowed to score?" if known else "Does it need a token (token_env)?"
        elif reply.status in (404, 405):
            advice = "Is the path of the address right?"
        elif 300 <= reply.status < 400:
            place = _redirected(self._url, reply.headers.get("Location"))
            advice = (
                f"It sends elsewhere: give {_bare(place)} as url, if that scores." if place else "It names no other address."
            )
        else:
            advice = "Asking again would not help."
        raise PluginError(f"{self.shown_url} answered {said}. {advice} {KEPT}")

    def _connection_failure(self, error: OSError | http.client.HTTPException) -> str:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise PluginError(
                f"{self.shown_url} has a certificate that is not trusted ({reason.verify_message}). If it is your own, name its "
                f"authority's file in SSL_CERT_FILE. {KEPT}"
            ) from error
        if isinstance(reason, TimeoutError):
            return f"was silent for {self._timeout_s:g} s"
        if isinstance(reason, socket.gaierror):
            return f"has a host that cannot be found ({reason.strerror})"
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return f"cannot be reached, or broke off ({self.hide(words)})"

    def _pause_s(self, attempt: int, asked_s: float | None, failure: str) -> float:
        if asked_s is None:
            return min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S)
        if asked_s > LONGEST_PAUSE_S:
            raise PluginError(f"{self.shown_url} {failure}, and asks to wait for {asked_s:.0f} s. {KEPT}")
        return asked_s

    def _pace(self) -> None:
        now = _clock()
        if now < self._free_at:
            _sleep(self._free_at - now)
        self._free_at = max(now, self._free_at) + self._interval_s

    def _send(self, body: bytes, content_type: str) -> Reply:
        url = self._url
        for _ in range(MOST_REDIRECTIONS + 1):
            headers = {"Accept": "application/json", "User-Agent": f"spoofscope/{__version__}", "Content-Type": content_type}
            if _origin(url) == _origin(self._url):
                headers |= {**self._headers, **self._credentials()}
            reply = self._request(urllib.request.Request(url, data=body, headers=headers, method="POST"))
            place = _redirected(url, reply.headers.get("Location"))
            if reply.status not in (307, 308) or place is None:
                return reply
            url = place
        raise PluginError(f"{self.shown_url} sends from one address to the next, more than {MOST_REDIRECTIONS} times. {KEPT}")

    def _request(self, request: urllib.request.Request) -> Reply:
        try:
            answer: Any = self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read(MOST_BYTES + 1)
            if len(body) > MOST_BYTES:
                raise PluginError(f"{self.shown_url} answered more than {MOST_BYTES >> 20} MiB. {KEPT}")
            if missing := getattr(answer, "length", 0):  # http.client says so only when asked for everything
                raise http.client.IncompleteRead(body, missing)
            return Reply(answer.status, answer.reason, answer.headers, body)

    def _credentials(self) -> dict[str, str]:
        login = {"Authorization": f"Basic {base64.b64encode(self._login.encode()).decode()}"} if self._login else {}
        if not self._token_env:
            return login
        token = self._token()
        if not token:
            raise UserError(
                f"the environment variable {self._token_env} that token_env names is not set; put the token into it"
            )
        if not token.isascii() or not token.isprintable():
            raise UserError(f"the token in {self._token_env} holds characters that no header can carry")
        return {**login, self._token_header: f"Bearer {token}" if self._token_header.lower() == "authorization" else token}

    def _token(self) -> str:
        return os.environ.get(self._token_env, "").strip() if self._token_env else ""

    def _secrets(self) -> list[str]:
        """What a server might send back in a message, and no message of ours may hold."""
        parts = {self._token(), self._login, self._login.partition(":")[2], base64.b64encode(self._login.encode()).decode()}
        return sorted((part for part in parts if part), key=len, reverse=True)


def _opener() -> urllib.request.OpenerDirector:
    """Return urllib's usual chain without its following of redirections: it takes the token along, and makes a POST a GET."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url.strip())
        known = address.scheme in ("http", "https") and address.hostname and (address.port is None or address.port > 0)
    except (ValueError, AttributeError):
        known = False
    if not known or not re.fullmatch(r"[!-~]+", url.strip()):
        shown = re.sub(r"//.*@", "//", str(url))
        raise UserError(f"url is '{shown}'; it must be an address in plain characters, such as http://localhost:8000/score")
    return address


def _checked_headers(headers: Mapping[str, str], token_header: str) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise UserError(f"headers is {headers!r}; it must be a mapping, as in headers={{'X-Model': 'v2'}}")
    for name, value in {token_header: "", **headers}.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise UserError(f"{name!r} is no name of a header")
        if name.lower() in OWN_HEADERS:
            raise UserError(f"the header {name} follows from what is sent; leave it out")
        if not isinstance(value, str) or not value.isascii() or not (value.isprintable()):
            raise UserError(f"headers: the value of {name} must be a text of one line in plain characters")
    for name in headers:
        if name.lower() in ("authorization", token_header.lower()):
            raise UserError(f"headers are recorded with the scores; give the secret of {name} by token_env, which is not")
    return dict(headers)


def _retry_after_s(text: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks to wait, given as such or as a date; None if it says nothing."""
    if text is None:
        return None
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - _now())
    except (TypeError, ValueError):
        return None


def _origin(url: str) -> tuple[str, str, int]:
    address = urlsplit(url)
    return address.scheme, address.hostname or "", address.port or (443 if address.scheme == "https" else 80)


def _redirected(url: str, location: str | None) -> str | None:
    """Return where a redirection leads, without any user in it; None if that is no address of the web."""
    if not location:
        return None
    try:
        address = urlsplit(urljoin(url, quote(location, safe=string.punctuation)))
        if address.scheme not in ("http", "https") or not address.hostname or address.port == 0:
            return None
    except ValueError:
        return None
    return urlunsplit((address.scheme, address.netloc.rpartition("@")[2], address.path, address.query, ""))


def _bare(url: str) -> str:
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc}{address.path}"
