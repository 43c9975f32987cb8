"""What each attack is made of, and which a model has met in its training.

A taxonomy is a TOML file: `columns` names what is known of an attack, `[attacks]` gives a value for each column, and `[exposure]` lists the
attacks of each list of trials that a model may have been trained on. Those of `taxonomies/` ship with the package.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from spoofscope.errors import UserError

SHIPPED = Path(__file__).parent / "taxonomies"
BY_CORPUS = {"asvspoof2019_la": "asvspoof2019", "asvspoof2021_la": "asvspoof2019", "builtin": "builtin"}
ALGORITHM = "algorithm"


@dataclass(frozen=True)
class Taxonomy:
    """Facts about attacks.

    Parameters
    ----------
    columns : tuple of str
        What is known of each attack: family, algorithm, vocoder ...
    attacks : mapping of str to tuple of str
        A value for each column.
    exposure : mapping of str to tuple of str
        The attacks of a list of trials, by its name as cards give it (`asvspoof2019_la/train`).
    """

    columns: tuple[str, ...] = ()
    attacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exposure: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def annotate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add what is known of each trial's attack; a column that the trials carry already stays as it is."""
        new = [column for column in self.columns if column not in frame.columns]
        return frame.with_columns(
            pl.col("attack").replace_strict(self._values(column), default=None, return_dtype=pl.String).alias(column)
            for column in new
        )

    def exposed(self, frame: pl.DataFrame, held_by: str, trained_on: Iterable[str]) -> dict[str, str]:
        """Return the groups of `held_by` that a model has met, each with the reason.

        A group counts as met if one of its attacks, or another attack of the same algorithm, was in the training data.
        """
        lists = {name: self.exposure[name] for name in trained_on if name in self.exposure}
        algorithms = self._values(ALGORITHM) if ALGORITHM in self.columns else {}
        pairs = frame.filter(pl.col("label") != "bonafide").select(pl.col(held_by).cast(pl.String).alias("_held"), "attack")
        found: dict[str, str] = {}
        for group, attack in pairs.drop_nulls().unique().sort("_held", "attack").iter_rows():
            for name, met in lists.items():
                for other in met:
                    if other == attack or algorithms.get(other, object()) == algorithms.get(attack):
                        same = "" if other == attack else f", the same algorithm as {attack}"
                        found.setdefault(group, f"{other} is in {name}{same}")
        return found

    def _values(self, column: str) -> dict[str, str]:
        at = self.columns.index(column)
        return {attack: values[at] for attack, values in self.attacks.items()}


def read_taxonomy(name: str) -> Taxonomy:
    """Read a taxonomy that ships with the package, by its name, or a TOML file; `""` knows nothing.

    Raises
    ------
    UserError
        If there is no such taxonomy or file, or it is not in the format.
    """
    if not name:
        return Taxonomy()
    shipped = SHIPPED / f"{name}.toml"
    file = shipped if shipped.is_file() else Path(name)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.toml")))
        raise UserError(
            f"cannot read the taxonomy '{name}' ({getattr(error, 'strerror', None) or error}). Shipped: {known}; or give a TOML file."
        ) from error
    columns = tuple(table.get("columns", ()))
    attacks = {attack: tuple(values) for attack, values in table.get("attacks", {}).items()}
    for attack, values in attacks.items():
        if len(values) != len(columns) or not all(isinstance(value, str) for value in values):
            raise UserError(f"{file}: attack '{attack}' has {list(values)}; expected a text for each of {', '.join(columns)}")
    return Taxonomy(columns, attacks, {name: tuple(met) for name, met in table.get("exposure", {}).items()})
