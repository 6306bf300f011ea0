"""Does the frame fit a pandera schema?"""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import pandas as pd

from podium.checks.finding import EXAMPLES, Example, Finding, Severity, readable, settle, shown, unknown
from podium.checks.rows import label, plain
from podium.errors import ConfigurationError, UsageError

_NAMED = 5  # failures in a reason; the rest is counted


@dataclass(frozen=True, eq=False)
class SchemaCheck:
    """Validates against a pandera `DataFrameSchema` or `DataFrameModel`, all failures at once.

    The examples are the failing values under their row labels. It is unknown where a check of the schema itself
    raises, where pandera is set to look at less, and for a frame without rows that fits: no value was looked at.
    The frame stays as it is: with `coerce=True` a copy that pandera coerced is what fits. Rows that a schema would drop
    (`drop_invalid_rows`) are a failure.

    Raises UsageError for what is no schema or a wrong one, and ConfigurationError where pandera, the extra `checks`, is
    not installed.
    """

    schema: Any
    _: KW_ONLY
    severity: Severity = "stop"
    name: str = ""

    def __post_init__(self) -> None:
        kind = self.schema if isinstance(self.schema, type) else type(self.schema)
        of_pandera = any(base.__module__.partition(".")[0] == "pandera" for base in kind.__mro__)
        if not (of_pandera and callable(getattr(self.schema, "validate", None))):
            raise UsageError(
                f"SchemaCheck is given a {kind.__name__}; give a pandera DataFrameSchema or DataFrameModel."
            )
        settle(self, "schema")

    def look(self, frame: pd.DataFrame) -> Finding:
        """Return whether every column and value fits the schema."""
        try:
            from pandera import config, errors
        except ImportError as error:
            raise ConfigurationError(
                f"The check {self.name} needs pandera, which cannot be imported ({error}); "
                "pip install 'podium[checks]'."
            ) from None
        try:
            fitting = self.schema.validate(frame, lazy=True)
        except errors.SchemaErrors as found:
            return _failed(frame, found.schema_errors, errors.SchemaErrorReason)
        except (errors.SchemaDefinitionError, errors.SchemaInitError, errors.BackendNotFoundError) as error:
            raise UsageError(f"The schema of the check {self.name} is wrong: {error}.") from error
        if len(fitting) < len(frame):
            return Finding(
                "failed", f"the schema would drop {len(frame) - len(fitting):,} of {len(frame):,} rows that do not fit"
            )
        asked = config.get_config_context()
        if not asked.validation_enabled or asked.validation_depth is not config.ValidationDepth.SCHEMA_AND_DATA:
            return unknown(
                "pandera is set to look at less than the whole schema; unset PANDERA_VALIDATION_ENABLED and "
                "PANDERA_VALIDATION_DEPTH"
            )
        if len(frame) == 0:
            return unknown("0 rows have no values that could fit the schema or not")
        return Finding("passed", f"{len(frame):,} rows fit the schema")


def _failed(frame: pd.DataFrame, found: list[Any], codes: Any) -> Finding:
    """Return what pandera found, failures before checks that raised; `codes` are pandera's reasons."""
    failures = [each for each in found if each.reason_code is not codes.CHECK_ERROR]
    raised = [each for each in found if each.reason_code is codes.CHECK_ERROR]
    told = [_told(each, len(frame), codes) for each in failures]
    told += [f"{_subject(each)}{_check(each)} could not be asked: {_line(each.failure_cases)}" for each in raised]
    more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    examples = _spread([example for each in failures for example in _examples(each)])
    return Finding("failed" if failures else "unknown", "; ".join(told[:_NAMED]) + more, tuple(examples[:EXAMPLES]))


def _told(error: Any, rows: int, codes: Any) -> str:
    if error.reason_code is codes.COLUMN_NOT_IN_DATAFRAME:
        return f"there is no column {error.failure_cases!r}"
    if error.reason_code is codes.COLUMN_NOT_IN_SCHEMA:
        return f"the column {error.failure_cases!r} is not in the schema"
    cases = _cases(error)
    if cases is None:
        return _line(error)
    output = error.check_output
    if isinstance(output, pd.Series) and len(output) == rows:
        count = int((~output.astype(bool)).sum())
    else:  # cases of a whole frame are one for each row and column
        count = cases["index"].nunique() if "column" in cases else len(cases)
    example = shown(plain(cases["failure_case"].iloc[0]))
    return f"{_subject(error)}{_check(error)} does not hold in {count:,} of {rows:,} rows, as for {example}"


def _cases(error: Any) -> "pd.DataFrame | None":
    """Return the failing values with their row labels; None where it is no single value that fails."""
    cases = error.failure_cases
    if not isinstance(cases, pd.DataFrame) or "index" not in cases or cases["index"].isna().all():
        return None
    return cases


def _examples(error: Any) -> list[Example]:
    cases = _cases(error)
    if cases is None:
        return []
    rows = cases[cases["index"].notna()].head(EXAMPLES)
    columns = rows["column"] if "column" in rows else [_column(error)] * len(rows)
    return [
        Example(label(row), {readable(str(column)): plain(value)})
        for row, column, value in zip(rows["index"], columns, rows["failure_case"], strict=True)
    ]


def _spread(examples: list[Example]) -> list[Example]:
    """Return one example of each column first, so that one bad column does not hide the others."""
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(next(iter(example.values)), example)
    return [*first.values(), *(each for each in examples if not any(each is one for one in first.values()))]


def _subject(error: Any) -> str:
    cases = _cases(error)
    if _check(error) == "multiple_fields_uniqueness" and cases is not None and "column" in cases:
        return f"{readable(', '.join(map(str, cases['column'].unique())))}: "
    column = _column(error)
    return f"{readable(column)}: " if column else ""


def _column(error: Any) -> str:
    """Return the column that a schema's part is about; empty where it is about the whole frame."""
    kind, name = type(error.schema).__name__, getattr(error.schema, "name", None)
    if kind == "DataFrameSchema":
        return ""
    return "index" if name is None else str(name)


def _check(error: Any) -> str:
    check = error.check
    return readable(str(getattr(check, "error", None) or getattr(check, "name", None) or check))


def _line(said: Any) -> str:
    return readable(" ".join(str(said).split()))
