"""Everything that spoofscope raises on purpose.

::

    SpoofscopeError              printed without a traceback; `exit_code` tells the shell whose move it is
    |-- UserError       (2)      what was asked is wrong: mend the command or the recipe
    |   |-- UnknownName          a name that no corpus, detector, degradation ... answers to
    |   |-- RecipeError          a key, value or expression of a recipe
    |   |-- MissingExtra         an optional dependency that is not installed
    |   `-- PluginError          a plug-in that cannot be imported or breaks the contract
    `-- DataError       (3)      what was given is wrong: mend the files
        |-- TrialsError          a table of trials that does not validate
        |   `-- LeakError          a split whose sides share a speaker, a source ...
        |-- CorpusError          a corpus whose files or counts differ from its card
        |-- AudioError           one recording that cannot be read (kept as that trial's status)
        |-- WeightsError         a checkpoint of another model, or a wrong digest
        |-- ScoresError          scores that cannot be evaluated
        |   `-- NotEnoughTrials  an empty class, where a rate would need one
        `-- RunFolderError       a run folder that cannot be written, or belongs to another recipe
"""


class SpoofscopeError(Exception):
    """Base of all errors raised on purpose; catch it to treat any of them as an answer."""

    exit_code = 1


class UserError(SpoofscopeError):
    """What was asked for is wrong."""

    exit_code = 2


class UnknownName(UserError):
    """A name looked up by text that nothing answers to."""


class RecipeError(UserError):
    """A recipe key, value or condition expression that cannot be understood."""


class MissingExtra(UserError):
    """An optional dependency is absent."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'spoofscope[{extra}]'")


class PluginError(UserError):
    """A plug-in cannot be imported, or two things claim one name."""


class DataError(SpoofscopeError):
    """What was given is wrong."""

    exit_code = 3


class TrialsError(DataError):
    """A table of trials does not validate."""


class LeakError(TrialsError):
    """Training and test share what they must not share."""


class CorpusError(DataError):
    """A corpus does not match its card, or its files are not where they should be."""


class AudioError(DataError):
    """One recording cannot be read."""


class WeightsError(DataError):
    """A checkpoint is not the one that was expected."""


class ScoresError(DataError):
    """Scores cannot be evaluated as they stand."""


class NotEnoughTrials(ScoresError):
    """A class is empty where a rate needs at least one trial."""


class RunFolderError(DataError):
    """A run folder cannot be written, or was made by another recipe."""
