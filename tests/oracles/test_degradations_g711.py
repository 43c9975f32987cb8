"""G.711 against the tables of the Recommendation, searched slowly, and against FFmpeg's codecs."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from spoofscope.degradations.g711 import decode, encode

EVERY = np.arange(-32_768, 32_768).astype(np.int16)

# Tables 2a and 1a of ITU-T G.711, column 3 ("decision value"): each segment's end points, with 16 equal steps between
# them (15 and a half step in mu-law's first segment). In units of 1/8159 and 1/4096 of full scale.
MU_SEGMENT_ENDS = (31, 95, 223, 479, 991, 2015, 4063, 8159)
A_SEGMENT_ENDS = (64, 128, 256, 512, 1024, 2048, 4096)


def mu_decisions():
    values = [0, *range(1, 32, 2)]
    for start, end in pairwise(MU_SEGMENT_ENDS):
        values += [start + (end - start) // 16 * step for step in range(1, 17)]
    return values


def a_decisions():
    values = list(range(0, 65, 2))
    for start, end in pairwise(A_SEGMENT_ENDS):
        values += [start + (end - start) // 16 * step for step in range(1, 17)]
    return values


def test_the_decision_values_are_those_printed_in_the_recommendation():
    mu, a = mu_decisions(), a_decisions()
    assert len(mu) == len(a) == 129
    assert [mu[n] for n in (0, 1, 2, 15, 16, 17, 32, 48, 64, 80, 96, 112, 113, 127, 128)] == [
        *(0, 1, 3, 29, 31, 35, 95, 223, 479, 991, 2015, 4063, 4319, 7903, 8159)
    ]
    assert [a[n] for n in (0, 1, 32, 33, 48, 64, 80, 96, 112, 113, 127, 128)] == [
        *(0, 2, 64, 68, 128, 256, 512, 1024, 2048, 2176, 3968, 4096)
    ]


def interval(amplitude, decisions, scale):
    """Number of the interval that an amplitude lies in, by looking at one after the other."""
    for number in range(127):
        if amplitude < decisions[number + 1] * scale:
            return number
    return 127


def by_the_tables(sample, law):
    """Character signal and value at the decoder output of one 16-bit sample."""
    amplitude = abs(int(sample))
    if law == "mu":
        decisions = mu_decisions()
        number = interval(amplitude, decisions, 4)
        value = 0 if number == 0 else 4 * (decisions[number] + decisions[number + 1]) // 2
        return (0x7F if sample < 0 else 0xFF) - number, -value if sample < 0 else value
    decisions = a_decisions()
    number = interval(amplitude, decisions, 8)
    value = 8 * (decisions[number] + decisions[number + 1]) // 2
    return (number if sample < 0 else number + 0x80) ^ 0x55, -value if sample < 0 else value


@pytest.mark.parametrize("law", ["mu", "a"])
def test_all_65536_inputs_equal_the_tables(law):
    codes = encode(EVERY, law)
    values = decode(codes, law)
    decisions, scale = (mu_decisions(), 4) if law == "mu" else (a_decisions(), 8)
    starts = [0, *sorted({d * scale for d in decisions if 0 < d * scale <= 32_768}), 32_769]
    known = {}
    for low, high in pairwise(starts):
        for sign in (1, -1):
            known[sign, low, high] = by_the_tables(sign * (high - 1), law)
    for (sign, low, high), expected in known.items():
        here = (EVERY.astype(int) * sign >= low) & (EVERY.astype(int) * sign < high) & ((sign > 0) | (EVERY < 0))
        assert {(int(c), int(v)) for c, v in zip(codes[here], values[here], strict=True)} <= {expected}, (sign, low, high)


@pytest.mark.parametrize("law", ["mu", "a"])
def test_samples_taken_one_by_one_equal_the_tables(law):
    edges = [d * (4 if law == "mu" else 8) for d in (mu_decisions() if law == "mu" else a_decisions())]
    near = {sign * (edge + offset) for edge in edges for offset in (-1, 0, 1) for sign in (1, -1)}
    samples = np.array(sorted(s for s in near if -32_768 <= s <= 32_767), dtype=np.int16)
    found = list(zip(encode(samples, law).tolist(), decode(encode(samples, law), law).tolist(), strict=True))
    assert found == [by_the_tables(sample, law) for sample in samples]


def through_ffmpeg(law):
    """Codes of every 16-bit sample by FFmpeg's encoder, and what its decoder makes of every code."""
    import av

    name = "pcm_mulaw" if law == "mu" else "pcm_alaw"
    encoder = av.CodecContext.create(name, "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.time_base = 8000, "mono", "s16", Fraction(1, 8000)
    frame = av.AudioFrame.from_ndarray(EVERY[None], format="s16", layout="mono")
    frame.sample_rate = 8000
    codes = b"".join(bytes(packet) for packet in encoder.encode(frame) + encoder.encode(None))
    decoder = av.CodecContext.create(name, "r")
    decoder.sample_rate, decoder.layout = 8000, "mono"
    frames = decoder.decode(av.Packet(bytes(range(256))))
    return np.frombuffer(codes, dtype=np.uint8), np.concatenate([frame.to_ndarray()[0] for frame in frames])


@pytest.mark.parametrize("law", ["mu", "a"])
def test_all_256_codes_decode_as_in_ffmpeg(law):
    assert np.array_equal(decode(np.arange(256, dtype=np.uint8), law), through_ffmpeg(law)[1])


@pytest.mark.parametrize(("law", "differing"), [("mu", 851), ("a", 849)])
def test_all_65536_inputs_encode_as_in_ffmpeg_but_for_its_two_shortcuts(law, differing):
    """FFmpeg rounds samples down to 14 bits, then decides midway between two output values.

    The tables decide elsewhere where a segment meets a coarser one: at 95, not 96, between mu-law's outputs 93 and 99. The
    shortcuts, written out, give FFmpeg's codes for all inputs; so nothing else sets the two apart, and never by more than a step.
    """
    ours, theirs = decode(encode(EVERY, law), law).astype(int), decode(through_ffmpeg(law)[0], law).astype(int)
    outputs = np.unique(np.abs(ours))
    midway = (outputs[1:] + outputs[:-1]) / 2
    rounded = EVERY.astype(int) >> 2 << 2
    shortcut = outputs[np.searchsorted(midway, np.abs(rounded), side="right")]
    assert np.array_equal(np.where(rounded < 0, -shortcut, shortcut), theirs)
    apart = np.searchsorted(outputs, np.abs(ours)) - np.searchsorted(outputs, np.abs(theirs))
    assert np.abs(apart).max() == 1
    assert np.count_nonzero(apart) == differing
