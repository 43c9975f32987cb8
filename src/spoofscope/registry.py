"""Look things up by name: what a room holds, what plug-ins add, and what to say when a name is missed."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import zlib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from spoofscope.errors import PluginError, UnknownName, UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind, filled by decorators when the files of a room are imported.

    Built-ins, files given by `--plugin` and installed packages come through the same door: a module that
    registers something when imported. A room is imported at the first look-up, entry points when a look-up
    would otherwise miss or everything is listed.
    """

    def __init__(self, kind: str, room: str) -> None:
        self.kind = kind
        self.room = room
        self._things: dict[str, T] = {}
        self._origins: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._room_loaded = False
        self._entry_points_loaded = False

    def add(self, name: str, thing: T, *, origin: str) -> None:
        """Register `thing` under `name`; another thing offering the same name is an error naming both files.

        A file that is imported again may offer its things again.
        """
        known = self._origins.get(name)
        if known is not None and (known != origin or _qualname(self._things[name]) != _qualname(thing)):
            raise PluginError(f"two {self.kind}s are named '{name}': one in {known}, one in {origin}. Rename one of them.")
        self._things[name] = thing
        self._origins[name] = origin

    def get(self, name: str) -> T:
        """Return what is registered as `name`.

        Raises
        ------
        UnknownName
            If nothing is; the message gives the nearest name, the list, and any plug-in that failed to import.
        """
        self._load_room()
        if name not in self._things:
            self._load_entry_points()
        if name in self._things:
            return self._things[name]
        raise UnknownName(self._missed(name))

    def build(self, name: str, /, *source: str, **options: Any) -> Any:
        """Call what is registered as `name` with its settings; `source`, if given, is the first of them.

        Raises
        ------
        UnknownName
            If nothing is.
        UserError
            If a setting is none of its own, is given twice, or one that it needs is missing.
        """
        factory: Any = self.get(name)
        parameters = inspect.signature(factory).parameters
        accepted = ", ".join(parameters) or "none"
        if source:
            first = next(iter(parameters), None)
            if first is None or first in options:
                why = f"'{first}' is given twice" if first else "it takes no options"
                raise UserError(f"{self.kind} {name}: '{source[0]}' cannot be placed, since {why}.")
            options = {first: source[0], **options}
        for option in options:
            if option not in parameters:
                near = difflib.get_close_matches(option, parameters, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise UserError(f"{self.kind} {name} has no option '{option}'.{hint} Its options: {accepted}.")
        for option, parameter in parameters.items():
            if parameter.default is parameter.empty and option not in options:
                raise UserError(
                    f"{self.kind} {name} needs the option '{option}': {name}({option}=...). Its options: {accepted}."
                )
        return factory(**options)

    def names(self) -> list[str]:
        """Every known name, sorted."""
        self._load_room()
        self._load_entry_points()
        return sorted(self._things)

    def items(self) -> Iterator[tuple[str, T]]:
        """Every known name with its thing, sorted by name."""
        for name in self.names():
            yield name, self._things[name]

    def origin(self, name: str) -> str:
        """Name the file that registered `name`."""
        self.get(name)
        return self._origins[name]

    def _load_room(self) -> None:
        if self._room_loaded:
            return
        package = importlib.import_module(self.room)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.room}.{module.name}")
        self._room_loaded = True

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        for entry in entry_points(group=self.room):
            try:
                entry.load()
            except PluginError:
                raise
            except Exception as error:  # a plug-in's edge: anything may come out of it
                self._broken[entry.value] = f"{type(error).__name__}: {error}"
        self._entry_points_loaded = True  # only now: a clash of names is raised again, not forgotten

    def _missed(self, name: str) -> str:
        known = sorted(self._things)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        broken = "".join(f" The plug-in {module} failed to import ({why})." for module, why in self._broken.items())
        return f"no {self.kind} is named '{name}'.{hint} Known: {', '.join(known) or 'none'}.{broken}"


def origin_of(thing: Callable[..., object] | type) -> str:
    """Name the file that a registered class or function comes from, or its module where there is no file."""
    module = sys.modules.get(thing.__module__)
    return getattr(module, "__file__", None) or thing.__module__


def _qualname(thing: object) -> str:
    return getattr(thing, "__qualname__", repr(thing))


def load_plugin(path: str | Path) -> None:
    """Import one Python file so that what it registers can be looked up by name.

    Raises
    ------
    PluginError
        If the file does not exist, fails to import, or offers a name that is already taken.
    """
    file = Path(path).resolve()
    module_name = f"spoofscope_plugin_{file.stem}_{zlib.crc32(str(file).encode()):08x}"
    if any(getattr(module, "__file__", None) == str(file) for module in list(sys.modules.values())):
        return
    if not file.is_file():
        raise PluginError(f"no plug-in file at {path}. Give the path of a Python file, relative to the recipe.")
    try:
        import_file(file, module_name)
    except PluginError:
        raise
    except Exception as error:  # a plug-in's edge: anything may come out of it
        raise PluginError(f"the plug-in {path} failed to import: {type(error).__name__}: {error}") from error


def import_file(file: Path, name: str) -> ModuleType:
    """Import one Python file as a module called `name`; if it fails, nothing of it stays behind.

    Raises
    ------
    PluginError
        If the file's name is not that of a Python file. What the file itself raises comes out as it is.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file} is not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
