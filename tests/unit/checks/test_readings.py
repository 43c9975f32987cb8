"""The check of readings: a planted wrong reading is called out, and a detector that is read as it should be raises no alarm."""

import numpy as np
import polars as pl
import pytest
import soundfile

from spoofscope.analysis.cells import cluster_rows
from spoofscope.checks.listening import (
    Listener,
    Output,
    other_readings,
    outputs,
    peak_normalised,
    pre_emphasised,
    standardised,
)
from spoofscope.checks.readings import check_readings
from spoofscope.corpora.folder import Folder
from spoofscope.detectors import Card, Flipped
from spoofscope.errors import AudioError, NotEnoughTrials, PluginError
from spoofscope.metrics.clusters import Cells, draw_weights
from spoofscope.metrics.rates import eer
from spoofscope.trials import Trials
from tests.small import write_corpus

RATE = 16_000
BETTER = "no other reading is shown to be better"
HALF = "the declared reading has an EER below one half"
HEARD = "every recording was heard"


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> Trials:
    """A hum whose loudness says nothing, over a hiss whose loudness tells the class; 0.1 to 1.4 s long."""
    folder = tmp_path_factory.mktemp("hiss")
    for speaker in range(10):
        rng = np.random.default_rng(speaker)
        for name, hiss in (
            *((f"bonafide/s{speaker}/b{take}", 0.01) for take in range(5)),
            *((f"spoof/X{attack}/s{speaker}/a{attack}", 0.02) for attack in range(5)),
        ):
            time_s = np.arange(round(np.exp(rng.uniform(np.log(0.1), np.log(1.4))) * RATE)) / RATE
            hum = np.exp(rng.uniform(np.log(0.02), np.log(0.2))) * np.sin(2 * np.pi * rng.uniform(60, 100) * time_s)
            noise = hiss * rng.lognormal(0, 0.3) * rng.standard_normal(len(time_s))
            path = folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, (hum + noise).astype(np.float32), RATE, subtype="FLOAT")
    return Folder().trials(root=folder)


class Hiss:
    """Quiet hiss is bona fide."""

    card = Card(name="hiss", licence="MIT", window_s=1.0)

    def prepare(self, audio):
        return pre_emphasised(self.card.fit(audio))

    def score(self, batch):
        return np.array([-np.log(np.mean(self.prepare(audio) ** 2)) for audio in batch], dtype=np.float32)


class WithoutPreEmphasis(Hiss):
    def prepare(self, audio):
        return self.card.fit(audio)


class Reversed(Hiss):
    def score(self, batch):
        return -super().score(batch)


class PadsWithZeros(Hiss):
    card = Card(name="pads", licence="MIT", window_s=1.0, padding="zero")


class TwoColumns(Hiss):
    """Column 1 is bona fide; column 0 is spoof, heard without pre-emphasis: not its mirror image."""

    column = 1

    def __init__(self):
        self.calls = {"score": 0, "logits": 0}

    def logits(self, batch):
        self.calls["logits"] += 1
        spoof = -WithoutPreEmphasis().score(batch)
        return np.column_stack([spoof, Hiss.score(self, batch)])

    def score(self, batch):
        self.calls["score"] += 1
        column = self.logits(batch)[:, self.column]
        self.calls["logits"] -= 1
        return column


class OtherColumn(TwoColumns):
    column = 0


def check(detector, trials, **settings):
    return check_readings(detector, trials, **{"replicates": 200, "batch_size": 7} | settings)


def rows(found):
    return {row.reading: row for row in found.rows}


def finding(found, name):
    return next(one for one in found.findings if one.name == name)


def better(found):
    return {row.reading for row in found.rows if row.is_better}


@pytest.mark.parametrize("detector", [Hiss, TwoColumns])
def test_a_detector_read_as_it_should_be_raises_no_alarm(detector, trials):
    found = check(detector(), trials)
    assert [one for one in found.findings if not one.ok] == []
    assert better(found) == set()
    assert rows(found)["as declared"].eer.value < 0.2
    assert "is no result" in finding(found, BETTER).detail


def test_missing_pre_emphasis_is_called_out_and_nothing_else(trials):
    found = check(WithoutPreEmphasis(), trials)
    assert better(found) == {"pre-emphasis 0.97"}
    said = finding(found, BETTER)
    assert not said.ok and said.detail.startswith("pre-emphasis 0.97 -")
    assert "is no result" in said.detail and "hold together at 95 %" in said.detail
    assert "polarity first" not in said.detail


def test_padding_of_another_kind_is_called_out_with_the_number_of_recordings_it_concerns(trials):
    found = check(PadsWithZeros(), trials)
    assert "repeat padding" in better(found) and not finding(found, BETTER).ok
    short = sum(soundfile.info(path).frames < RATE for path in trials.paths)
    assert 0 < rows(found)["repeat padding"].n_changed == short < len(trials)


def test_reversed_polarity_is_called_out_and_what_follows_from_it_is_said(trials):
    found = check(Reversed(), trials)
    said = finding(found, HALF)
    assert not said.ok and "stands for spoof" in said.detail
    declared, negated = rows(found)["as declared"].eer.value, rows(found)["negated"].eer.value
    assert declared > 0.8 and negated == pytest.approx(1 - declared)
    assert "negated" in better(found) and "Mend the polarity first" in finding(found, BETTER).detail


def test_perfectly_reversed_scores_are_called_out_though_no_resample_moves_their_eer(trials):
    class Oracle(Hiss):
        def lookup(self, ids):
            return np.array([1 if name.startswith("spoof") else 0 for name in ids], dtype=np.float32)

    found = check(Oracle(), trials)
    assert np.isnan(rows(found)["as declared"].eer.low)
    assert not finding(found, HALF).ok and "stands for spoof" in finding(found, HALF).detail


def test_chance_is_not_called_reversed(trials):
    class Guess(Hiss):
        def lookup(self, ids):
            return np.random.default_rng(3).standard_normal(len(ids)).astype(np.float32)

    found = check(Guess(), trials)
    assert "cannot be told from chance" in finding(found, HALF).detail
    assert "stands for spoof" not in finding(found, HALF).detail
    assert better(found) == set()


def test_the_other_column_is_called_out(trials):
    found = check(OtherColumn(), trials)
    said = finding(found, BETTER)
    assert not said.ok and said.detail.startswith("logit 1 -") and "polarity" not in said.detail
    assert rows(found)["logit 1"].kind == "score"
    assert rows(found)["logit 0"].note == "no difference: the same scores"


def test_scores_of_logits_need_no_second_forward_pass(trials):
    detector = TwoColumns()
    check(detector, trials, batch_size=20)
    assert detector.calls == {"score": 1 + 5 * len(other_readings(detector.card)), "logits": 5}
    unlike = TwoColumns()
    unlike.score = lambda batch: Hiss.score(unlike, batch) * np.float32(2)
    found = check(unlike, trials)
    assert rows(found)["logit 1"].note == "no difference: the scores keep their order"


def test_a_reading_that_the_detector_undoes_is_no_test(trials):
    found = check(Hiss(), trials)
    for name in ("whole recording", "first 64,600 samples", "first 64,000 samples"):
        row = rows(found)[name]
        assert (row.n_changed, row.eer, row.difference, row.within_noise) == (0, None, None, None)
        assert row.note == "no difference: the same scores"
    scaled = rows(found)["int16 scale"]
    assert scaled.n_changed == len(trials) and scaled.note == "no difference: the scores keep their order"
    compared = sum(row.difference is not None for row in found.rows)
    assert found.paired_level == pytest.approx(1 - 0.05 / compared)
    assert f"None of {compared}" in finding(found, BETTER).detail


def test_a_detector_that_takes_its_window_only_is_not_blamed(trials):
    class Strict(Hiss):
        def score(self, batch):
            if any(len(audio) != RATE for audio in batch):
                raise ValueError("16000 samples, please")
            return super().score(batch)

    found = check(Strict(), trials)
    for name in ("whole recording", "first 64,600 samples"):
        row = rows(found)[name]
        assert row.note == "not accepted: ValueError: 16000 samples, please"
        assert (row.n_bonafide, row.n_spoof, row.n_changed, row.eer) == (0, 0, 0, None)
    assert all(one.ok for one in found.findings)


def test_a_detector_that_stacks_its_batch_hears_whole_recordings_one_by_one(trials):
    class Stacks(Hiss):
        card = Card(name="stacks", licence="MIT", window_s=1.0)

        def prepare(self, audio):
            return pre_emphasised(audio)

        def score(self, batch):
            return super().score(np.stack(batch))

    found = check(Stacks(), trials)
    assert rows(found)["whole recording"].eer is not None
    assert rows(found)["whole recording"].n_changed > len(trials) / 2


def test_one_unreadable_recording_costs_only_itself(tmp_path):
    folder = write_corpus(tmp_path, speakers=4, seconds=0.4)
    spoiled = folder / "bonafide" / "s1" / "bonafide-1-0.wav"
    spoiled.write_text("this is not sound")
    missing = folder / "spoof" / "X2" / "s3" / "spoof-X2-3-1.wav"
    trials = Folder().trials(root=folder)
    missing.unlink()
    found = check(Hiss(), trials)
    said = finding(found, HEARD)
    assert not said.ok and said.detail.startswith(
        "2 of 40 have no score and are left out (first: bonafide/s1/bonafide-1-0.wav:"
    )
    assert (found.rows[0].n_bonafide, found.rows[0].n_spoof) == (15, 23)


def test_a_recording_that_the_detector_refuses_is_counted_and_the_rest_of_its_batch_stands(trials):
    def long(audio):
        return len(audio) > 1.3 * RATE

    class Picky(Hiss):
        card = Card(name="picky", licence="MIT")

        def score(self, batch):
            if any(map(long, batch)):
                raise AudioError("too long for me")
            return super().score(batch)

    refused = sum(long(soundfile.read(path)[0]) for path in trials.paths)
    found = check(Picky(), trials)
    assert finding(found, HEARD).detail.startswith(f"{refused} of 100 have no score")
    assert "too long for me" in finding(found, HEARD).detail
    row = rows(found)["first 64,600 samples"]
    assert row.note == "a class has no score left under it: too long for me"
    loud = rows(found)["peak 1"]
    assert loud.n_bonafide + loud.n_spoof == 100 - refused and loud.note == ""


def test_recordings_lost_to_a_reading_are_left_out_of_both_sides(trials):
    class Delicate(Hiss):
        def score(self, batch):
            scores = super().score(batch)
            scores[[audio[10] > 900 for audio in batch]] = np.nan
            return scores

    found = check(Delicate(), trials)
    row = rows(found)["int16 scale"]
    lost = len(trials) - row.n_bonafide - row.n_spoof
    assert 0 < lost < len(trials) and finding(found, HEARD).ok
    assert row.note == "no difference: the scores keep their order"


def test_nothing_depends_on_the_batch(trials):
    assert check(Hiss(), trials, batch_size=1) == check(Hiss(), trials, batch_size=64)


def test_a_score_file_is_tried_as_it_is_and_negated(trials):
    scores = dict(zip(trials.ids, Hiss().score([soundfile.read(path)[0] for path in trials.paths]), strict=True))

    class Ready(Hiss):
        def lookup(self, ids):
            return np.array([scores[name] for name in ids], dtype=np.float32)

    class Raw(Ready):
        def lookup(self, ids):
            return -super().lookup(ids)

    found = check(Ready(), trials)
    assert [(row.reading, row.kind) for row in found.rows] == [("as declared", "score"), ("negated", "polarity")]
    assert all(one.ok for one in found.findings)
    assert check(Flipped(Raw()), trials).rows == found.rows
    assert not finding(check(Flipped(Ready()), trials), HALF).ok


def test_a_flipped_detector_shows_its_columns_with_the_sign_of_its_door(trials):
    class SpoofFirst(TwoColumns):
        def logits(self, batch):
            return -super().logits(batch)

    found = check(Flipped(SpoofFirst()), trials)
    assert rows(found)["-logit 1"].note == "no difference: the same scores"
    assert {"-logit 0", "-(logit 1 - logit 0)", "-log-softmax of class 1"} <= set(rows(found))
    assert all(one.ok for one in found.findings)


def test_a_limit_draws_from_every_attack_and_is_named(trials):
    done = []
    found = check(Hiss(), trials, limit=40, on_progress=done.append)
    assert "40 of 100 stratified by attack and speaker (seed 0)" in found.trials
    assert sum(done) == 40 == found.rows[0].n_bonafide + found.rows[0].n_spoof
    assert found.clusters == "10 speaker x 5 attack"
    assert check(Hiss(), trials, limit=0).trials == check(Hiss(), trials, limit=100).trials == trials.describe()


def test_trials_of_one_class_are_refused_before_anything_is_heard(trials):
    spoof = trials.where(~trials.is_bonafide, name="only spoof")
    with pytest.raises(NotEnoughTrials, match="only spoof: .* needs both classes; found 0 bona fide and 50 spoof"):
        check(None, spoof)


def test_a_class_without_a_score_is_refused_with_the_first_reason(trials):
    class Deaf(Hiss):
        def score(self, batch):
            raise AudioError("nothing to hear")

    with pytest.raises(NotEnoughTrials, match=r"100 have no score \(first: bonafide/s0/b0.wav: nothing to hear\)"):
        check(Deaf(), trials)


@pytest.mark.parametrize(
    ("scores", "message"),
    [(np.zeros((7, 2)), r"shape \(7, 2\); it must be \(7,\)"), (np.zeros(3), r"shape \(3,\); it must be \(7,\)")],
)
def test_a_declared_answer_of_another_shape_is_the_detectors_fault(trials, scores, message):
    detector = Hiss()
    detector.score = lambda batch: scores
    with pytest.raises(PluginError, match=message):
        check(detector, trials)


def test_logits_of_another_shape_are_the_detectors_fault(trials):
    detector = Hiss()
    detector.logits = lambda batch: np.zeros(len(batch))
    with pytest.raises(PluginError, match=r"logits of shape \(7,\); they must be \(7, classes\)"):
        check(detector, trials)


def test_clusters_that_are_too_few_are_said_not_hidden(trials):
    alone = trials.where((pl.col("speaker") == "s0") & pl.col("attack").is_in(["-", "X1"]), name="one speaker")
    said = finding(check(Hiss(), alone), BETTER)
    assert "have no interval, so nothing is shown of them" in said.detail and "are one cluster" in said.detail


def test_the_paired_interval_is_that_of_repeated_trials(trials):
    detector, replicates, seed = PadsWithZeros(), 30, 5
    found = check(detector, trials, replicates=replicates, seed=seed)
    listener = Listener(detector, len(trials))
    listener.hear(dict(enumerate(trials.paths)))
    clusters = cluster_rows(trials.frame, ("speaker", "attack"))
    total = replicates * sum(row.difference is not None for row in found.rows)
    drawn = draw_weights(clusters, total, np.random.default_rng(seed))
    weights = []
    for label in ("bonafide", "spoof"):
        cells = Cells(clusters, label)
        weights.append(cells.weights(drawn)[:, cells.index].astype(int))
    mask = trials.is_bonafide
    differences = []
    for bonafide, spoof in zip(*weights, strict=True):
        rates = [
            eer(np.repeat(scores[mask], bonafide), np.repeat(scores[~mask], spoof))
            for scores in (listener.scores["as declared"], listener.scores["repeat padding"])
        ]
        differences.append(rates[1] - rates[0])
    tail = (1 - found.paired_level) / 2
    estimate = rows(found)["repeat padding"].difference
    assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(differences, [tail, 1 - tail])), abs=1e-12)


def test_the_readings_are_those_that_the_card_leaves_open():
    def names(**keys):
        return [reading.name for reading in other_readings(Card(name="x", licence="", **keys))]

    whole = ["pre-emphasis 0.97", "zero mean, unit variance", "peak 1", "int16 scale"]
    assert names(window_s=64_600 / 16_000) == ["zero padding", "whole recording", "first 64,000 samples", *whole]
    assert names(window_s=4.0, padding="none") == [
        "zero padding",
        "repeat padding",
        "whole recording",
        "first 64,600 samples",
        *whole,
    ]
    assert names() == ["first 64,600 samples", "first 64,000 samples", *whole]
    assert names(sample_rate=8000)[1] == "first 32,000 samples"


def test_the_whole_recording_is_changed_before_it_is_cut():
    card = Card(name="x", licence="", window_s=4 / RATE)
    audio = np.array([0.1, -0.2, 0.4, 0.3, 0.8, -0.5], dtype=np.float32)
    readings = {reading.name: reading.hear(audio, card) for reading in other_readings(card)}
    slow = [audio[0]] + [audio[n] - 0.97 * audio[n - 1] for n in range(1, len(audio))]
    assert readings["pre-emphasis 0.97"] == pytest.approx(np.array(slow[:4]), abs=1e-7)
    assert readings["zero mean, unit variance"] == pytest.approx(
        ((audio - audio.mean()) / np.sqrt(audio.var() + 1e-7))[:4], abs=1e-6
    )
    assert readings["peak 1"] == pytest.approx(audio[:4] / 0.8)
    assert readings["int16 scale"] == pytest.approx(audio[:4] * 32_768)
    assert np.array_equal(readings["whole recording"], audio)
    assert all(given.dtype == np.float32 for given in readings.values())


def test_silence_stays_finite_under_every_transform():
    silence = np.zeros(10, dtype=np.float32)
    for make in (pre_emphasised, standardised, peak_normalised):
        assert np.array_equal(make(silence), silence)


def test_outputs_of_logits_take_the_class_and_sign_of_the_declared_score():
    logits = np.array([[0.5, 2.0], [1.0, -1.0]], dtype=np.float32)
    named = {name: take(logits).tolist() for name, take in outputs(2, Output(1)).items()}
    assert named["logit 0"] == [0.5, 1.0] and named["logit 1"] == [2.0, -1.0]
    assert named["logit 1 - logit 0"] == [1.5, -2.0]
    assert named["log-softmax of class 1"] == pytest.approx([-np.log1p(np.exp(-1.5)), -np.log1p(np.exp(2.0))])
    assert list(outputs(2, Output(0, -1))) == ["-logit 0", "-logit 1", "-(logit 0 - logit 1)", "-log-softmax of class 0"]
    assert list(outputs(3, Output(1))) == ["logit 0", "logit 1", "logit 2"]
