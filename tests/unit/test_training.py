"""Training: the same trials and settings give the same file, and what is learned separates what was taught."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from spoofscope.degradations.conditions import parse_condition
from spoofscope.detectors._trained import load_trained
from spoofscope.detectors.lfcc_cnn import LfccCnn
from spoofscope.detectors.lfcc_gmm import LfccGmm
from spoofscope.errors import AudioError, MissingExtra, NotEnoughTrials, RecipeError, UnknownName
from spoofscope.training import train
from spoofscope.training.cnn import CnnTraining, crops, heard_features, train_cnn
from spoofscope.training.gmm import GmmTraining, em_step, initial_mixture, train_gmm
from spoofscope.training.recordings import Recording
from spoofscope.trials import Trials

QUICK_GMM = GmmTraining(components=4, iterations=3)
QUICK_CNN = CnnTraining(steps=3, batch=8, min_crop_s=0.3, max_crop_s=0.4, channels=("noise('white', 20)",), copies=1)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """Twelve recordings: white noise is bona fide, dull noise is spoof."""
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        audio = rng.normal(0, 0.1, 12_800).astype(np.float32)
        is_bonafide = number % 2 == 0
        if not is_bonafide:
            audio[1:] += audio[:-1]
        soundfile.write(root / f"{number}.wav", audio, 16_000)
        rows.append((f"t{number}", f"{number}.wav", "bonafide" if is_bonafide else "spoof"))
    return Trials(pl.DataFrame(rows, schema=["trial_id", "path", "label"], orient="row"), root, "toy, train")


def read_all(trials):
    return [soundfile.read(path, dtype="float32")[0] for path in trials.paths]


@pytest.mark.parametrize(
    ("train", "settings", "build"), [(train_gmm, QUICK_GMM, LfccGmm), (train_cnn, QUICK_CNN, LfccCnn)], ids=["gmm", "cnn"]
)
class TestBothTrainers:
    def test_training_twice_gives_the_same_file(self, trials, tmp_path, train, settings, build):
        first, second = (train(trials, settings).save(tmp_path / name) for name in "ab")
        assert first == second

    def test_weights_say_which_trials_and_settings_they_come_from(self, trials, tmp_path, train, settings, build):
        history = train(trials, settings).history
        assert history["trials"] == "toy, train"
        assert history["trials_digest"] == trials.digest()
        assert history["settings"]["seed"] == 0
        samples = np.concatenate(read_all(trials))
        assert history["audio_sha256"] == hashlib.sha256(samples.tobytes()).hexdigest()
        assert set(history) == {"trials", "trials_digest", "audio_sha256", "settings", "version"}

    def test_another_seed_gives_other_weights(self, trials, tmp_path, train, settings, build):
        one, other = (train(trials, replace(settings, seed=seed)).tensors for seed in (0, 1))
        assert any(not np.array_equal(one[name], other[name]) for name in one)

    def test_progress_ends_at_one(self, trials, tmp_path, train, settings, build):
        shares = {}
        train(trials, settings, progress=shares.__setitem__)
        assert set(shares.values()) == {1.0}
        assert len(shares) == 3

    def test_one_class_is_refused(self, trials, tmp_path, train, settings, build):
        with pytest.raises(NotEnoughTrials, match=r"6 trials \(6 bona fide, 0 spoof\): both classes are needed"):
            train(trials.where(trials.is_bonafide, name="toy, half"), settings)

    def test_a_missing_recording_stops_training(self, trials, tmp_path, train, settings, build):
        gone = trials.frame.with_columns(path=pl.lit("gone.wav"))
        with pytest.raises(AudioError, match=r"gone\.wav"):
            train(Trials(gone, Path(tmp_path), "gone"), settings)


@pytest.mark.parametrize(
    ("train", "settings", "build"),
    [(train_gmm, QUICK_GMM, LfccGmm), (train_cnn, replace(QUICK_CNN, steps=40), LfccCnn)],
    ids=["gmm", "cnn"],
)
def test_the_trained_detector_separates_what_it_was_taught(trials, tmp_path, train, settings, build):
    train(trials, settings).save(tmp_path / "w")
    scores = build(weights=tmp_path / "w").score(read_all(trials))
    assert scores[trials.is_bonafide].min() > scores[~trials.is_bonafide].max()


def test_training_leaves_the_state_of_pytorch_as_it_was(trials):
    torch = pytest.importorskip("torch")
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train_cnn(trials, replace(QUICK_CNN, steps=1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_each_round_of_expectation_maximisation_raises_the_likelihood():
    rng = np.random.default_rng(0)
    frames = np.concatenate([rng.normal(-1, 1, (500, 5)), rng.normal(2, 0.5, (700, 5))])
    mixture = initial_mixture(frames, 6, rng)
    likelihoods = []
    for _ in range(15):
        mixture, likelihood = em_step(frames, mixture)
        likelihoods.append(likelihood)
    assert (np.diff(likelihoods) > -1e-12).all()
    assert likelihoods[-1] > likelihoods[0] + 0.1


def test_a_constant_coefficient_and_repeated_frames_keep_variances_above_zero():
    frames = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 50, axis=0)
    frames[:, 2] = 1.0
    mixture = initial_mixture(frames, 8, np.random.default_rng(0))
    for _ in range(5):
        mixture, likelihood = em_step(frames, mixture)
    assert all(np.isfinite(part).all() for part in mixture)
    assert (mixture.variances > 0).all()
    assert np.isfinite(likelihood)


def test_first_means_are_spread_over_distant_clusters():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [100.0, 100.0]])
    frames = np.concatenate([centre + rng.normal(0, 0.1, (200, 2)) for centre in centres])
    means = initial_mixture(frames, 4, rng).means
    assert {tuple(np.round(mean, -1)) for mean in means} == {tuple(centre) for centre in centres}


def test_more_components_than_frames_are_refused(trials):
    with pytest.raises(NotEnoughTrials, match="cannot fit 10000 components"):
        train_gmm(trials, GmmTraining(components=10_000))


def test_copies_of_a_recording_depend_on_the_seed_and_its_id_only():
    audio = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    channels = [parse_condition("noise('white', 20)"), parse_condition("noise('white', 0)")]
    settings = CnnTraining(copies=3)
    heard = heard_features(Recording("a", audio, True), channels, settings)
    assert len(heard) == 4
    for one, same in zip(heard, heard_features(Recording("a", audio, False), channels, settings), strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(heard[1], heard_features(Recording("b", audio, True), channels, settings)[1])
    assert not np.array_equal(heard[1], heard[2])


def test_a_silent_recording_that_no_noise_can_be_added_to_is_named():
    silence = Recording("quiet-7", np.zeros(8000, np.float32), True)
    with pytest.raises(AudioError, match=r"training trial 'quiet-7' through noise\('white', 20\): the recording is silent"):
        heard_features(silence, [parse_condition("noise('white', 20)")], CnnTraining())


def test_crops_alternate_the_classes_and_keep_to_the_asked_length():
    pools = {
        True: [[np.tile(np.linspace(-60, 0, 300, dtype=np.float32)[:, None], 60)]],
        False: [[np.zeros((20, 60), np.float32)]],
    }
    rng = np.random.default_rng(0)
    settings = CnnTraining(min_crop_s=0.5, max_crop_s=0.8, batch=6)
    lengths = set()
    for _ in range(50):
        batch = crops(pools, settings, rng)
        lengths.add(batch.shape[1])
        assert batch.shape[0] == 6
        assert (batch[1::2] == 1.0).all()
        assert (np.diff(batch[::2], axis=1) > 0).all()
    assert min(lengths) >= 50
    assert max(lengths) <= 80
    assert len(lengths) > 10


@pytest.mark.parametrize("bad", [{"steps": 0}, {"batch": 1}, {"copies": -1}, {"min_crop_s": 0.05}, {"max_crop_s": 0.3}])
def test_impossible_network_settings_are_refused(bad):
    with pytest.raises(RecipeError, match=f"{next(iter(bad))}|crops"):
        CnnTraining(**bad)


@pytest.mark.parametrize("name", ["components", "iterations", "max_frames"])
def test_impossible_mixture_settings_are_refused(name):
    with pytest.raises(RecipeError, match=f"{name} is 0; it must be at least 1"):
        GmmTraining(**{name: 0})


def test_the_command_writes_weights_that_the_detector_takes(trials, tmp_path, capsys):
    written = train("lfcc_gmm", trials, tmp_path / "w.safetensors", seed=3)
    assert str(written) == f"{tmp_path / 'w.safetensors'} (SHA-256 {written.sha256})"
    assert LfccGmm(weights=written.path).card.weights_sha256 == written.sha256
    assert load_trained(written.path, "lfcc_gmm")[0].history["settings"]["seed"] == 3
    assert capsys.readouterr().out == ""


def test_a_detector_that_cannot_be_trained_is_refused(trials, tmp_path):
    with pytest.raises(UnknownName, match="no detector named 'aasist' can be trained. Known: lfcc_gmm, lfcc_cnn"):
        train("aasist", trials, tmp_path / "w")


def test_training_the_network_without_pytorch_says_what_to_install(trials, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'spoofscope\[torch\]'"):
        train_cnn(trials, QUICK_CNN)
