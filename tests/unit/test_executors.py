"""Executors: order, look-ahead, death of a worker, and Ray."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spoofscope.degradations.conditions import parse_condition
from spoofscope.detectors import Card
from spoofscope.errors import DataError
from spoofscope.executors import Executor, open_executor
from spoofscope.registry import load_plugin
from spoofscope.run import Plan, prepare


def double(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return 2 * number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_answers_come_in_order_whatever_the_workers(workers: int) -> None:
    with open_executor("local", workers=workers) as executor:
        assert list(executor.imap(double, range(20))) == [2 * number for number in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_items_are_drawn_only_a_few_ahead_so_that_memory_stays_bounded(workers: int) -> None:
    drawn = []

    def items() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    with open_executor("local", workers=workers) as executor:
        answers = executor.imap(double, items())
        for _ in range(5):
            next(answers)
        assert len(drawn) <= 5 + workers + 1


def test_a_worker_that_dies_is_an_error_that_says_what_to_do() -> None:
    with open_executor("local", workers=1) as executor, pytest.raises(DataError, match="run the same command again"):
        list(executor.imap(die, range(6)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    code = (
        "import time\nfrom spoofscope.executors import open_executor\n"
        "if __name__ == '__main__':\n"
        "    with open_executor('local', workers=2) as executor:\n"
        "        print(*executor.imap(abs, range(8)), flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline().split() == [str(number) for number in range(8)]
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children and not [child for child in children if Path(f"/proc/{child}").exists()]


PLUGIN = '''
"""Halve every sample."""

from dataclasses import dataclass

from spoofscope.degradations import degradation


@degradation("halve", version=1)
@dataclass(frozen=True)
class Halve:
    """Halve."""

    label = "halved"

    def __call__(self, audio, sample_rate, rng):
        return audio / 2
'''


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_a_degradation_from_a_plug_in_reaches_the_workers(kind: str, tmp_path: Path) -> None:
    if kind == "ray":
        pytest.importorskip("ray", reason="needs the extra 'ray'")
    (tmp_path / f"halve_{kind}.py").write_text(PLUGIN.replace('"halve"', f'"halve_{kind}"'))
    soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.5), 16_000, subtype="FLOAT")
    plugin = str(tmp_path / f"halve_{kind}.py")
    load_plugin(plugin)
    plan = Plan(parse_condition(f"halve_{kind}"), Card(name="any", licence=""), 0, 600.0)
    with open_executor(kind, workers=1, plugins=[plugin]) as executor:
        ((prepared,),) = executor.imap(functools.partial(prepare, plan), [[("a", tmp_path / "a.wav")]])
    assert prepared.reason == "" and np.all(prepared.stretches[0] == 0.25)


@pytest.fixture(scope="module")
def ray_executor() -> Iterator[Executor]:
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    with open_executor("ray", workers=1) as executor:
        yield executor


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_answers_in_order(ray_executor: Executor) -> None:
    assert list(ray_executor.imap(abs, range(-12, 0))) == list(range(12, 0, -1))
