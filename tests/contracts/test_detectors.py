"""Every built-in detector keeps the contract, and so does one from an installed package, found through the registry."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spoofscope.checks.detector import check_detector
from spoofscope.detectors import build_detector, card_of, detectors
from spoofscope.registry import load_plugin

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "tests" / "plugin"
ADAPTERS = {"command", "hf", "http", "onnx", "python", "scores", "ssl_aasist", "torchscript"}


# Adapters need to be told what they adapt; published weights are fetched, and checked where they lie.
BUILT_IN = [name for name in detectors.names() if name not in ADAPTERS and not card_of(name).weights_url]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_detector_keeps_the_contract(name):
    assert [finding for finding in check_detector(build_detector(name)) if not finding.ok] == []


def test_the_example_beside_a_recipe_keeps_the_contract():
    load_plugin(ROOT / "examples" / "loudness.py")
    findings = check_detector(build_detector("loudness"))
    assert all(finding.ok for finding in findings)
    assert len(findings) == 9


def install(package: Path, site: Path) -> None:
    """Install a pure Python package as an installer does: its modules, and a `.dist-info` with its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for module in (package / "src").iterdir():
        (site / module.name).symlink_to(module)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))


def run(code: str, site: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that sees what is installed in `site`."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    install(PLUGIN, folder)
    return folder


def package(site: Path, name: str, code: str) -> None:
    """Install one more package of one module."""
    source = site.parent / name
    (source / "src").mkdir(parents=True)
    (source / "src" / f"{name}.py").write_text(code)
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1"\n[project.entry-points."spoofscope.detectors"]\nx = "{name}"\n'
    )
    install(source, site)


def test_a_detector_of_an_installed_package_is_found_flipped_and_keeps_the_contract(site):
    done = run(
        "from spoofscope.detectors import build_detector, detectors\n"
        "from spoofscope.checks.detector import check_detector\n"
        "built = build_detector('loudness.plugin')\n"
        "assert built.flipped\n"
        "assert all(finding.ok for finding in check_detector(built))\n"
        "print(detectors.origin('loudness.plugin'))\n",
        site,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == str(site / "spoofscope_loudness" / "__init__.py")


def test_two_installed_packages_with_one_name_are_an_error_naming_both(site):
    package(site, "copycat", (PLUGIN / "src/spoofscope_loudness/__init__.py").read_text())
    done = run("from spoofscope.detectors import build_detector\nbuild_detector('loudness.plugin')", site)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "PluginError: two detectors are named 'loudness.plugin'" in last
    assert "spoofscope_loudness/__init__.py" in last
    assert "copycat.py" in last


def test_a_broken_installed_package_is_shown_where_a_look_up_misses_and_hurts_no_other(site):
    package(site, "brokenpack", "raise OSError('its licence server is down')")
    done = run(
        "from spoofscope.detectors import build_detector\n"
        "build_detector('loudness.plugin')\n"
        "try:\n    build_detector('brokenpack.one')\n"
        "except Exception as error:\n    print(type(error).__name__, error)",
        site,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("UnknownName no detector is named 'brokenpack.one'")
    assert "The plug-in brokenpack failed to import (OSError: its licence server is down)." in done.stdout
