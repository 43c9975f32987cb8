"""Statements about the built-in corpus that hold for every plan and every sound."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoofscope.corpora.builtin.analysis import Analysis
from spoofscope.corpora.builtin.attacks import ATTACKS
from spoofscope.corpora.builtin.equalise import LEVEL_DB, SILENCE_S, equalise
from spoofscope.corpora.builtin.plan import Size, plan
from spoofscope.corpora.builtin.streams import stream

SIZE = st.builds(
    lambda speakers, bonafide, held_out, share, attacks: Size(
        speakers=speakers, bonafide=bonafide, held_out=held_out, per_attack=max(1, int(share * held_out)), attacks=attacks
    ),
    st.integers(1, 6),
    st.integers(1, 30),
    st.integers(1, 12),
    st.floats(0, 1),
    st.lists(st.sampled_from(sorted(ATTACKS)), min_size=1, unique=True).map(tuple),
)


@given(st.dictionaries(st.sampled_from(["train", "dev", "eval"]), SIZE, min_size=1), st.integers(0, 99))
def test_every_plan_keeps_talkers_apart_and_meets_its_counts(sizes, seed):
    tasks = plan(sizes, seed)
    protocols: dict[str, set[str]] = {}
    for task in tasks:
        protocols.setdefault(task.speaker, set()).add(task.protocol)
    assert all(len(found) == 1 for found in protocols.values())
    assert len({task.source for task in tasks}) == len(tasks)
    for protocol, size in sizes.items():
        made = [attack for task in tasks if task.protocol == protocol for attack in task.attacks]
        assert made.count("-") == size.bonafide
        assert all(made.count(attack) == size.per_attack for attack in size.attacks)
    assert all(task.attacks == ("-",) or "-" not in task.attacks for task in tasks)


@given(
    seed=st.integers(0, 10_000),
    length=st.integers(2_000, 40_000),
    gain=st.floats(1e-3, 50),
    offset=st.floats(-1, 1),
    max_speech_s=st.floats(0.2, 2),
)
@settings(max_examples=30)
def test_an_equalised_recording_has_a_shared_level_and_duration_whatever_came_in(seed, length, gain, offset, max_speech_s):
    audio = gain * stream(seed).standard_normal(length) * np.hanning(length) + offset
    equal = equalise(audio, stream("draw", seed), max_speech_s=max_speech_s)
    assert np.isfinite(equal).all() and np.abs(equal).max() <= 1
    assert LEVEL_DB[0] - 0.2 < 10 * np.log10(np.mean(equal.astype(float) ** 2)) < LEVEL_DB[1] + 0.2
    assert len(equal) <= (max_speech_s + 2 * SILENCE_S[1]) * 16_000 + 1


@pytest.mark.parametrize("name", sorted(ATTACKS))
@given(seed=st.integers(0, 10_000), length=st.integers(3_000, 9_000), pulse=st.integers(40, 230))
@settings(max_examples=5)
def test_an_attack_returns_finite_sound_of_the_same_length(name, seed, length, pulse):
    audio = 0.01 * stream(seed).standard_normal(length)
    audio[::pulse] += 0.3
    fake = ATTACKS[name](Analysis(audio), stream("attack", seed))
    assert fake.shape == (length,) and np.isfinite(fake).all()
