"""Checks of data before it trains or judges: a report of what failed, with example rows.

`check_data` looks at a frame through several checks. Each says `passed`, `failed` or `unknown`, with the numbers it
decided on. Pure: no database, no clock, no file; pandas is imported by whoever uses a check, pandera by `SchemaCheck`.
"""

from typing import TYPE_CHECKING, Any

__all__ = [
    "CategoryDrift",
    "Check",
    "CheckResult",
    "DataReport",
    "Example",
    "Finding",
    "Freshness",
    "NullRate",
    "SchemaCheck",
    "Volume",
    "check_data",
]

if TYPE_CHECKING:
    from podium.checks.categories import CategoryDrift
    from podium.checks.finding import Check, Example, Finding
    from podium.checks.freshness import Freshness
    from podium.checks.nulls import NullRate
    from podium.checks.report import CheckResult, DataReport
    from podium.checks.running import check_data
    from podium.checks.schema import SchemaCheck
    from podium.checks.volume import Volume
else:
    _MODULES = {
        "categories": ["CategoryDrift"],
        "finding": ["Check", "Example", "Finding"],
        "freshness": ["Freshness"],
        "nulls": ["NullRate"],
        "report": ["CheckResult", "DataReport"],
        "running": ["check_data"],
        "schema": ["SchemaCheck"],
        "volume": ["Volume"],
    }
    _ELSEWHERE = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> Any:
        # Whoever only reads a report that was stored needs no pandas.
        if name in _ELSEWHERE:
            from importlib import import_module

            return getattr(import_module(f"podium.checks.{_ELSEWHERE[name]}"), name)
        raise AttributeError(f"module 'podium.checks' has no attribute {name!r}; it has {', '.join(__all__)}")
