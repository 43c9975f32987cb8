"""The benchmark of the full-size detector runs as it stands, on a small model."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_cpu_mode_prints_ratios_against_the_published_code_and_the_answers_agree() -> None:
    pytest.importorskip("transformers")
    command = [sys.executable, "-m", "benchmarks.ssl_aasist", "--small", "--repetitions", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ours float32")]
    assert len(lines) == 2
    for line in lines:
        apart = float(line.partition("logits differ by ")[2].split()[0])
        assert apart < 1e-4
        assert "to the faster published" in line
    assert "peak memory of a process, float32, batch 1: " in done.stdout
