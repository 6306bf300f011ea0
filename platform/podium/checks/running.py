"""A frame looked at through its checks: the report is printed, and what stops raises."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import pandas as pd

from podium.checks.finding import Check, Outcome, Severity, storable
from podium.checks.report import CheckResult, DataReport
from podium.errors import DataCheckFailed, UsageError


def check_data(frame: pd.DataFrame, checks: Sequence[Check], *, called: str = "data") -> DataReport:
    """Look at `frame` through every check, print the report, and return it.

    `called` is what report and error call the data, as "history of flight_delay". Raises DataCheckFailed, which
    carries the report, where a check of severity `stop` failed or is unknown; and UsageError where `frame` is no
    DataFrame, or `checks` are none, or two of them have one name. The frame stays as it is.
    """
    report = examine(frame, checks, called=called)
    _print(str(report))
    if not report.passed:
        raise DataCheckFailed(refusal(report), report)
    return report


def examine(frame: pd.DataFrame, checks: Sequence[Check], *, called: str = "data") -> DataReport:
    """Return the report of every check on `frame`; nothing is printed, nothing but UsageError raised."""
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(f"The {called} is a {type(frame).__name__}; a pandas DataFrame is needed.")
    if not isinstance(checks, Sequence):
        raise UsageError(f"The checks of the {called} are a {type(checks).__name__}; give a list of checks.")
    if not checks:
        raise UsageError(f"No check is given for the {called}, and nothing looked at has not passed; give one.")
    for check in checks:
        made = hasattr(check, "look") and not isinstance(check, type)
        if not made or getattr(check, "severity", None) not in get_args(Severity):
            raise UsageError(
                f"{check!r} is no check of data; give Volume(…), NullRate(…) or another of podium.checks, or an object "
                "with a name, a severity 'stop' or 'warn', and look(frame)."
            )
    twice = [name for name, count in Counter(check.name for check in checks).items() if count > 1]
    if twice:
        raise UsageError(f"Two checks of the {called} are named {twice[0]!r}; give one of them another name=….")
    results = tuple(_result(check, frame) for check in checks)
    return DataReport(storable(called), len(frame), len(frame.columns), results)


def refusal(report: DataReport) -> str:
    """Return one paragraph that says what stops, with the first example row."""
    said = {"failed": "", "unknown": "unknown, which stops as a failure does: "}
    told = "; ".join(f"{result.name}: {said[result.outcome]}{result.reason}" for result in report.failed)
    examples = [example for result in report.failed for example in result.examples]
    example = f" Example: {examples[0]}." if examples else ""
    return (
        f"The {report.called} did not pass {len(report.failed)} of {len(report.results)} data checks: {told}.{example} "
        "Correct the data where they come from, or give a check severity='warn' if the run should go on."
    )


def _result(check: Check, frame: pd.DataFrame) -> CheckResult:
    finding = check.look(frame)
    if finding.outcome not in get_args(Outcome):
        raise UsageError(
            f"The check {check.name} answered {finding.outcome!r}; a Finding is 'passed', 'failed' or 'unknown'."
        )
    return CheckResult(check.name, check.severity, finding.outcome, storable(finding.reason), tuple(finding.examples))


def _print(text: str) -> None:
    # A log in ASCII, as under LANG=C, must not turn a report into an error.
    encoding: Any = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
