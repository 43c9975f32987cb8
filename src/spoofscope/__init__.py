"""spoofscope tells you where an audio deepfake detector breaks and why.

The public names are those of `__all__`; each is loaded when it is first used, so that importing the package costs nothing.
Metrics are in `spoofscope.metrics`, the contracts of plug-ins in `spoofscope.detectors`, `.embedders`, `.degradations` and `.corpora`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spoofscope.analysis.evaluate import evaluate
    from spoofscope.audio import read_audio
    from spoofscope.audit import Audit, open_corpus
    from spoofscope.degradations.conditions import parse_condition
    from spoofscope.detectors import build_detector
    from spoofscope.embedders import build_embedder
    from spoofscope.embeddings import Embeddings, open_embeddings
    from spoofscope.recipe import Recipe, read_recipe
    from spoofscope.report import write_report
    from spoofscope.scores import Scores
    from spoofscope.trials import Trials

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Embeddings",
    "Recipe",
    "Scores",
    "Trials",
    "build_detector",
    "build_embedder",
    "evaluate",
    "open_corpus",
    "open_embeddings",
    "parse_condition",
    "read_audio",
    "read_recipe",
    "write_report",
]

_HOMES = {
    "Audit": "audit",
    "Embeddings": "embeddings",
    "Recipe": "recipe",
    "Scores": "scores",
    "Trials": "trials",
    "build_detector": "detectors",
    "build_embedder": "embedders",
    "evaluate": "analysis.evaluate",
    "open_corpus": "audit",
    "open_embeddings": "embeddings",
    "parse_condition": "degradations.conditions",
    "read_audio": "audio",
    "read_recipe": "recipe",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"spoofscope.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spoofscope' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
