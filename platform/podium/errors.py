"""Every exception Podium raises on purpose.

::

    PodiumError                    exit 1
    ├── UsageError                 exit 2   the command or its arguments are wrong
    │   ├── NotFound                        the named run, pipeline, model … does not exist
    │   └── InvalidInterval                 the interval does not parse, or is empty
    ├── ConfigurationError         exit 2   podium.toml, prices.yaml or the environment is wrong
    ├── DefinitionError            exit 2   a pipeline file is wrong; names file, step and remedy
    ├── Refused                    exit 3   a policy said no
    │   └── ChampionMoved                   compare-and-swap lost; says who won
    ├── Conflict                   exit 1   somebody else holds what this act needs
    │   ├── CanaryOpen                      another canary of the model goes on; says which
    │   └── PromotionOpen                   another promotion of the model awaits approval; says which
    ├── ArtifactError              exit 1   an artifact cannot be written, read or trusted
    │   ├── NoCodec                         no codec takes the value
    │   └── StorageFull                     the artifact disk is full
    ├── EvaluationError            exit 1   the rows cannot be judged on
    ├── DataCheckFailed            exit 1   data did not pass a check that stops; carries the report
    ├── ServiceUnavailable         exit 1   a database or registry does not answer
    └── InternalError              exit 1   an invariant is broken: a bug in Podium

A message names the object, states the fact and gives the remedy. Foreign errors are translated once, at
the adapter that met them.
"""

from typing import Any


class PodiumError(Exception):
    """Base of every error Podium raises on purpose; its text is one paragraph for a person.

    `retryable` says whether the same attempt, made again, could end differently.
    """

    exit_code = 1
    retryable = True


class UsageError(PodiumError):
    """The command or its arguments are wrong."""

    exit_code = 2
    retryable = False


class NotFound(UsageError):
    """The named object does not exist."""


class InvalidInterval(UsageError):
    """The text names no interval, or an empty one."""


class ConfigurationError(PodiumError):
    """A configuration file or the environment is wrong."""

    exit_code = 2
    retryable = False


class DefinitionError(PodiumError):
    """A pipeline file is wrong; the message names the file, the step and the remedy."""

    exit_code = 2
    retryable = False


class Refused(PodiumError):
    """A policy refused the act: gate, compare-and-swap, approval, budget or right."""

    exit_code = 3
    retryable = False


class ChampionMoved(Refused):
    """The champion is not the expected version; the message says which one it is and who moved it."""


class Conflict(PodiumError):
    """Somebody else holds what this act needs; trying again later is right."""


class CanaryOpen(Conflict):
    """Another run's canary of the model goes on; the message says which one. Its end makes room."""


class PromotionOpen(Conflict):
    """Another promotion of the model awaits approval; the message says which one. Its end makes room."""


class ArtifactError(PodiumError):
    """An artifact cannot be written, read or trusted."""


class NoCodec(ArtifactError):
    """No codec takes the value a step returned."""

    retryable = False


class StorageFull(ArtifactError):
    """The disk that holds the artifacts is full."""


class EvaluationError(PodiumError):
    """The rows cannot be judged on: no rows, unknown labels, a single class, predictions that are not numbers."""

    retryable = False


class DataCheckFailed(PodiumError):
    """Data did not pass a check that stops; `report` is the `podium.checks.DataReport`, None where it is not known."""

    retryable = False

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class ServiceUnavailable(PodiumError):
    """A database or a registry does not answer."""


class InternalError(PodiumError):
    """An invariant is broken; this is a bug in Podium."""

    retryable = False
