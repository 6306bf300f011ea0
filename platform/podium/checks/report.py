"""The report of a frame's checks: as text, as a JSON document, and as a value that a step may return."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args

from podium.checks.finding import Example, Outcome, Severity, counted
from podium.errors import UsageError


@dataclass(frozen=True)
class CheckResult:
    """What one check found, under its name and severity."""

    name: str
    severity: Severity
    outcome: Outcome
    reason: str
    examples: tuple[Example, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it passed; `unknown` did not."""
        return self.outcome == "passed"

    @property
    def stops(self) -> bool:
        """Whether it stops: its severity is `stop`, and it did not pass."""
        return self.severity == "stop" and not self.passed

    def __str__(self) -> str:
        said = self.outcome if self.severity == "stop" or self.passed else f"warning, {self.outcome}"
        lines = [f"{said}: {self.name}: {self.reason}", *(f"    {example}" for example in self.examples)]
        return "\n".join(lines)


@dataclass(frozen=True)
class DataReport:
    """What every check found in one frame of `rows` × `columns`, in the order of the checks.

    >>> from podium.checks.volume import Volume
    >>> from podium.checks.running import examine
    >>> import pandas as pd
    >>> print(examine(pd.DataFrame({"x": [1, 2]}), [Volume(at_least=1)], called="history"))
    history: 2 rows, 1 column; 1 of 1 check passed
      passed: volume: 2 rows ≥ 1 required
    """

    called: str
    rows: int
    columns: int
    results: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing stops: every check of severity `stop` passed."""
        return not self.failed

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that stop: of severity `stop`, and failed or unknown."""
        return tuple(result for result in self.results if result.stops)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The checks of severity `warn` that failed or are unknown."""
        return tuple(result for result in self.results if result.severity == "warn" and not result.passed)

    def __str__(self) -> str:
        passed = sum(result.passed for result in self.results)
        counts = [f"{passed} of {counted(len(self.results), 'checks')} passed"]
        counts += [f"{len(group)} {word}" for group, word in ((self.failed, "stop"), (self.warnings, "warn")) if group]
        head = f"{self.called}: {counted(self.rows, 'rows')}, {counted(self.columns, 'columns')}; {', '.join(counts)}"
        return "\n".join([head, *(f"  {line}" for result in self.results for line in str(result).splitlines())])

    def to_document(self) -> dict[str, Any]:
        """Return the report as plain JSON, with `passed` beside what `from_document` reads."""
        results = [
            {**asdict(result), "examples": [{"row": each.row, "values": dict(each.values)} for each in result.examples]}
            for result in self.results
        ]
        return {
            "called": self.called,
            "rows": self.rows,
            "columns": self.columns,
            "passed": self.passed,
            "results": results,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the report of a `to_document`; UsageError if it is malformed."""
        try:
            results = tuple(_result(each) for each in document["results"])
            return cls(str(document["called"]), int(document["rows"]), int(document["columns"]), results)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"This is no report of data checks: {type(error).__name__} {error}; give what to_document returned."
            ) from None


def _result(document: Mapping[str, Any]) -> CheckResult:
    for key, known in (("severity", get_args(Severity)), ("outcome", get_args(Outcome))):
        if document[key] not in known:
            raise ValueError(f"{key} {document[key]!r}")
    examples = tuple(Example(each["row"], dict(each["values"])) for each in document["examples"])
    return CheckResult(
        document["name"], document["severity"], document["outcome"], document["reason"], examples=examples
    )
