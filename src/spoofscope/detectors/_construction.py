"""Build an object from its class and the arguments that a recipe or a file gives; of a network, load the weights as well."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spoofscope.errors import PluginError, UserError, WeightsError
from spoofscope.fetch import sha256_of
from spoofscope.networks.checkpoint import read_state

CONFIG_KEYS = ("model_config", "model")  # in AASIST's JSON, and in the YAML of RawNet2 and RawGAT-ST
SHOWN = 3  # names that an error lists before it only counts


class Arguments(dict[str, Any]):
    """A mapping whose values are attributes as well: some models take a dictionary, others a command line's namespace."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(f"no argument '{name}'; given: {', '.join(self) or 'none'}")
        return self[name]


def read_arguments(args: Mapping[str, Any] | None, config: str | Path) -> dict[str, Any] | None:
    """Return the arguments of a class: those given, those of a file, or None.

    Parameters
    ----------
    args : mapping, optional
        The arguments themselves.
    config : path
        JSON or YAML file (by its suffix) that holds them: its key `model_config` or `model`, or all of it. Empty for none.

    Raises
    ------
    UserError
        If both are given, either is no mapping, or the file cannot be read.
    """
    if args is not None and config:
        raise UserError("args and config are both given; give the arguments of the class in one of them")
    if args is not None:
        if not isinstance(args, Mapping):
            raise UserError(f"args is {args!r}; it must be a mapping of names to values, such as {{'nb_samp': 64600}}")
        return dict(args)
    if not config:
        return None
    content = _read_config(Path(config))
    inner = next((content[key] for key in CONFIG_KEYS if isinstance(content.get(key), dict)), content)
    return dict(inner)


def _read_config(file: Path) -> dict[str, Any]:
    is_yaml = file.suffix.lower() in (".yaml", ".yml")
    try:
        text = file.read_text(encoding="utf-8")
        content = _parse_yaml(text, file) if is_yaml else json.loads(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read config {file}: {reason}. It must be {'YAML' if is_yaml else 'JSON'}.") from error
    if not isinstance(content, dict):
        raise UserError(f"config {file} holds a {type(content).__name__}; it must hold names and values")
    return content


def _parse_yaml(text: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise UserError(
            f"config {file} is YAML, which needs PyYAML: pip install pyyaml. Or write the same as JSON, or as args."
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def digest(arguments: Mapping[str, Any] | None) -> str:
    """Return the SHA-256 of arguments, whatever the order of their names; empty for none."""
    if arguments is None:
        return ""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True, default=repr).encode()).hexdigest()


def construct(found: type, arguments: Mapping[str, Any] | None, *, target: str) -> Any:
    """Construct a class, every argument given by its name.

    Parameters
    ----------
    found : type
        The class.
    arguments : mapping, optional
        Copied, so that a constructor that changes them changes nothing else.
    target : str
        What to call the class in an error.

    Raises
    ------
    UserError
        If an argument is none of its parameters, or one that it needs is missing.
    PluginError
        If the constructor raises.
    """
    parameters, given = _parameters(found), dict(arguments or {})
    unknown = [name for name in given if name not in parameters]
    if unknown and not _takes_any_name(parameters):
        raise UserError(
            f"{target} is not constructed with '{unknown[0]}'. Its parameters: {', '.join(parameters) or 'none'}. Mend args."
        )
    _refuse_missing(_needed(parameters, given), target)
    return _call(found, [], given, target)


def construct_network(found: type, arguments: Mapping[str, Any] | None, *, target: str, device: str) -> Any:
    """Construct a network: by name if every argument is one of its parameters, else with all of them as its first.

    The second is the contract of the AASIST family. A parameter `device` that `arguments` leave open is given `device`.

    Raises
    ------
    UserError
        If it needs arguments and none are given.
    PluginError
        If the constructor raises.
    """
    parameters, given = _parameters(found), dict(arguments or {})
    rest = {"device": device} if "device" in parameters and "device" not in given else {}
    needed = _needed(parameters, rest)
    if arguments is None:
        _refuse_missing(needed, target)
    by_name = set(given) <= set(parameters) and bool(given or not needed)
    if by_name or (_takes_any_name(parameters) and not needed):
        return _call(found, [], given | rest, target)
    return _call(found, [Arguments(given)], rest, target)


def _call(found: type, whole: list[Arguments], by_name: dict[str, Any], target: str) -> Any:
    try:
        return found(*copy.deepcopy(whole), **copy.deepcopy(by_name))
    except Exception as error:  # a plug-in's edge: anything may come out of it
        raise PluginError(f"cannot construct {target}: {type(error).__name__}: {error}") from error


def _refuse_missing(needed: Sequence[str], target: str) -> None:
    if needed:
        raise UserError(
            f"{target} is constructed with {', '.join(needed)}. Give args={{...}}, or a file that holds them: config='model.json'."
        )


def _parameters(found: type) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(found).parameters
    except ValueError:  # a class written in C
        return {}


def _takes_any_name(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _needed(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> list[str]:
    """Name the parameters without a default that are not given."""
    return [
        name
        for name, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in given
    ]


def build_network(found: type, arguments: Mapping[str, Any] | None, *, target: str, weights: str | Path, device: str) -> Any:
    """Construct a `torch.nn.Module`, give it its weights, and put it in evaluation mode.

    Raises
    ------
    WeightsError
        If the weights are not those of the network.
    UserError
        If no weights are given and the network draws its own at random.
    PluginError
        If it cannot be constructed.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        network = construct_network(found, arguments, target=target, device=device)
        if weights:
            _load(network, Path(weights), target)
        else:
            again = construct_network(found, arguments, target=target, device=device)
            _refuse_random(network, again, target)
    return network.to(device).eval()


def _refuse_random(network: Any, again: Any, target: str) -> None:
    """Raise `UserError` if two constructions differ: then nothing but chance has set these weights."""
    other = again.state_dict()
    random = [name for name, value in network.state_dict().items() if not value.equal(other[name])]
    if random:
        raise UserError(
            f"{target} draws {len(random)} of its {len(other)} tensors at random (first: {random[0]}). "
            "Give the trained ones: weights='model.pth'."
        )


def _load(network: Any, path: Path, target: str) -> None:
    state = read_state(path)
    if state and all(name.startswith("module.") for name in state):  # saved from inside DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    faults = []
    if misshapen := [name for name in found if name in own and own[name] != found[name]]:
        first = misshapen[0]
        faults.append(f"{len(misshapen)} have another shape (first: {first} is {found[first]}, expected {own[first]})")
    else:
        left = network.load_state_dict(state, strict=False)
        if left.missing_keys:
            faults.append(f"{len(left.missing_keys)} of {len(own)} tensors are missing ({_some(left.missing_keys)})")
        if left.unexpected_keys:
            faults.append(f"{len(left.unexpected_keys)} are unexpected ({_some(left.unexpected_keys)})")
    if faults:
        raise WeightsError(
            f"{path} is not a checkpoint of {target}: {'; '.join(faults)}. Give the weights that belong to the class, or the args or "
            "config that it was trained with."
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def weights_facts(weights: str | Path) -> dict[str, str]:
    """Return what a card says of a file of weights; nothing where none is named.

    Raises
    ------
    WeightsError
        If there is no such file.
    """
    if not weights:
        return {}
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}. Give the path of a checkpoint, relative to the working folder.")
    return {"weights_file": path.name, "weights_sha256": sha256_of(path)}
