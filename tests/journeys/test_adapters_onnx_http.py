"""Through the command line with outside models: a run that is broken off goes on, and nothing is asked for twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.serving import Reply, Request, Service, level
from tests.small import write_corpus, write_plugin, write_small_recipe

COMMAND = (sys.executable, "-m", "spoofscope.cli", "score")
ENVIRONMENT = os.environ | {"no_proxy": "127.0.0.1", "SPOOFSCOPE_TEST_TOKEN": "s3cr3t-t0ken"}


def score(recipe: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, str(recipe), *flags], env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    write_corpus(folder / "corpus", speakers=4)
    write_plugin(folder)
    return folder


def recipe_for(folder: Path, out: str, detector: str) -> Path:
    return write_small_recipe(folder, out=folder / out, detectors=json.dumps([detector]), conditions="[]", batch_size="4")


def finished(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(next(folder.glob("scores/*/clean-*/scores.parquet")))


def kept(folder: Path) -> int:
    return sum(pl.read_parquet(part).height for part in folder.glob("scores/*/clean-*/part-*.parquet"))


def contents(requests: list[Request]) -> list[bytes]:
    return [audio.tobytes() for request in requests for audio in request.recordings]


@pytest.mark.parametrize("format", ["json", "multipart"])
def test_a_run_whose_service_dies_goes_on_where_it_stopped(folder: Path, format: str) -> None:
    with Service() as service:
        options = f"format='{format}', retries=1, token_env='SPOOFSCOPE_TEST_TOKEN'"
        recipe = recipe_for(folder, f"dying-{format}", f"{service.url}({options})")
        service.dies_at = 6 if format == "json" else 21
        broken = score(recipe)
        assert broken.returncode == 2
        assert f"error: http://{service.host}/score cannot be reached, or broke off" in broken.stderr
        assert "What was finished is kept; the same command continues from there." in broken.stderr
        assert "Traceback" not in broken.stderr
        assert kept(folder / f"dying-{format}") == 20

        before, service.dies_at = contents(service.requests), 0
        service.requests.clear()
        service.start()
        done = score(recipe)
        assert done.returncode == 0, done.stderr
        after = contents(service.requests)
    assert (len(before), len(after)) == (24 if format == "json" else 21, 20)
    assert not set(before[:20]) & set(after)
    assert len(set(before[:20]) | set(after)) == 40
    table = finished(folder / f"dying-{format}")
    assert table["status"].to_list() == ["ok"] * 40
    assert score(recipe).returncode == 0  # with the service gone: nothing is left to ask


def test_neither_the_run_folder_nor_the_terminal_holds_the_token(folder: Path) -> None:
    with Service() as service:
        service.script = [Reply(401, {"error": "s3cr3t-t0ken has expired"})]
        recipe = recipe_for(folder, "secret", f"{service.url}(token_env='SPOOFSCOPE_TEST_TOKEN')")
        refused = score(recipe)
        assert score(recipe).returncode == 0
        assert {request.headers["authorization"] for request in service.requests} == {"Bearer s3cr3t-t0ken"}
    assert refused.returncode == 2
    assert 'answered 401 Unauthorized, \'{"error": "*** has expired"}\'' in refused.stderr
    files = [file for file in (folder / "secret").rglob("*") if file.is_file()]
    assert len(files) > 3
    assert not any(b"s3cr3t" in file.read_bytes() for file in files)


def test_recordings_that_a_service_refuses_keep_their_reason_and_are_tried_again(folder: Path) -> None:
    def refuse_the_noisy(request: Request) -> Reply:
        noisy = any(np.abs(np.diff(audio)).mean() > 0.1 for audio in request.recordings)
        return Reply(422, b"too noisy") if noisy else level(request)

    with Service(refuse_the_noisy) as service:
        recipe = recipe_for(folder, "refused", f"http:{service.url}(format='multipart')")
        assert score(recipe).returncode == 0
        refused = finished(folder / "refused").filter(pl.col("status") != "ok")
        assert 0 < refused.height < 20
        assert set(refused["status"]) == {
            f"http://{service.host}/score refused the recording: 422 Unprocessable Entity, 'too noisy'"
        }
        assert len(service.requests) == 40
        service.requests.clear()
        service.answer = level
        assert score(recipe).returncode == 0
        assert len(service.requests) == refused.height
    assert set(finished(folder / "refused")["status"]) == {"ok"}


def write_model(path: Path) -> Path:
    """A model of two columns that takes its time."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((256, 1, 400)).astype(np.float32), "kernel"),
        numpy_helper.from_array(rng.standard_normal((256, 2)).astype(np.float32), "out"),
        numpy_helper.from_array(np.array([1]), "one"),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["u"]),
        helper.make_node("Conv", ["u", "kernel"], ["c"], strides=[4]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["m", "out"], ["logits"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 16_000))]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, 2))]
    graph = helper.make_graph(nodes, "slow", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_an_onnx_model_that_is_stopped_goes_on_to_the_same_scores(folder: Path) -> None:
    detector = f"onnx:{write_model(folder / 'slow.onnx')}(bonafide=1, score='difference', threads=1)"
    whole, stopped = (recipe_for(folder, name, detector) for name in ("whole", "stopped"))
    done = score(whole)
    assert done.returncode == 0, done.stderr
    started = subprocess.Popen([*COMMAND, str(stopped)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not kept(folder / "stopped") and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, "the run ended before it could be stopped; make it slower"
    assert "what was finished is kept" in errors
    parts = {part: part.stat().st_mtime_ns for part in (folder / "stopped").glob("scores/*/clean-*/part-*.parquet")}
    assert 0 < kept(folder / "stopped") < 40 and parts

    assert score(stopped).returncode == 0
    assert finished(folder / "stopped").equals(finished(folder / "whole"))
    assert finished(folder / "whole")["status"].to_list() == ["ok"] * 40
    key = json.loads(next((folder / "whole").glob("scores/*/clean-*/key.json")).read_text())
    assert key["detector"]["settings"]["bonafide"] == 1
    assert key["detector"]["window_s"] == 1.0


def test_an_onnx_file_that_is_damaged_or_needs_an_option_ends_with_a_sentence(folder: Path) -> None:
    path = write_model(folder / "slow.onnx")
    unsaid = score(recipe_for(folder, "unsaid", f"onnx:{path}"))
    assert (unsaid.returncode, "Traceback" in unsaid.stderr) == (2, False)
    assert "say which column stands for bona fide, counting from 0, as in bonafide=1" in unsaid.stderr
    (folder / "cut.onnx").write_bytes(path.read_bytes()[:1000])
    cut = score(recipe_for(folder, "cut", f"onnx:{folder / 'cut.onnx'}"))
    assert (cut.returncode, "Traceback" in cut.stderr) == (3, False)
    assert "cut.onnx is not an ONNX file, or is cut short" in cut.stderr
