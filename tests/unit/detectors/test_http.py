"""A service as a detector: what it is sent, what it must answer, when it is asked again, and what nobody gets to see."""

import email.utils
import io
import os
import socket
import ssl
import time
import urllib.error
import wave

import numpy as np
import pytest
import soundfile

from spoofscope.cards import identity
from spoofscope.checks.detector import check_detector
from spoofscope.detectors import _posting, build_detector
from spoofscope.detectors.http import form, wav
from spoofscope.errors import AudioError, DataError, PluginError, UserError
from spoofscope.recipe import parse_call
from tests.serving import Reply, Request, Service, level

RNG = np.random.default_rng(3)
BATCH = [(gain * RNG.standard_normal(size)).astype(np.float32) for gain, size in ((0.1, 800), (0.3, 1201), (0.2, 800))]
FORMATS = ("json", "multipart")
SECRET = "s3cr3t-t0ken"


def mean_level(batch) -> list[float]:
    return [float(np.float32(np.mean(np.abs(audio)))) for audio in batch]


class Time:
    """Stands in for the clock: sleeping takes no time, and is written down."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(round(seconds, 6))
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr(_posting, "_sleep", clock.sleep)
    monkeypatch.setattr(_posting, "_clock", lambda: clock.now_s)
    return clock


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def service():
    with Service() as service:
        yield service


# what is sent


@pytest.mark.parametrize("format", FORMATS)
def test_a_service_hears_the_recordings_bit_for_bit(service, format):
    scores = build_detector("http", service.url, format=format).score(BATCH)
    assert scores.dtype == np.float32
    assert scores.tolist() == mean_level(BATCH)
    heard = [audio for request in service.requests for audio in request.recordings]
    assert len(service.requests) == (1 if format == "json" else 3)
    assert all(np.array_equal(sent, got) for sent, got in zip(BATCH, heard, strict=True))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("encoding", ["float32", "int16"])
def test_a_service_keeps_the_contract(service, format, encoding):
    detector = build_detector("http", url=service.url, format=format, encoding=encoding)
    assert [finding for finding in check_detector(detector) if not finding.ok] == []


def test_a_batch_is_one_json_object(service):
    build_detector("http", url=service.url, sample_rate=8000, fields={"model": "v2", "fast": True}).score(BATCH)
    (request,) = service.requests
    assert request.path == "/score"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("spoofscope/")
    assert set(request.json) == {"model", "fast", "sample_rate", "recordings"}
    assert (request.json["model"], request.json["fast"], request.json["sample_rate"]) == ("v2", True, 8000)
    assert all(text.startswith("UklGR") for text in request.json["recordings"])


def test_a_recording_is_one_form(service):
    fields = {"model": "v2", "fast": True, "top": 3}
    build_detector("http", url=service.url, format="multipart", fields=fields).score(BATCH[:1])
    parts = service.requests[0].form
    assert list(parts) == ["model", "fast", "top", "file"]
    assert [parts[name].get_payload() for name in ("model", "fast", "top")] == ["v2", "true", "3"]
    assert (parts["file"].get_filename(), parts["file"].get_content_type()) == ("recording.wav", "audio/wav")
    assert soundfile.info(io.BytesIO(parts["file"].get_payload(decode=True))).samplerate == 16_000


def test_the_place_of_the_recordings_can_be_named(service):
    service.answer = lambda request: Reply(body={"scores": [1.0] * len(request.json["audio"]), "score": 1.0})
    build_detector("http", url=service.url, field="audio").score(BATCH)
    service.answer = lambda request: Reply(body={"score": 1.0})
    build_detector("http", url=service.url, format="multipart", field='the "file"').score(BATCH[:1])
    assert list(service.requests[1].form) == ["the %22file%22"]


def test_sixteen_bits_are_read_by_anything_and_are_those_that_were_read():
    stored = np.random.default_rng(0).integers(-32768, 32768, 1000).astype("<i2")
    with wave.open(io.BytesIO(wav(stored / np.float32(32768), 16_000, "int16"))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        np.testing.assert_array_equal(np.frombuffer(file.readframes(1000), "<i2"), stored)
    with wave.open(io.BytesIO(wav(np.array([1.5, -1.5, 1.0], np.float32), 8000, "int16"))) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize("encoding", ["float32", "int16"])
def test_a_file_is_the_same_bytes_each_time_and_as_long_as_it_says(encoding):
    content = wav(BATCH[1], 16_000, encoding)
    assert content == wav(BATCH[1].copy(), 16_000, encoding)
    assert int.from_bytes(content[4:8], "little") + 8 == len(content)
    assert soundfile.info(io.BytesIO(content)).frames == len(BATCH[1])


def test_a_window_is_cut_and_filled_before_it_is_sent(service):
    build_detector("http", url=service.url, window_s=0.0625, padding="zero").score(BATCH)
    assert [len(audio) for audio in service.requests[0].recordings] == [1000, 1000, 1000]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_batch_asks_for_nothing(service, format):
    scores = build_detector("http", url=service.url, format=format).score([])
    assert (scores.shape, scores.dtype) == ((0,), np.float32)
    assert service.requests == []


def test_both_ways_to_write_an_address_in_a_recipe_are_one(service):
    calls = [parse_call(f"{scheme}{service.url}(format='multipart')", "detector", "") for scheme in ("http:", "")]
    one, other = (build_detector(call.name, *call.positional, **call.options) for call in calls)
    assert identity(one) == identity(other)
    assert one.card.name == f"{service.host}/score"
    assert one.score(BATCH).tolist() == mean_level(BATCH)


def test_headers_are_sent_with_every_request(service):
    build_detector("http", url=service.url, format="multipart", headers={"X-Model": "v2"}).score(BATCH)
    assert [request.headers["x-model"] for request in service.requests] == ["v2"] * 3


# what is answered


def test_spoof_polarity_negates_what_is_answered(service):
    detector = build_detector("http", url=service.url, polarity="spoof", name="theirs", trained_on=["a/train"])
    assert detector.score(BATCH).tolist() == [-value for value in mean_level(BATCH)]
    assert (detector.card.name, detector.card.trained_on) == ("theirs", ("a/train",))


@pytest.mark.parametrize(
    ("format", "answer", "body"),
    [
        ("json", "data.out", {"data": {"out": [1, 2, 3]}}),
        ("json", "", [1, 2, 3]),
        ("json", "results.*.score", {"results": [{"score": 1}, {"score": 2}, {"score": 3}]}),
        ("json", "*.classes.1", [{"classes": [9, 1]}, {"classes": [9, 2]}, {"classes": [9, 3]}]),
        ("multipart", "results.0.score", {"results": [{"score": 1}]}),
        ("multipart", "", 1.0),
    ],
)
def test_scores_are_found_where_answer_says(service, format, answer, body):
    service.answer = lambda request: Reply(body=body)
    scores = build_detector("http", url=service.url, format=format, answer=answer).score(BATCH)
    assert scores.tolist() == ([1, 2, 3] if format == "json" else [1, 1, 1])


@pytest.mark.parametrize("format", FORMATS)
def test_null_is_no_score_for_one_recording_and_the_rest_stand(service, format):
    values = iter([0.5, None, 0.25])
    service.answer = lambda request: Reply(body={"scores": [0.5, None, 0.25]} if format == "json" else {"score": next(values)})
    scores = build_detector("http", url=service.url, format=format).score(BATCH)
    np.testing.assert_array_equal(scores, np.array([0.5, np.nan, 0.25], np.float32))


def test_a_number_too_large_is_infinite_and_not_a_crash(service):
    service.answer = lambda request: Reply(body=b'{"scores": [1e300, -1' + b"0" * 400 + b", 1]}")
    assert build_detector("http", url=service.url).score(BATCH).tolist() == [np.inf, np.inf, 1.0]


@pytest.mark.parametrize(
    ("format", "body", "message"),
    [
        (
            "json",
            {"scores": [1, 2]},
            r"answered 2 scores for 3 recordings: '\{\"scores\": \[1, 2\]\}'\. What was finished is kept",
        ),
        ("json", {"scores": 1}, "answered 'scores' is no list"),
        ("json", {"scores": [1, "high", 3]}, 'answered "high" where a number was expected'),
        ("json", {"scores": [1, True, 3]}, "answered true where a number was expected"),
        ("json", {"result": [1, 2, 3]}, "answered JSON without 'scores'; say where the scores stand with answer"),
        ("json", [1, 2, 3], "answered JSON without 'scores'"),
        ("json", 7, "answered JSON without 'scores'"),
        ("json", b"<html>ok</html>", "answered no JSON: '<html>ok</html>'"),
        ("json", b"", "answered no JSON: nothing"),
        ("json", b"[" * 100_000, "answered no JSON"),
        ("json", b"\xff\xfe", "answered no JSON"),
        ("multipart", {"score": [1]}, r"answered \[1\] where a number was expected"),
        ("multipart", {"scores": [1]}, "answered JSON without 'score'"),
    ],
)
def test_an_answer_without_scores_is_quoted(service, format, body, message):
    service.answer = lambda request: Reply(body=body)
    with pytest.raises(PluginError, match=f"http://{service.host}/score {message}"):
        build_detector("http", url=service.url, format=format).score(BATCH)


def test_only_the_start_of_a_long_answer_is_quoted(service):
    service.answer = lambda request: Reply(body=b"\n".join(b"%05d" % n for n in range(1000)))
    with pytest.raises(PluginError, match="no JSON: '00000 00001 .*'") as caught:
        build_detector("http", url=service.url).score(BATCH)
    quoted = str(caught.value).split("'")[1]
    assert len(quoted) == 200


def test_an_endless_answer_is_not_read_to_its_end(service, monkeypatch):
    monkeypatch.setattr(_posting, "MOST_BYTES", 1000)
    service.answer = lambda request: Reply(body=bytes(5000))
    with pytest.raises(PluginError, match="answered more than"):
        build_detector("http", url=service.url).score(BATCH)


# when it is asked again


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 0])
def test_a_busy_service_is_asked_again_after_ever_longer_pauses(service, clock, status):
    service.script = [Reply(status, b"busy")] * 3
    assert build_detector("http", url=service.url).score(BATCH).tolist() == mean_level(BATCH)
    assert clock.slept_s == [0.5, 1.0, 2.0]
    assert len({request.body for request in service.requests}) == 1


def date(seconds: float) -> str:
    return email.utils.formatdate(2_000_000_000 + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("text", "slept_s"),
    [("7", 7), ("0", 0), ("1.5", 1.5), (date(30), 30), (date(-30), 0), ("soon", 0.5), ("-3", 0.5), ("", 0.5)],
)
def test_a_service_says_itself_when_to_ask_again(service, clock, monkeypatch, text, slept_s):
    monkeypatch.setattr(_posting, "_now", lambda: 2_000_000_000.0)
    service.script = [Reply(429, b"slower", {"Retry-After": text})]
    build_detector("http", url=service.url).score(BATCH)
    assert clock.slept_s == [slept_s]


def test_a_service_that_asks_for_an_hour_ends_the_run(service, clock):
    service.script = [Reply(503, b"nightly work", {"Retry-After": "3600"})]
    with pytest.raises(
        PluginError, match="503 Service Unavailable, 'nightly work', and asks to wait for 3600 s. What was finished"
    ):
        build_detector("http", url=service.url).score(BATCH)
    assert clock.slept_s == []


@pytest.mark.parametrize(("retries", "times"), [(0, "once"), (2, "3 times")])
def test_patience_ends_and_says_that_what_was_finished_is_kept(service, clock, retries, times):
    service.answer = lambda request: Reply(503, b"busy")
    message = (
        f"/score answered 503 Service Unavailable, 'busy'; it was asked {times}. What was finished is kept; the same command"
    )
    with pytest.raises(PluginError, match=message):
        build_detector("http", url=service.url, retries=retries).score(BATCH)
    assert len(service.requests) == retries + 1
    assert len(clock.slept_s) == retries


def test_a_service_that_is_not_there_is_named(service, clock):
    url = service.url
    service.stop()
    with pytest.raises(
        PluginError, match=r"cannot be reached, or broke off \(Connection refused\); it was asked 3 times\. What was"
    ):
        build_detector("http", url=url, retries=2).score(BATCH)
    assert clock.slept_s == [0.5, 1.0]


def test_a_service_that_hangs_up_is_named(service, clock):
    service.answer = lambda request: Reply(0)
    with pytest.raises(PluginError, match=r"broke off \(Remote end closed connection"):
        build_detector("http", url=service.url, retries=1).score(BATCH)


def test_an_answer_that_is_cut_short_is_asked_for_again(service, clock):
    service.script = [lambda request: Reply(200, b'{"scores"', {"Content-Length": "1000"})]
    assert build_detector("http", url=service.url).score(BATCH).tolist() == mean_level(BATCH)
    assert clock.slept_s == [0.5]


def test_silence_is_not_waited_out(service, clock):
    def slow(request: Request) -> Reply:
        time.sleep(0.5)
        return level(request)

    service.script = [slow]
    detector = build_detector("http", url=service.url, timeout_s=0.1)
    assert detector.score(BATCH).tolist() == mean_level(BATCH)
    service.script = [slow]
    with pytest.raises(PluginError, match=r"was silent for 0\.1 s; it was asked once"):
        build_detector("http", url=service.url, timeout_s=0.1, retries=0).score(BATCH)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (socket.gaierror(-2, "Name or service not known"), r"has a host that cannot be found \(Name or service not known\)"),
        (ssl.SSLCertVerificationError(1, "self-signed"), r"has a certificate that is not trusted \(.*SSL_CERT_FILE"),
    ],
)
def test_a_wrong_host_and_a_wrong_certificate_are_told_apart(clock, monkeypatch, reason, message):
    detector = build_detector("http", url="https://scores.example/v1", retries=1)

    def fail(*arguments, **named):
        if isinstance(reason, ssl.SSLCertVerificationError):
            reason.verify_message = "self-signed certificate"
        raise urllib.error.URLError(reason)

    monkeypatch.setattr(detector._poster._opener, "open", fail)
    with pytest.raises(PluginError, match=f"https://scores.example/v1 {message}"):
        detector.score(BATCH)
    assert len(clock.slept_s) == (0 if isinstance(reason, ssl.SSLCertVerificationError) else 1)


def test_requests_are_no_denser_than_asked(service, clock):
    build_detector("http", url=service.url, format="multipart", requests_per_s=4).score(BATCH)
    assert clock.slept_s == [0.25, 0.25]


def test_a_slow_service_is_not_slowed_further(service, clock):
    def slow(request: Request) -> Reply:
        clock.now_s += 1
        return level(request)

    service.answer = slow
    build_detector("http", url=service.url, format="multipart", requests_per_s=4).score(BATCH)
    assert clock.slept_s == []


def test_the_pace_is_kept_by_a_real_clock_and_over_batches(service):
    detector = build_detector("http", url=service.url, requests_per_s=25)
    for _ in range(4):
        detector.score(BATCH)
    times = [request.at_s for request in service.requests]
    assert times[-1] - times[0] >= 3 / 25 - 0.02


# what it refuses


def as_the_loop_asks(detector, batch) -> list[tuple[float, str]]:
    """Score a batch, or where it is refused, one by one: (score, reason) of each."""
    try:
        return [(float(score), "") for score in detector.score(batch)]
    except DataError as error:
        return [(np.nan, str(error))] if len(batch) == 1 else [as_the_loop_asks(detector, [one])[0] for one in batch]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
@pytest.mark.parametrize("format", FORMATS)
def test_a_recording_that_is_refused_costs_only_itself(service, format, status):
    def refuse_the_long_one(request: Request) -> Reply:
        return Reply(status, b"over 1 MB") if any(len(audio) > 1000 for audio in request.recordings) else level(request)

    service.answer = refuse_the_long_one
    detector = build_detector("http", url=service.url, format=format)
    answers = as_the_loop_asks(detector, BATCH)
    assert [reason for _, reason in answers][::2] == ["", ""]
    assert answers[1][1].startswith(f"http://{service.host}/score refused the recording: {status} ")
    assert answers[1][1].endswith(", 'over 1 MB'")
    expected = mean_level(BATCH)
    assert [answers[0][0], answers[2][0]] == [expected[0], expected[2]]
    assert np.isnan(answers[1][0])


def test_in_forms_each_recording_is_sent_once_although_one_was_refused(service):
    service.script = [level, Reply(422, b"silent")]
    detector = build_detector("http", url=service.url, format="multipart")
    as_the_loop_asks(detector, BATCH)
    assert len(service.requests) == 3
    assert detector._known == {}
    detector.score(BATCH)
    assert len(service.requests) == 6


def test_what_was_answered_before_a_failure_is_not_taken_for_an_answer_later(service):
    detector = build_detector("http", url=service.url, format="multipart", retries=0)
    service.script = [Reply(body={"score": 9}), Reply(503, b"busy")]
    with pytest.raises(PluginError):
        detector.score(BATCH)
    assert detector.score(BATCH).tolist() == mean_level(BATCH)


@pytest.mark.parametrize(
    ("status", "options", "message"),
    [
        (401, {}, r"401 Unauthorized, 'no'\. Does it need a token \(token_env\)\? What was finished is kept; the same command"),
        (
            403,
            {"token_env": "SPOOFSCOPE_TEST_TOKEN"},
            "403 Forbidden, 'no'. Is the token or password right, and allowed to score",
        ),
        (404, {}, "404 Not Found, 'no'. Is the path of the address right"),
        (405, {}, "405 Method Not Allowed, 'no'. Is the path of the address right"),
        (402, {}, "402 Payment Required, 'no'. Asking again would not help. What was finished is kept"),
        (304, {}, "304 Not Modified, nothing. It names no other address"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_a_service_that_refuses_to_serve_ends_the_run_at_once(service, clock, monkeypatch, status, options, message, format):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", SECRET)
    service.answer = lambda request: Reply(status, b"" if status == 304 else b"no")
    with pytest.raises(PluginError, match=f"http://{service.host}/score answered {message}"):
        build_detector("http", url=service.url, format=format, **options).score(BATCH)
    assert len(service.requests) == 1
    assert clock.slept_s == []


# secrets


def authorized(service: Service) -> list[str | None]:
    return [request.headers.get("authorization") for request in service.requests]


def test_a_token_travels_in_the_header_and_is_nowhere_else(service, monkeypatch):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", f" {SECRET}\n")
    detector = build_detector("http", url=service.url, token_env="SPOOFSCOPE_TEST_TOKEN")
    detector.score(BATCH)
    assert authorized(service) == [f"Bearer {SECRET}"]
    assert SECRET not in f"{identity(detector)} {vars(detector)} {vars(detector._poster)}"


def test_a_token_may_travel_in_a_header_of_its_own(service, monkeypatch):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", SECRET)
    build_detector("http", url=service.url, token_env="SPOOFSCOPE_TEST_TOKEN", token_header="X-Api-Key").score(BATCH)
    assert service.requests[0].headers["x-api-key"] == SECRET
    assert authorized(service) == [None]


@pytest.mark.parametrize("status", [200, 401, 422, 500])
def test_a_token_that_a_service_sends_back_is_not_shown(service, monkeypatch, status):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", SECRET)
    service.answer = lambda request: Reply(status, {"scores": [f"{request.headers['authorization']} is wrong"] * 3})
    detector = build_detector("http", url=service.url, token_env="SPOOFSCOPE_TEST_TOKEN", retries=0)
    with pytest.raises((PluginError, AudioError), match=r"Bearer \*\*\* is wrong") as caught:
        detector.score(BATCH)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the environment variable SPOOFSCOPE_TEST_TOKEN that token_env names is not set"),
        ("  ", "SPOOFSCOPE_TEST_TOKEN that token_env names is not set"),
        (f"{SECRET}\nX-Evil: 1", "the token in SPOOFSCOPE_TEST_TOKEN holds characters that no header can carry"),
        (f"{SECRET}ü", "holds characters that no header can carry"),
    ],
)
def test_a_token_that_cannot_be_sent_is_asked_for_when_it_is_needed(service, monkeypatch, value, message):
    if value is None:
        monkeypatch.delenv("SPOOFSCOPE_TEST_TOKEN", raising=False)
    else:
        monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", value)
    detector = build_detector("http", url=service.url, token_env="SPOOFSCOPE_TEST_TOKEN")
    with pytest.raises(UserError, match=message) as caught:
        detector.score(BATCH)
    assert SECRET not in str(caught.value)
    assert service.requests == []


def test_a_user_and_password_in_the_address_are_sent_but_not_shown(service, clock):
    url = service.url.replace("://", "://ann:pass%20word@")
    detector = build_detector("http", url=url, retries=1)
    service.script = [Reply(503, b"pass word, YW5uOnBhc3Mgd29yZA==")] * 2
    with pytest.raises(PluginError, match=rf"^http://{service.host}/score answered 503 .*'\*\*\*, \*\*\*'") as caught:
        detector.score(BATCH)
    detector.score(BATCH)
    assert set(authorized(service)) == {"Basic YW5uOnBhc3Mgd29yZA=="}
    assert "word" not in f"{caught.value} {identity(detector)} {detector.card}"


def test_a_password_and_a_token_in_its_own_header_go_together(service, monkeypatch):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", SECRET)
    url = service.url.replace("://", "://ann:x@")
    build_detector("http", url=url, token_env="SPOOFSCOPE_TEST_TOKEN", token_header="X-Api-Key").score(BATCH)
    assert authorized(service) == ["Basic YW5uOng="]
    assert service.requests[0].headers["x-api-key"] == SECRET


def test_a_query_is_part_of_the_key_but_not_of_a_message(service, clock):
    detector = build_detector("http", url=f"{service.url}?model=v2", retries=0)
    service.script = [Reply(500, b"no")]
    with pytest.raises(PluginError, match=f"http://{service.host}/score answered"):
        detector.score(BATCH)
    assert service.requests[0].path == "/score?model=v2"
    assert detector.settings["url"] == f"{service.url}?model=v2"


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirection_within_a_host_takes_everything_along(service, monkeypatch, status):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", SECRET)
    service.script = [Reply(status, b"", {"Location": "/v2/score"})]
    options = {"token_env": "SPOOFSCOPE_TEST_TOKEN", "headers": {"X-Model": "v2"}}
    assert build_detector("http", url=service.url, **options).score(BATCH).tolist() == mean_level(BATCH)
    assert service.requests[1].path == "/v2/score"
    assert authorized(service) == [f"Bearer {SECRET}"] * 2
    assert service.requests[1].headers["x-model"] == "v2"


@pytest.mark.parametrize("secret", ["bearer", "key", "basic"])
def test_a_redirection_to_another_host_takes_no_secret_along(service, monkeypatch, secret):
    monkeypatch.setenv("SPOOFSCOPE_TEST_TOKEN", SECRET)
    options = {"bearer": {}, "key": {"token_header": "X-Api-Key"}, "basic": {"token_env": ""}}[secret]
    url = service.url.replace("://", f"://ann:{SECRET}@") if secret == "basic" else service.url
    with Service() as other:
        service.script = [Reply(307, b"", {"Location": f"http://eve:x@{other.host}/score"})]
        named = {"token_env": "SPOOFSCOPE_TEST_TOKEN", "headers": {"X-Model": "v2"}} | options
        assert build_detector("http", url=url, **named).score(BATCH).tolist() == mean_level(BATCH)
        headers = other.requests[0].headers
    assert not {"authorization", "x-api-key", "x-model"} & set(headers)
    assert SECRET not in str(headers)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirection_that_would_lose_the_recordings_is_not_followed(service, status):
    service.answer = lambda request: Reply(status, b"", {"Location": "/score/?key=1"})
    with pytest.raises(PluginError, match=f"It sends elsewhere: give http://{service.host}/score/ as url, if that scores"):
        build_detector("http", url=service.url).score(BATCH)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[", "http://127.0.0.1:0/", "http://127.0.0.1:99999/"]
)
def test_a_redirection_out_of_the_web_is_not_followed(service, place):
    service.answer = lambda request: Reply(307, b"", {"Location": place})
    with pytest.raises(PluginError, match="307 Temporary Redirect.*It names no other address"):
        build_detector("http", url=service.url).score(BATCH)


def test_redirections_in_a_circle_end(service):
    service.answer = lambda request: Reply(307, b"", {"Location": "/score"})
    with pytest.raises(PluginError, match="from one address to the next, more than 5 times"):
        build_detector("http", url=service.url).score(BATCH)
    assert len(service.requests) == 6


# options


URL = "http://localhost:8000/score"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000/score"}, "url is 'localhost:8000/score'; it must be an address"),
        ({"url": "ftp://localhost/score"}, "it must be an address in plain characters, such as http://localhost:8000/score"),
        ({"url": "http:///score"}, "it must be an address"),
        ({"url": "http://localhost:port/"}, "it must be an address"),
        ({"url": "http://localhost:0/"}, "it must be an address"),
        ({"url": "http://[/"}, "it must be an address"),
        ({"url": "http://ann:secret@local host/"}, "url is 'http://local host/'; it must"),
        ({"url": "http://bücher.example/"}, "it must be an address in plain characters"),
        ({"format": "xml"}, "format is 'xml'; it must be json or multipart"),
        ({"encoding": "mp3"}, "encoding is 'mp3'; it must be float32 or int16"),
        ({"timeout_s": 0}, "timeout_s is 0; it must be above 0"),
        ({"retries": -1}, "retries is -1; it is a number of attempts"),
        ({"retries": 1.5}, "retries is 1.5; it is a number of attempts"),
        ({"requests_per_s": 0}, "requests_per_s is 0; it must be above 0"),
        ({"fields": ["model"]}, r"fields is \['model'\]; it must be a mapping"),
        ({"fields": {"model": None}}, "fields: 'model' is None; a name is a text"),
        ({"fields": {1: "x"}}, "fields: 1 is 'x'; a name is a text"),
        ({"fields": {"recordings": "x"}}, "fields may not set 'recordings'"),
        ({"fields": {"sample_rate": 1}}, "fields may not set 'sample_rate'"),
        ({"fields": {"file": "x"}, "format": "multipart"}, "fields may not set 'file'"),
        ({"headers": "X-Model: v2"}, "headers is 'X-Model: v2'; it must be a mapping"),
        ({"headers": {"X Model": "v2"}}, "'X Model' is no name of a header"),
        ({"headers": {"X-Model": "v2\r\nX-Evil: 1"}}, "the value of X-Model must be a text of one line"),
        ({"headers": {"X-Model": 2}}, "the value of X-Model must be a text of one line"),
        ({"headers": {"content-type": "text/plain"}}, "the header content-type follows from what is sent"),
        ({"headers": {"authorization": "Bearer x"}}, "give the secret of authorization by token_env"),
        ({"headers": {"X-Api-Key": "x"}, "token_header": "x-api-key"}, "give the secret of X-Api-Key by token_env"),
        ({"token_header": "Host"}, "the header Host follows from what is sent"),
        ({"url": "http://ann:x@localhost/", "token_env": "TOKEN"}, "both need the header Authorization; give one"),
        ({"polarity": "fake"}, "polarity is 'fake'; say which class"),
    ],
)
def test_options_that_make_no_sense_are_refused_when_built(options, message):
    with pytest.raises(UserError, match=message) as caught:
        build_detector("http", **{"url": URL, **options})
    assert "secret@" not in str(caught.value)


def test_all_that_decides_a_score_is_part_of_the_key_and_patience_is_not():
    one = identity(build_detector("http", url=URL))
    for options in (
        {"format": "multipart"},
        {"encoding": "int16"},
        {"field": "audio"},
        {"answer": "out"},
        {"fields": {"model": "v2"}},
        {"headers": {"X-Model": "v2"}},
        {"window_s": 4},
        {"name": "service, third edition"},
    ):
        assert identity(build_detector("http", url=URL, **options)) != one
    patient = {"timeout_s": 5, "retries": 9, "requests_per_s": 2, "token_env": "TOKEN", "token_header": "X-Api-Key"}
    assert identity(build_detector("http", url=URL, **patient)) == one


def test_a_boundary_never_lies_in_what_it_bounds():
    content, kind = form({}, "file", b"RIFF" + os.urandom(5000))
    boundary = kind.partition("boundary=")[2].encode()
    assert content.count(b"--" + boundary) == 2
