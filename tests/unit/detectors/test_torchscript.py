"""A TorchScript file as a detector: how it is given sound, which of its numbers is the score, and what is said of other files."""

import hashlib
import io
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch

from spoofscope.cards import identity
from spoofscope.checks.detector import check_detector
from spoofscope.detectors import build_detector
from spoofscope.errors import AudioError, MissingExtra, PluginError, RecipeError, UserError, WeightsError

RNG = np.random.default_rng(3)
BATCH = [(level * RNG.standard_normal(size)).astype(np.float32) for level, size in ((0.1, 800), (0.3, 1200), (0.2, 800))]


def mean_level(batch) -> list[float]:
    return [float(np.mean(np.abs(audio))) for audio in batch]


class Level(torch.nn.Module):
    """The mean level of (..., samples), times 1, 2, 3 ... in so many columns; (batch,) for 0."""

    def __init__(self, columns: int, rank: int = 2) -> None:
        super().__init__()
        self.columns, self.rank = columns, rank
        self.register_buffer("gain", torch.arange(1, max(columns, 1) + 1).float())

    def forward(self, x):
        if x.dim() != self.rank:
            raise ValueError("another rank")
        level = x.abs().mean(-1).reshape(-1, 1) * self.gain
        return level if self.columns else level[:, 0]


class Aasist(torch.nn.Module):
    """Answers (hidden, logits), of sums that are long enough for a batch to change their rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.front = torch.nn.Conv1d(1, 64, 400, stride=80, padding=200)
        self.back = torch.nn.GRU(64, 64, batch_first=True)
        self.drop = torch.nn.Dropout(0.5)
        self.out = torch.nn.Linear(64, 2)

    def forward(self, x):
        hidden = torch.relu(self.front(x[:, None]))
        hidden = self.back(hidden.transpose(1, 2))[0].mean(1)
        return hidden, self.out(self.drop(hidden))


def save(module, path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path


@pytest.fixture
def model(tmp_path):
    return lambda columns=1, rank=2: save(Level(columns, rank).eval(), tmp_path / "level.pt")


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("columns", [0, 1])
def test_a_model_is_given_sound_of_the_rank_that_it_takes(model, rank, columns):
    detector = build_detector("torchscript", model(columns, rank), rank=rank)
    scores = detector.score(BATCH)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, mean_level(BATCH), rtol=1e-6)
    assert (detector.card.name, detector.card.window_s) == ("level", None)


def test_a_model_that_was_saved_while_training_keeps_the_contract_bit_for_bit(tmp_path):
    path = save(Aasist().train(), tmp_path / "aasist.pt")
    detector = build_detector("torchscript", file=path, bonafide=1, threads=2)
    assert [finding for finding in check_detector(detector) if not finding.ok] == []


def test_the_logits_of_a_model_that_also_answers_its_hidden_layer_are_found(tmp_path):
    module = Aasist().eval()
    detector = build_detector("torchscript", file=save(module, tmp_path / "aasist.pt"), bonafide=1)
    with torch.inference_mode():
        expected = torch.cat([module(torch.from_numpy(audio)[None])[1] for audio in BATCH]).numpy()
    np.testing.assert_allclose(detector.logits(BATCH), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(detector.score(BATCH), detector.logits(BATCH)[:, 1])


def test_neither_threads_nor_earlier_calls_change_a_score(tmp_path):
    path = save(Aasist().eval(), tmp_path / "aasist.pt")
    rng = np.random.default_rng(1)
    batch = [rng.standard_normal(size).astype(np.float32) for size in (16_000, 16_000, 4_000, 9_999, 16_000)]
    detectors = [build_detector("torchscript", file=path, bonafide=1, threads=threads) for threads in (1, 2, 3)]
    first = detectors[0].score(batch)
    for detector in detectors * 4:
        np.testing.assert_array_equal(first, detector.score(batch))


def test_a_batch_at_once_would_change_the_last_digits_which_is_why_there_is_none(tmp_path):
    module = Aasist().eval()
    detector = build_detector("torchscript", file=save(module, tmp_path / "aasist.pt"), bonafide=1)
    batch = np.random.default_rng(1).standard_normal((8, 64_600)).astype(np.float32)
    with torch.inference_mode():
        together = module(torch.from_numpy(batch))[1].numpy()
    np.testing.assert_allclose(detector.logits(list(batch)), together, rtol=1e-3)
    assert not np.array_equal(detector.logits(list(batch)), together)


def test_an_empty_batch_has_no_scores(model):
    detector = build_detector("torchscript", file=model(2), bonafide=0)
    assert detector.score([]).shape == (0,)
    assert detector.logits([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "factor"), [({"bonafide": 0}, 1), ({"bonafide": 1}, 2), ({"bonafide": 0, "score": "difference"}, -1)]
)
def test_the_column_of_bona_fide_or_its_lead_is_the_score(model, options, factor):
    detector = build_detector("torchscript", file=model(2), **options)
    np.testing.assert_allclose(detector.score(BATCH), factor * np.array(mean_level(BATCH)), rtol=1e-5)


def test_logits_give_spoof_first_and_bona_fide_second(model):
    pair = build_detector("torchscript", file=model(2), bonafide=0).logits(BATCH)
    assert pair.dtype == np.float32
    np.testing.assert_allclose(pair, np.array(mean_level(BATCH))[:, None] * [2, 1], rtol=1e-6)


def test_spoof_polarity_turns_the_one_number_of_a_model_around(model):
    detector = build_detector("torchscript", file=model(), polarity="spoof", name="theirs", trained_on=["a/train"])
    assert detector.flipped is True
    np.testing.assert_allclose(detector.score(BATCH), -np.array(mean_level(BATCH)), rtol=1e-6)
    assert (detector.card.name, detector.card.trained_on) == ("theirs", ("a/train",))
    assert detector.card.output == "the number that level.pt answers"


def test_a_window_is_cut_and_filled_as_the_card_says(model):
    options = {"window_s": 0.25, "sample_rate": 4000}
    scores = build_detector("torchscript", file=model(), padding="zero", **options).score(BATCH)
    np.testing.assert_allclose(scores[0], mean_level(BATCH)[0] * 0.8, rtol=1e-5)
    np.testing.assert_allclose(scores[1], mean_level([BATCH[1][:1000]])[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        (2, {}, UserError, "level.pt answers 2 numbers for each recording; say which column stands for bona fide"),
        (2, {"bonafide": 2}, UserError, "bonafide is 2, but level.pt answers 2 numbers"),
        (2, {"bonafide": 1, "polarity": "spoof"}, UserError, "polarity='spoof' would turn it around"),
        (2, {"bonafide": 1, "score": "softmax"}, UserError, "score is 'softmax'; it must be logit or difference"),
        (1, {"bonafide": 0}, UserError, "one number for each recording, so bonafide=0 has no meaning"),
        (1, {"rank": 4}, UserError, r"rank is 4; it must be 1 for \(samples\), 2 for \(batch, samples\) or 3"),
        (1, {"rank": 3}, PluginError, "level.pt fails on a tone .*another rank.* For .samples. say rank=1"),
        (1, {"threads": 0}, UserError, "threads is 0; it must be at least 1"),
        (1, {"device": "tpu"}, RecipeError, "device is 'tpu'; it must be cpu, cuda, or cuda and a number"),
        (1, {"polarity": "fake"}, UserError, "polarity is 'fake'; say which class"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused_when_built(model, columns, options, error, message):
    with pytest.raises(error, match=message):
        build_detector("torchscript", file=model(columns), **options)


def test_a_graphics_processor_that_is_not_there_is_refused(model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match="PyTorch finds no graphics processor here"):
        build_detector("torchscript", file=model(), device="cuda")


class Strict(torch.nn.Module):
    def forward(self, x):
        if x.shape[-1] < 1000:
            raise ValueError("less than a window")
        return x.abs().mean(-1)


def test_a_recording_that_the_model_fails_on_costs_only_itself(tmp_path):
    detector = build_detector("torchscript", file=save(Strict(), tmp_path / "strict.pt"))
    assert detector.score(BATCH[1:2]).shape == (1,)
    with pytest.raises(AudioError, match=r"strict\.pt cannot score a recording of 800 samples \(.*less than a window\)"):
        detector.score(BATCH)


class Named(torch.nn.Module):
    def forward(self, x) -> dict[str, torch.Tensor]:
        return {"frames": x[:, None], "logits": x.abs().mean(-1), "class_weights": x[0, :5], "loss": x.abs().mean()}


class Texts(torch.nn.Module):
    def forward(self, x) -> tuple[str, torch.Tensor]:
        return "spoof", x[:, None, :]


class Decisions(torch.nn.Module):
    def forward(self, x):
        return (x.mean(-1) > 0).long()


def test_a_tensor_with_a_row_for_each_recording_is_found_by_its_shape(tmp_path):
    detector = build_detector("torchscript", file=save(Named(), tmp_path / "named.pt"))
    np.testing.assert_allclose(detector.score(BATCH), mean_level(BATCH), rtol=1e-6)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Texts(), r"answered one recording with tuple \(str, \(1, 1, 64000\)\); it must be a tensor of 1 rows"),
        (Decisions(), "answered int64; scores are floating-point numbers"),
    ],
)
def test_an_answer_without_scores_is_described(tmp_path, module, message):
    with pytest.raises(PluginError, match=message):
        build_detector("torchscript", file=save(module, tmp_path / "m.pt"))


def test_the_file_and_the_options_are_part_of_the_key(model):
    path = model(2)
    one = build_detector("torchscript", file=path, bonafide=1)
    assert one.card.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert identity(build_detector("torchscript", file=path, bonafide=1)) == identity(one)
    assert identity(build_detector("torchscript", file=path, bonafide=0)) != identity(one)
    assert identity(build_detector("torchscript", file=model(3), bonafide=1))["weights_sha256"] != one.card.weights_sha256


def checkpoint(**how) -> bytes:
    file = io.BytesIO()
    torch.save(Level(2).state_dict(), file, **how)
    return file.getvalue()


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for name in names:
            zipped.writestr(name, "{}")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (checkpoint(), r"m\.pt is a checkpoint, as torch\.save writes it: weights without their program\. Load the network in"),
        (checkpoint(_use_new_zipfile_serialization=False), "is a checkpoint in PyTorch's old format: .*torch.jit.trace"),
        (archive("m/models/model.json", "m/data/weights/0"), r"is a program of torch\.export, not TorchScript.*ONNX"),
        (archive("m/notes.txt"), "is a zip archive of something else than TorchScript"),
        (archive("m/constants.pkl", "m/data.pkl"), r"PyTorch [\d.]+\S* cannot load .*m\.pt \("),
        (b"<!DOCTYPE html>", "is not a TorchScript archive"),
        (b"", "is not a TorchScript archive"),
    ],
)
def test_a_file_of_another_kind_is_recognised_and_the_way_out_is_said(tmp_path, content, message):
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        build_detector("torchscript", file=path)


def test_a_file_that_is_cut_short_is_named(model, tmp_path):
    content, path = model().read_bytes(), tmp_path / "cut.pt"
    for size in range(4, len(content), len(content) // 20):
        path.write_bytes(content[:size])
        with pytest.raises(WeightsError, match=r"cut\.pt is cut short\. Fetch it again"):
            build_detector("torchscript", file=path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"no TorchScript file at .*none\.pt"):
        build_detector("torchscript", file=tmp_path / "none.pt")


def test_a_missing_package_is_named_with_its_extra(model, monkeypatch):
    path = model()
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"torchscript needs the extra 'torch': pip install 'spoofscope\[torch\]'"):
        build_detector("torchscript", file=path)
