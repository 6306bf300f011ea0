"""Custom rules: plain functions of the project that see what the gate sees and come to a finding of their own.

A rule lies at the top level of a module, and a policy names it as `pipelines.rules:no_worse_at_night`::

    def no_worse_at_night(given: RuleInput) -> Finding:
        night = given.holdout["hour"].to_numpy() < 5
        if given.champion is None or night.sum() < 200:
            return Finding("insufficient", "There are too few flights at night, or no champion to compare with.")
        right = [(model.predictions == given.labels)[night].mean() for model in (given.candidate, given.champion)]
        return Finding("passed" if right[0] >= right[1] else "failed", f"Accuracy at night {right[0]:.3f} …")
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from podium.errors import ConfigurationError, EvaluationError
from podium.ids import digest_json
from podium.registry.finding import Finding, Verdict

if TYPE_CHECKING:  # heavy, and named in annotations only
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from podium.registry.evidence import Measurement

__all__ = ["Finding", "ModelAnswers", "Rule", "RuleFunction", "RuleInput", "ask_rules"]

_LONGEST_REASON = 500


@dataclass(frozen=True, eq=False)
class ModelAnswers:
    """What one model said of every row: its predictions and, of a classifier that gives them, the probabilities.

    `probabilities` has a column for each of `classes`; both are None where there are none.
    """

    predictions: "npt.NDArray[Any]"
    probabilities: "npt.NDArray[np.float64] | None" = None
    classes: "npt.NDArray[Any] | None" = None


@dataclass(frozen=True, eq=False)
class RuleInput:
    """What a rule may look at: the rows that judge, in their order, and what both models said of them.

    `champion` is None for a first model. `holdout` has every column, the label among them; `measurements` are by the
    metric's name.
    """

    holdout: "pd.DataFrame"
    labels: "npt.NDArray[Any]"
    candidate: ModelAnswers
    champion: ModelAnswers | None
    measurements: "Mapping[str, Measurement]"


RuleFunction = Callable[[RuleInput], Finding]


class Rule(BaseModel):
    """The function `module:name`, and the digest of its source; None where nobody has looked yet.

    The source is that of the function and of what it uses of its own module. Of other modules the import counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
    digest: str | None = None

    @classmethod
    def of(cls, function: Any) -> Self:
        """Return the rule that a function is; ValueError for one that nobody could find again by its name."""
        if not isinstance(function, FunctionType):
            raise ValueError(f"{function!r} is no plain function; give one, or its name as module:function")
        name = f"{function.__module__}:{function.__qualname__}"
        module = sys.modules.get(function.__module__)
        found: Any = getattr(module, function.__qualname__, None)
        if function.__module__ == "__main__" or found is not function:
            raise ValueError(f"{name} cannot be found again by its name; define it at the top level of a module")
        return cls(function=name, digest=_source_digest(found))

    def bound(self) -> tuple[Self, RuleFunction]:
        """Import the function; return the rule with the digest of the source as it is now, and the function.

        Raises ConfigurationError where there is no such function, or its module does not import.
        """
        module_name, _, name = self.function.partition(":")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # the project's code, which may raise anything
            raise ConfigurationError(
                f"The module of the gate's rule {self.function} cannot be imported: {type(error).__name__}: "
                f"{' '.join(str(error).split())}. Correct the module, or its name in the policy."
            ) from error
        function = getattr(module, name, None)
        if not isinstance(function, FunctionType):
            there = "is no plain function" if hasattr(module, name) else "is not there"
            raise ConfigurationError(
                f"The gate's rule {self.function} {there}; define it with def at the top level of {module_name}."
            )
        try:
            bound = type(self).of(function)
        except ValueError as error:
            raise ConfigurationError(f"The gate's rule {self.function} cannot be used: {error}.") from None
        return bound.model_copy(update={"function": self.function}), function


def ask_rules(rules: Iterable[tuple[Rule, RuleFunction]], given: RuleInput) -> list[tuple[str, Finding]]:
    """Return each rule's name and what it found.

    Raises EvaluationError, which names the rule, for one that raises or that answers with anything but a finding.
    """
    return [(rule.function, _ask(rule.function, function, given)) for rule, function in rules]


def _ask(name: str, function: RuleFunction, given: RuleInput) -> Finding:
    try:
        answer: Any = function(given)
    except Exception as error:  # the project's code, which may raise anything
        raise EvaluationError(
            f"The gate's rule {name} failed with {type(error).__name__}: {' '.join(str(error).split())}. Make it "
            "answer for rows like these, with Finding('insufficient', …) where it cannot tell."
        ) from error
    known = get_args(Verdict)
    shaped = isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[0], str)
    if not shaped or answer[0] not in known:
        raise EvaluationError(
            f"The gate's rule {name} answered {_clipped(repr(answer), 100)}; let it return Finding(verdict, reason) "
            f"with one of the verdicts {', '.join(known)}."
        )
    reason = " ".join(answer[1].split()) if isinstance(answer[1], str) else ""
    if not reason:
        raise EvaluationError(
            f"The gate's rule {name} gives the reason {_clipped(repr(answer[1]), 100)}; let it say in a sentence, with "
            "its numbers, why it decides so."
        )
    verdict: Verdict = answer[0]
    storable = reason.encode("utf-8", "backslashreplace").decode()
    return Finding(verdict, _clipped(storable, _LONGEST_REASON))


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _source_digest(function: FunctionType) -> str:
    """Return the digest of the statements of its module that a function reaches by name, itself the first of them."""
    module = sys.modules[function.__module__]
    by_name: dict[str, list[ast.stmt]] = {}
    for statement in _tree(module, function).body:
        for name in _bound_by(statement):
            by_name.setdefault(name, []).append(statement)
    reached, ahead = dict[str, None](), [function.__qualname__]
    while ahead:
        for statement in by_name.get(ahead.pop(), ()):
            shown = ast.dump(statement)
            if shown not in reached:
                reached[shown] = None
                ahead.extend(node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
    return digest_json([f"{function.__module__}:{function.__qualname__}", sorted(reached)])


def _tree(module: ModuleType, function: FunctionType) -> ast.Module:
    try:
        return ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        raise ValueError(
            f"the source of {function.__module__}:{function.__qualname__} cannot be read; keep it in a file of the "
            "project, so that the policy's digest can change with it"
        ) from None


def _bound_by(statement: ast.stmt) -> set[str]:
    """Return the names that a statement binds at the top level of its module, or below an `if` or `try` there."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    for node in ast.walk(statement):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
    return names
