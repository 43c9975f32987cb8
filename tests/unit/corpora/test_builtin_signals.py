"""What the built-in corpus is made of: talkers, the analysis of speech, and the attacks on it."""

import numpy as np
import pytest
from scipy.signal import lfilter

from spoofscope.corpora.builtin.analysis import Analysis, istft, lpc, mel_matrix, stft
from spoofscope.corpora.builtin.attacks import ATTACKS, EVALUATED, SEEN, find_attack
from spoofscope.corpora.builtin.streams import stream
from spoofscope.corpora.builtin.talkers import draw_talker, speak
from spoofscope.errors import UnknownName

EVERY_ATTACK = pytest.mark.parametrize("name", list(ATTACKS))


@pytest.fixture(scope="module")
def speech() -> Analysis:
    talker = draw_talker(stream(0, "talker"))
    return Analysis(speak(talker, 2.0, stream(0, "utterance")))


def pulse_train(f0_hz: float, seconds: float = 1.0) -> np.ndarray:
    phase = np.cumsum(np.full(int(seconds * 16_000), f0_hz / 16_000))
    pulses = np.diff(np.floor(phase), prepend=0.0)
    return lfilter([1], [1, -1.8, 0.9], pulses)


def middle_f0(audio: np.ndarray) -> float:
    f0 = Analysis(audio).f0_hz
    return float(np.median(f0[f0 > 0]))


def test_the_same_words_give_the_same_stream_and_other_words_another():
    assert stream(0, "a", 1).random() == stream(0, "a", 1).random()
    assert len({stream(*words).random() for words in [(0, "a"), (1, "a"), (0, "b"), ("0a",), (0, "a", "")]}) == 5


def test_a_talker_says_the_same_thing_twice_and_another_thing_with_another_stream():
    talker = draw_talker(stream(1))
    first, again, other = (speak(talker, 1.0, stream(word)) for word in ("x", "x", "y"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32 and first.shape == (16_000,)


@pytest.mark.parametrize("seed", range(4))
def test_an_utterance_is_voiced_at_the_pitch_of_its_talker_with_unvoiced_parts_between(seed):
    talker = draw_talker(stream("pitch", seed))
    said = Analysis(speak(talker, 3.0, stream("said", seed)))
    voiced = said.f0_hz > 0
    assert 0.4 < voiced.mean() < 0.97
    assert np.median(said.f0_hz[voiced]) == pytest.approx(talker.f0_hz, rel=0.3)
    assert np.abs(said.audio).max() < 1


@pytest.mark.parametrize("f0_hz", [80.0, 123.4, 210.0, 333.0])
def test_the_fundamental_of_a_pulse_train_is_found_within_one_percent(f0_hz):
    assert middle_f0(pulse_train(f0_hz)) == pytest.approx(f0_hz, rel=0.01)


def test_noise_has_no_fundamental_and_is_wholly_aperiodic():
    noise = Analysis(stream("noise").standard_normal(16_000))
    assert (noise.f0_hz > 0).mean() < 0.05
    assert noise.aperiodicity.mean() > 0.9


@pytest.mark.parametrize("f0_hz", [80.0, 160.0, 320.0])
def test_a_pulse_train_is_hardly_aperiodic_at_any_pitch(f0_hz):
    train = Analysis(pulse_train(f0_hz))
    assert train.aperiodicity[20:-20].mean() < 0.1


@pytest.mark.parametrize(("size", "hop"), [(512, 128), (960, 80), (1024, 64)])
def test_short_time_spectra_give_the_signal_back(size, hop):
    signal = stream("round trip").standard_normal(5_000)
    assert np.allclose(istft(stft(signal, size=size, hop=hop), 5_000, hop=hop), signal, atol=1e-6)


def test_linear_prediction_finds_the_filter_that_made_the_signal():
    truth = np.array([1.0, -1.6, 1.1, -0.4])
    signal = lfilter([1], truth, stream("ar").standard_normal(32_000))
    polynomials, gains = lpc(signal, order=3, size=8_000, hop=8_000)
    assert np.allclose(polynomials[1:-1].mean(axis=0), truth, atol=0.05)
    assert np.allclose(gains[1:-1], 1, atol=0.1)


def test_every_mel_filter_sums_to_one_and_none_is_flat():
    filters = mel_matrix(80, 512)
    assert np.allclose(filters.sum(axis=1), 1)
    assert filters.max(axis=1).min() > 0.05


@EVERY_ATTACK
def test_an_attack_keeps_length_and_level_and_changes_the_waveform(name, speech):
    fake = ATTACKS[name](speech, stream("attack", name))
    assert fake.dtype == np.float32 and len(fake) == len(speech)
    assert np.isfinite(fake).all()
    assert np.sqrt(np.mean(fake**2)) == pytest.approx(np.sqrt(np.mean(speech.audio**2)), rel=1e-3)
    error = np.sqrt(np.mean((fake - speech.audio) ** 2) / np.mean(speech.audio**2))
    assert error > 0.3


@EVERY_ATTACK
def test_an_attack_repeats_itself_and_leaves_its_input_alone(name, speech):
    before = speech.audio.copy()
    first, again = (ATTACKS[name](speech, stream("again")) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(speech.audio, before)


@EVERY_ATTACK
@pytest.mark.parametrize("kind", ["noise", "tone", "half silent", "short"])
def test_an_attack_survives_sounds_that_are_hardly_speech(name, kind):
    noise = stream("odd").standard_normal(16_000) * 0.1
    sounds = {
        "noise": noise,
        "tone": 0.3 * np.sin(np.arange(16_000) * 0.05),
        "half silent": np.where(np.arange(16_000) < 8_000, 0, noise),
        "short": noise[:4_000],
    }
    fake = ATTACKS[name](Analysis(sounds[kind]), stream("odd", name))
    assert len(fake) == len(sounds[kind])
    assert np.isfinite(fake).all() and fake.any()


@pytest.mark.parametrize("name", ["B01", "B04", "B09"])
def test_copy_synthesis_keeps_the_melody(name, speech):
    fake = Analysis(ATTACKS[name](speech, stream("melody")))
    both = (fake.f0_hz > 0) & (speech.f0_hz > 0)
    assert both.sum() > 0.7 * (speech.f0_hz > 0).sum()
    assert np.median(np.abs(np.log2(fake.f0_hz[both] / speech.f0_hz[both]))) < 0.03


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["B05", "B07", "B12"])
def test_a_pitch_shift_shifts_the_pitch(name, seed):
    train = pulse_train(160.0)
    factor = middle_f0(ATTACKS[name](Analysis(train), stream(seed))) / 160
    assert 0.06 < abs(np.log(factor)) < 0.55


def test_the_buzzy_source_is_monotone(speech):
    f0 = Analysis(ATTACKS["B14"](speech, stream("buzz"))).f0_hz
    voiced = f0[f0 > 0]
    assert np.percentile(np.abs(np.log2(voiced / np.median(voiced))), 80) < 0.02


def test_a_partial_spoof_is_genuine_elsewhere(speech):
    fake = ATTACKS["B08"](speech, stream("partial"))
    scale = np.median(fake[speech.audio != 0] / speech.audio[speech.audio != 0])
    untouched = np.isclose(fake, scale * speech.audio, rtol=1e-4, atol=1e-7).mean()
    assert 0.3 < untouched < 0.7


def test_the_hybrid_is_genuine_in_the_high_band_only(speech):
    fake = ATTACKS["B13"](speech, stream("hybrid"))
    genuine, mixed = (np.fft.rfft(audio) for audio in (speech.audio, fake))
    hertz = np.fft.rfftfreq(len(fake), 1 / 16_000)
    likeness = {}
    for band, inside in {"low": (hertz > 100) & (hertz < 2_000), "high": hertz > 4_000}.items():
        product = np.abs(np.vdot(genuine[inside], mixed[inside]))
        likeness[band] = product / np.linalg.norm(genuine[inside]) / np.linalg.norm(mixed[inside])
    assert likeness["high"] > 0.999
    assert likeness["low"] < 0.8


def test_splicing_moves_samples_and_makes_none(speech):
    fake = ATTACKS["B15"](speech, stream("splice"))
    assert np.allclose(np.sort(fake), np.sort(speech.audio), rtol=1e-3, atol=1e-6)


def test_attacks_have_families_and_some_are_only_for_evaluation():
    assert len(ATTACKS) >= 10
    assert set(SEEN) | set(EVALUATED) == set(ATTACKS)
    assert set(EVALUATED) - set(SEEN) and set(EVALUATED) & set(SEEN)
    assert len({attack.family for attack in ATTACKS.values()}) >= 5


def test_an_unknown_attack_is_answered_with_the_list():
    with pytest.raises(UnknownName, match=r"no attack is named 'B99'. Known: B01, B02"):
        find_attack("B99")
