"""Python code as a detector: what it is asked, what it must answer, and what is said when it does not."""

import gc
import os
import sys

import numpy as np
import pytest

from spoofscope.cards import identity
from spoofscope.checks.detector import check_detector
from spoofscope.detectors import build_detector
from spoofscope.errors import AudioError, PluginError, UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.registry import import_file


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return [(level * rng.standard_normal(800)).astype(np.float32) for level in (0.1, 0.3, 0.2)]


def mean_level(batch) -> list[float]:
    return [float(np.float32(np.mean(np.abs(audio)))) for audio in batch]


@pytest.fixture
def functions(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\n"
        "heard = []\n"
        "def batch(recordings, sample_rate):\n"
        "    heard.append((len(recordings), sample_rate))\n"
        "    return np.array([np.mean(np.abs(one)) for one in recordings])\n"
        "def one(recording, sample_rate):\n"
        "    return np.mean(np.abs(recording))\n"
        "def two_columns(recordings, sample_rate):\n"
        "    return np.zeros((len(recordings), 2))\n"
        "def broken(recordings, sample_rate):\n"
        "    raise KeyError('weights')\n"
        "class Model:\n"
        "    def __call__(self, recordings, sample_rate):\n"
        "        return [1.0] * len(recordings)\n"
        "model = Model()\n"
        "number = 3\n"
    )
    return file


def test_a_function_of_a_file_scores_the_whole_batch_at_its_rate(functions, batch):
    detector = build_detector("python", target=f"{functions}:batch", sample_rate=8000, window_s=2.5, padding="zero")
    scores = detector.score(batch)
    assert scores.dtype == np.float32
    assert scores.tolist() == mean_level(batch)
    assert sys.modules[detector._function.__module__].heard == [(3, 8000)]
    assert (detector.card.sample_rate, detector.card.window_s, detector.card.padding) == (8000, 2.5, "zero")
    assert detector.card.name == "mine.batch"


def test_a_function_of_one_recording_is_called_for_each(functions, batch):
    detector = build_detector("python", target=f"{functions}:one", takes="recording")
    assert detector.score(batch).tolist() == mean_level(batch)


def test_a_function_is_found_in_an_importable_module(batch):
    detector = build_detector("python", target="tests.unit.detectors.test_python:level_of", takes="recording")
    assert detector.score(batch).tolist() == mean_level(batch)


def level_of(recording, sample_rate):
    return np.mean(np.abs(recording))


def test_an_instance_that_can_be_called_will_do(functions, batch):
    assert build_detector("python", target=f"{functions}:model").score(batch).tolist() == [1, 1, 1]


def test_spoof_polarity_negates_what_the_function_returns(functions, batch):
    detector = build_detector("python", target=f"{functions}:batch", polarity="spoof")
    assert detector.flipped is True
    assert detector.score(batch).tolist() == [-level for level in mean_level(batch)]


def test_a_changed_source_is_another_detector_to_the_key(functions):
    one = identity(build_detector("python", target=f"{functions}:batch"))
    assert one == identity(build_detector("python", target=f"{functions}:batch"))
    functions.write_text(functions.read_text() + "# changed\n")
    assert identity(build_detector("python", target=f"{functions}:batch"))["settings"] != one["settings"]


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("mine", UserError, "write module:name or file.py:name"),
        ("none.py:f", UserError, r"no such file: .*none\.py"),
        ("a_package_that_is_not_there:f", PluginError, "cannot import .*ModuleNotFoundError"),
        ("{file}:absent", PluginError, "'absent' in .* is absent"),
        ("{file}:number", PluginError, "'number' in .* is not callable"),
    ],
)
def test_a_target_that_is_not_there_is_refused_when_built(functions, target, error, message):
    with pytest.raises(error, match=message):
        build_detector("python", target=target.format(file=functions))


def test_an_answer_of_another_shape_and_an_exception_are_explained(functions, batch):
    with pytest.raises(PluginError, match=r"two_columns answered 3 recordings with shape \(3, 2\); it must be \(3,\)"):
        build_detector("python", target=f"{functions}:two_columns").score(batch)
    with pytest.raises(PluginError, match="broken failed: KeyError: 'weights'"):
        build_detector("python", target=f"{functions}:broken").score(batch)


SCORING_CLASSES = '''
import numpy as np

calls = []

class Level:
    """As speech_spoof_bench's: one rate for each recording, no more than `batch_size` at once."""

    name = "level"
    expected_sample_rate = 8000
    batch_size = 2

    def load(self):
        calls.append("load")

    def unload(self):
        calls.append("unload")

    def score_batch(self, audios, srs):
        calls.append((len(audios), srs))
        return [self.score(audio, sr) for audio, sr in zip(audios, srs)]

    def score(self, audio, sr):
        return float(np.mean(np.abs(audio)))


class Gain:
    def __init__(self, gain, *, offset=0.0):
        self.gain, self.offset = gain, offset

    def score_batch(self, recordings, sample_rate):
        calls.append((len(recordings), sample_rate))
        return np.array([self.gain * np.mean(np.abs(one)) + self.offset for one in recordings])


class Wide:
    def score_batch(self, recordings, sample_rate):
        return np.zeros((len(recordings), 2))


class Broken:
    def score_batch(self, recordings, sample_rate):
        raise KeyError("weights")


class NeverLoads(Broken):
    def load(self):
        raise OSError("no licence server")


class NeverUnloads(Gain):
    def __init__(self):
        super().__init__(1.0)

    def unload(self):
        raise OSError("no licence server")


class NeverBuilds(Broken):
    def __init__(self):
        raise ValueError("no such model")


class Stranger:
    """Neither scores batches nor is a network."""
'''


@pytest.fixture
def classes(tmp_path):
    file = tmp_path / "classes.py"
    file.write_text(SCORING_CLASSES)
    return file


def calls_of(detector) -> list:
    return sys.modules[type(detector._model).__module__].calls


def test_a_class_that_scores_is_loaded_once_and_given_its_rate_and_no_more_than_its_batch(classes, batch):
    detector = build_detector("python", target=f"{classes}:Level")
    calls = calls_of(detector)
    assert calls == ["load"] and detector.card.sample_rate == 8000 and detector.card.name == "classes.Level"
    scores = detector.score(batch)
    assert scores.dtype == np.float32 and scores.tolist() == mean_level(batch)
    assert calls == ["load", (2, [8000, 8000]), (1, [8000])]
    assert detector.score([]).shape == (0,)


def test_a_class_is_unloaded_when_it_is_no_longer_needed_whatever_comes_of_it(classes, batch):
    detector = build_detector("python", target=f"{classes}:Level")
    calls = calls_of(detector)
    del detector
    gc.collect()
    assert calls == ["load", "unload"]
    detector = build_detector("python", target=f"{classes}:NeverUnloads")
    detector.score(batch)
    del detector
    gc.collect()


def test_a_class_is_constructed_with_its_args_by_name_and_given_one_rate(classes, batch):
    detector = build_detector("python", target=f"{classes}:Gain", args={"gain": -2.0, "offset": 1.0})
    expected = [np.float32(-2 * np.mean(np.abs(audio)) + 1.0) for audio in batch]
    np.testing.assert_allclose(detector.score(batch), expected, rtol=1e-6)
    assert calls_of(detector) == [(3, 16000)]
    assert [finding for finding in check_detector(detector) if not finding.ok] == []
    other = build_detector("python", target=f"{classes}:Gain", args={"gain": -2.0})
    assert identity(other)["settings"]["args_sha256"] != identity(detector)["settings"]["args_sha256"]


def test_spoof_polarity_negates_what_a_class_answers(classes, batch):
    detector = build_detector("python", target=f"{classes}:Level", polarity="spoof")
    assert detector.score(batch).tolist() == [-level for level in mean_level(batch)]


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("Gain", {}, UserError, r"classes\.py:Gain is constructed with gain\. Give args=\{\.\.\.\}, or a file"),
        ("Gain", {"args": 3}, UserError, "args is 3; it must be a mapping"),
        ("Gain", {"args": {"offset": 1.0}}, UserError, r"classes\.py:Gain is constructed with gain\. Give args"),
        ("Gain", {"args": {"gian": 1}}, UserError, r"Gain is not constructed with 'gian'\. Its parameters: gain, offset\."),
        ("Level", {"args": {"gain": 1}}, UserError, r"Level is not constructed with 'gain'\. Its parameters: none\."),
        ("Level", {"sample_rate": 16_000}, UserError, "sample_rate is 16000, but .*Level expects 8000 Hz"),
        (
            "Level",
            {"weights": "x.pth"},
            UserError,
            "is a class that scores, for which weights has no meaning.*are args, config",
        ),
        ("Level", {"takes": "recording"}, UserError, "is a class that scores, for which takes has no meaning"),
        ("NeverLoads", {}, PluginError, r"NeverLoads: load\(\) failed: OSError: no licence server"),
        ("NeverBuilds", {}, PluginError, "cannot construct .*NeverBuilds: ValueError: no such model"),
        ("Stranger", {}, PluginError, r"Stranger is a class without the method score_batch\(recordings, sample_rate\)"),
        ("Wide", {}, PluginError, r"score_batch answered 3 recordings with shape \(3, 2\); it must be \(3,\)"),
        ("Broken", {}, PluginError, "Broken: score_batch failed: KeyError: 'weights'"),
    ],
)
def test_a_class_that_breaks_the_contract_is_explained(classes, batch, name, options, error, message):
    with pytest.raises(error, match=message):
        build_detector("python", target=f"{classes}:{name}", **options).score(batch)


def test_a_function_takes_none_of_the_options_of_a_class(functions):
    with pytest.raises(UserError, match="is a function, for which bonafide has no meaning"):
        build_detector("python", target=f"{functions}:batch", bonafide=1)


NETWORKS = '''
import torch
from torch import nn


class Model(nn.Module):
    """AASIST's contract: a dictionary of arguments, then (last hidden layer, logits)."""

    def __init__(self, d_args):
        super().__init__()
        self.window = d_args["window"]
        d_args["filts"][0] = 99  # some models change what they are given
        self.hidden = nn.Linear(self.window, d_args["filts"][1])
        self.drop = nn.Dropout(0.5)
        self.bn = nn.BatchNorm1d(d_args["filts"][1])
        self.out_layer = nn.Linear(d_args["filts"][1], d_args.get("classes", 2))

    def forward(self, x, Freq_aug=False):
        x = x.unfold(1, self.window, self.window)
        hidden = self.bn(self.drop(torch.relu(self.hidden(x)).mean(dim=1)))
        return hidden, self.out_layer(hidden)


class Namespaced(Model):
    """SSL_Anti-spoofing's contract: a namespace of arguments and a device, then logits alone."""

    def __init__(self, args, device):
        super().__init__({"window": args.window, "filts": list(args.filts)})
        self.device = device

    def forward(self, x):
        assert isinstance(self.device, str)
        return super().forward(x.to(self.device))[1]


class One(Namespaced):
    def forward(self, x):
        logits = super().forward(x)
        return logits[:, :1] - logits[:, 1:]


class Flat(One):
    def forward(self, x):
        return super().forward(x)[:, 0]


class Odd(Namespaced):
    def forward(self, x):
        return {"loss": 3.0}


class Fixed(nn.Module):
    """A network with nothing to learn."""

    def forward(self, x):
        return x.abs().mean(dim=1)
'''
ARGS = {"window": 100, "filts": [1, 8]}


@pytest.fixture
def networks(tmp_path):
    file = tmp_path / "networks.py"
    file.write_text(NETWORKS)
    return file


@pytest.fixture
def trained(networks):
    """Return the file of a network's weights, and the network itself in evaluation mode."""
    torch = pytest.importorskip("torch")
    module = import_file(networks, "networks_of_a_test")
    torch.manual_seed(0)
    network = module.Model({"window": 100, "filts": [1, 8]})
    network.bn.running_mean += 0.1
    torch.save(network.state_dict(), networks.with_name("model.pth"))
    return networks.with_name("model.pth"), network.eval()


def forward(network, audio):
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(audio)[None])[1][0].numpy()


def test_a_network_by_aasists_contract_gives_the_logit_of_a_direct_pass(networks, trained, batch):
    weights, network = trained
    detector = build_detector("python", target=f"{networks}:Model", args=ARGS, weights=str(weights), bonafide=1)
    scores = detector.score(batch)
    expected = np.stack([forward(network, audio) for audio in batch])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, expected[:, 1])
    np.testing.assert_array_equal(detector.logits(batch), expected)
    assert detector.card.output == f"column 1 of the 2 that {networks}:Model answers"
    assert detector.card.weights_sha256 == sha256_of(weights)
    assert ARGS == {"window": 100, "filts": [1, 8]}
    assert detector.score([]).shape == (0,) and detector.logits([]).shape == (0, 2)


def test_the_column_of_bona_fide_and_the_difference_are_as_asked(networks, trained, batch):
    weights, network = trained
    logits = np.stack([forward(network, audio) for audio in batch])
    options = {"target": f"{networks}:Model", "args": ARGS, "weights": str(weights)}
    first = build_detector("python", **options, bonafide=0)
    np.testing.assert_array_equal(first.score(batch), logits[:, 0])
    np.testing.assert_array_equal(first.logits(batch), logits[:, ::-1])
    difference = build_detector("python", **options, bonafide=1, score="difference")
    np.testing.assert_array_equal(difference.score(batch), logits[:, 1] - logits[:, 0])
    assert difference.card.output.startswith("column 1 minus the other")
    assert identity(first)["settings"] != identity(difference)["settings"]


@pytest.mark.parametrize("name", ["Namespaced", "One", "Flat"])
def test_a_namespace_and_a_device_are_given_and_one_number_needs_no_column(networks, trained, batch, name):
    weights, network = trained
    logits = np.stack([forward(network, audio) for audio in batch])
    column = {"bonafide": 1} if name == "Namespaced" else {}
    detector = build_detector("python", target=f"{networks}:{name}", args=ARGS, weights=str(weights), **column)
    expected = logits[:, 1] if column else logits[:, 0] - logits[:, 1]
    np.testing.assert_allclose(detector.score(batch), expected, rtol=1e-6)
    if not column:
        flipped = build_detector("python", target=f"{networks}:{name}", args=ARGS, weights=str(weights), polarity="spoof")
        np.testing.assert_array_equal(flipped.score(batch), -detector.score(batch))


def test_a_network_keeps_the_contract_in_its_window(networks, trained):
    weights, _ = trained
    options = {"args": ARGS, "weights": str(weights), "bonafide": 1, "window_s": 1.0}
    detector = build_detector("python", target=f"{networks}:Model", **options)
    assert [finding for finding in check_detector(detector) if not finding.ok] == []


def test_a_recording_that_a_network_cannot_hear_costs_only_itself(networks, trained, batch):
    weights, _ = trained
    detector = build_detector("python", target=f"{networks}:Model", args=ARGS, weights=str(weights), bonafide=1)
    with pytest.raises(AudioError, match=r"Model cannot score a recording of 7 samples \(RuntimeError: "):
        detector.score([*batch, np.ones(7, dtype=np.float32)])


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("AASIST.conf", '{"model_config": {"window": 100, "filts": [1, 8]}, "batch_size": 24}'),
        ("plain.json", '{"window": 100, "filts": [1, 8]}'),
        ("RawGAT_ST.yaml", "optimizer: Adam\nmodel:\n  window: 100\n  filts: [1, 8]  # filters\n"),
    ],
)
def test_arguments_are_read_from_the_files_that_the_family_publishes(networks, trained, batch, file, text):
    if file.endswith(".yaml"):
        pytest.importorskip("yaml")
    weights, network = trained
    config = networks.with_name(file)
    config.write_text(text)
    detector = build_detector("python", target=f"{networks}:Model", config=str(config), weights=str(weights), bonafide=1)
    np.testing.assert_array_equal(detector.score(batch), [forward(network, audio)[1] for audio in batch])
    given = build_detector("python", target=f"{networks}:Model", args=ARGS, weights=str(weights), bonafide=1)
    assert identity(given)["settings"] == identity(detector)["settings"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("none.json", None, "cannot read config .*none.json: No such file"),
        ("broken.json", "{", "cannot read config .*broken.json: Expecting property name.*It must be JSON"),
        ("broken.yaml", "a: [1", "cannot read config .*broken.yaml: .*It must be YAML"),
        ("list.json", "[1, 2]", "list.json holds a list; it must hold names and values"),
    ],
)
def test_a_file_of_arguments_that_is_none_is_refused(networks, trained, file, text, message):
    if file.endswith(".yaml"):
        pytest.importorskip("yaml")
    config = networks.with_name(file)
    if text is not None:
        config.write_text(text)
    with pytest.raises(UserError, match=message):
        build_detector("python", target=f"{networks}:Model", config=str(config), weights=str(trained[0]), bonafide=1)


def test_yaml_without_pyyaml_says_what_to_install(networks, trained, monkeypatch):
    config = networks.with_name("model.yaml")
    config.write_text("window: 100\nfilts: [1, 8]\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UserError, match="is YAML, which needs PyYAML: pip install pyyaml"):
        build_detector("python", target=f"{networks}:Model", config=str(config), weights=str(trained[0]), bonafide=1)


def test_weights_are_read_from_safetensors_and_from_inside_data_parallel(networks, trained, batch):
    import torch
    from safetensors.torch import save_file

    weights, network = trained
    expected = [forward(network, audio)[1] for audio in batch]
    save_file(network.state_dict(), weights.with_suffix(".safetensors"))
    parallel = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save(parallel, weights.with_name("parallel.pth"))
    for file in ("model.safetensors", "parallel.pth"):
        options = {"args": ARGS, "weights": str(weights.with_name(file)), "bonafide": 1}
        detector = build_detector("python", target=f"{networks}:Model", **options)
        np.testing.assert_array_equal(detector.score(batch), expected)


def test_weights_of_another_network_are_refused_naming_what_differs(networks, trained):
    import torch

    weights, network = trained
    state = network.state_dict()
    renamed = {name.replace("out_layer", "fc"): value for name, value in state.items()}
    torch.save(renamed, weights.with_name("renamed.pth"))
    options = {"target": f"{networks}:Model", "bonafide": 1}
    with pytest.raises(
        WeightsError,
        match=r"renamed\.pth is not a checkpoint of .*Model: 2 of 9 tensors are missing \(out_layer\.weight, out_layer\.bias\); "
        r"2 are unexpected \(fc\.weight, fc\.bias\)",
    ):
        build_detector("python", args=ARGS, weights=str(weights.with_name("renamed.pth")), **options)
    wider = {"window": 100, "filts": [1, 9]}
    with pytest.raises(WeightsError, match=r"7 have another shape \(first: hidden\.weight is \(8, 100\), expected \(9, 100\)"):
        build_detector("python", args=wider, weights=str(weights), **options)
    with pytest.raises(WeightsError, match=r"no weights at none\.pth"):
        build_detector("python", args=ARGS, weights="none.pth", **options)


def test_weights_that_would_run_code_are_refused(networks, trained):
    import torch

    trace = networks.with_name("trace")
    torch.save({"out_layer.bias": Payload(trace)}, networks.with_name("evil.pth"))
    options = {"args": ARGS, "weights": str(networks.with_name("evil.pth")), "bonafide": 1}
    with pytest.raises(WeightsError, match=r"asks for posix\.mkdir, which could run anything"):
        build_detector("python", target=f"{networks}:Model", **options)
    assert not trace.exists()


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_network_whose_weights_nothing_but_chance_has_set_is_refused(networks, trained, batch):
    import torch

    state = torch.get_rng_state()
    with pytest.raises(UserError, match=r"Model draws 4 of its 9 tensors at random \(first: hidden\.weight\)"):
        build_detector("python", target=f"{networks}:Model", args=ARGS, bonafide=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert build_detector("python", target=f"{networks}:Fixed").score(batch).tolist() == pytest.approx(mean_level(batch))


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("Model", {"args": None}, UserError, r"Model is constructed with d_args\. Give args=\{\.\.\.\}"),
        ("Model", {"args": {"filts": [1, 8]}}, PluginError, "cannot construct .*Model: KeyError: 'window'"),
        ("Namespaced", {"args": {"filts": [1, 8]}}, PluginError, "AttributeError: no argument 'window'; given: filts"),
        ("Model", {"config": "x.json"}, UserError, "args and config are both given"),
        ("Model", {"bonafide": None}, UserError, "Model answers 2 numbers for each recording; say which column"),
        ("Model", {"bonafide": 2}, UserError, "bonafide is 2, but .*Model answers 2 numbers"),
        ("Model", {"score": "ratio"}, UserError, "score is 'ratio'; it must be logit or difference"),
        ("Model", {"polarity": "spoof"}, UserError, "already says which column stands for bona fide"),
        ("Model", {"device": "gpu"}, UserError, "device is 'gpu'; it must be cpu, cuda"),
        ("Model", {"takes": "recording"}, UserError, "is a network, for which takes has no meaning"),
        ("Odd", {}, PluginError, r"Odd answered one recording with dict"),
        ("Model", {"window_s": 0.001}, PluginError, "Model fails on a tone of 16 samples.*It must take"),
    ],
)
def test_a_network_that_does_not_fit_its_options_is_explained_when_built(networks, trained, name, options, error, message):
    asked = {"args": ARGS, "weights": str(trained[0]), "bonafide": 1} | options
    with pytest.raises(error, match=message):
        build_detector("python", target=f"{networks}:{name}", **asked)


def test_what_decides_the_scores_of_a_network_is_in_its_key(networks, trained):
    import torch

    weights, network = trained

    def key():
        return identity(build_detector("python", target=f"{networks}:Model", args=ARGS, weights=str(weights), bonafide=1))

    first = key()
    assert key() == first
    networks.write_text(networks.read_text() + "# changed\n")
    changed = key()
    assert changed["settings"]["source_sha256"] != first["settings"]["source_sha256"]
    torch.save({name: value + 1 for name, value in network.state_dict().items()}, weights)
    assert key()["weights_sha256"] != changed["weights_sha256"]
