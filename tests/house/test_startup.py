"""Importing the package, or asking for help, loads nothing heavy."""

import subprocess
import sys

HEAVY = ("numpy", "polars", "torch", "scipy", "sklearn", "matplotlib", "av", "soundfile", "rich")


def loaded_by(code: str) -> set[str]:
    ask = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    return {name.split(".")[0] for name in out.split()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import spoofscope").isdisjoint(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    help_of = "from spoofscope.cli import main\ntry:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass"
    assert loaded_by(help_of).isdisjoint(HEAVY)


def test_the_guard_sees_a_heavy_import() -> None:
    assert "numpy" in loaded_by("import numpy")
