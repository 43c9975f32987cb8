"""How fast sound is degraded: MP3 against two ffmpeg processes, the rest against real time. One core; one command."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from spoofscope.degradations._measure import measure
from spoofscope.degradations.conditions import parse_condition
from spoofscope.degradations.mp3 import Mp3

RATE = 16_000
CLIP_S = 4.0
REPEATS = 8
TARGET_MP3 = 6.0
TARGET_REAL_TIME = 200.0


def clip() -> np.ndarray:
    """Four seconds of gated harmonics and hiss, about as hard for an encoder as speech."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(CLIP_S * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(150 + 30 * np.sin(2 * np.pi * 0.7 * time_s)) / RATE
    voice = sum(np.sin(k * pitch + k * k) / k for k in range(1, 30))
    gate = np.sin(2 * np.pi * 2.3 * time_s)
    sound = 0.1 * voice * np.maximum(gate, 0) + 0.05 * rng.standard_normal(len(time_s)) * np.maximum(-gate, 0)
    return sound.astype(np.float32)


def two_processes(audio: np.ndarray, bitrate_kbps: int) -> None:
    """The route of the reference study: WAV file, ffmpeg to MP3, ffmpeg to WAV, read again."""
    with tempfile.TemporaryDirectory() as folder:
        source, coded, decoded = (Path(folder) / name for name in ("source.wav", "coded.mp3", "decoded.wav"))
        soundfile.write(source, audio, RATE)
        quiet = ["ffmpeg", "-y", "-loglevel", "error", "-i"]
        subprocess.run([*quiet, source, "-b:a", f"{bitrate_kbps}k", coded], check=True)
        subprocess.run([*quiet, coded, decoded], check=True)
        soundfile.read(decoded, dtype="float32")


def best_seconds(*routes: Callable[[], object]) -> list[float]:
    """Shortest time of each route, the routes taking turns so that a busy machine slows all of them."""
    took = [[float("inf")] for _ in routes]
    for _ in range(REPEATS):
        for times, route in zip(took, routes, strict=True):
            start = time.perf_counter()
            route()
            times.append(time.perf_counter() - start)
    return [min(times) for times in took]


def verdict(ratio: float, target: float) -> str:
    return f"target {target:g}: {'met' if ratio >= target else 'MISSED'}"


def compare_mp3(audio: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for bitrate_kbps in (128, 32, 8):
        fast, same = Mp3(bitrate_kbps=bitrate_kbps), Mp3(bitrate_kbps=bitrate_kbps, lame_quality=3)
        ours, exact, theirs = best_seconds(
            lambda fast=fast: fast(audio, RATE, rng),
            lambda same=same: same(audio, RATE, rng),
            lambda rate=bitrate_kbps: two_processes(audio, rate),
        )
        print(
            f"mp3 {bitrate_kbps:3d} kb/s: {1e3 * ours:5.1f} ms, two ffmpeg processes {1e3 * theirs:5.1f} ms:"
            f" {theirs / ours:4.1f} times faster ({verdict(theirs / ours, TARGET_MP3)});"
            f" with ffmpeg's own effort (lame_quality=3) {1e3 * exact:4.1f} ms, {theirs / exact:3.1f} times"
        )


def compare_real_time(audio: np.ndarray) -> None:
    names = ("telephony", "noise('white', 10)", "noise('pink', 10)", "g711('a')", "resample(8000)", "trim_silence")
    conditions = [parse_condition(name) for name in names]
    rng = np.random.default_rng(0)
    heard = conditions[0].degrade(audio, RATE, rng)
    routes = [lambda condition=condition: condition.degrade(audio, RATE, rng) for condition in conditions]
    *seconds, measuring = best_seconds(*routes, lambda: measure(audio, heard, RATE))
    for name, took in zip(names, seconds, strict=True):
        print(
            f"{name:20s} {1e3 * took:5.2f} ms: {CLIP_S / took:6.0f} times real time ({verdict(CLIP_S / took, TARGET_REAL_TIME)})"
        )
    print(f"{'measuring one trial':20s} {1e3 * measuring:5.2f} ms")


def main() -> None:
    audio = clip()
    print(f"a clip of {CLIP_S:g} s at {RATE} Hz; best of {REPEATS} turns")
    if shutil.which("ffmpeg"):
        compare_mp3(audio)
    else:
        print("mp3: not compared, because the ffmpeg program is not installed")
    compare_real_time(audio)


if __name__ == "__main__":
    main()
