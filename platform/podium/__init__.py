"""Podium keeps models in production healthy: what a pipeline file imports."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Cache",
    "Cancelled",
    "Interval",
    "NewFiles",
    "NewRows",
    "Promoted",
    "Retry",
    "RunEnded",
    "Schedule",
    "Snooze",
    "Trigger",
    "__version__",
    "pipeline",
    "run_after",
    "sensor",
    "step",
    "wait_for_approval",
    "when",
]

if TYPE_CHECKING:
    from podium.dag.approvals import wait_for_approval
    from podium.dag.authoring import pipeline, run_after, sensor, step, when
    from podium.dag.interval import Interval
    from podium.dag.options import Cache, Retry
    from podium.dag.schedule import Schedule
    from podium.dag.triggers import NewFiles, NewRows, Promoted, RunEnded, Trigger
    from podium.execution.context import Cancelled, Snooze
else:
    _ELSEWHERE = {
        "Interval": "podium.dag.interval",
        "wait_for_approval": "podium.dag.approvals",
        "Schedule": "podium.dag.schedule",
        **dict.fromkeys(("NewFiles", "NewRows", "Promoted", "RunEnded", "Trigger"), "podium.dag.triggers"),
        "Snooze": "podium.execution.context",
        "Cancelled": "podium.execution.context",
    }

    def __getattr__(name: str) -> Any:
        # Every `import podium.…` comes through here, the CLI's too; only pipeline files pay for authoring.
        if name in __all__:
            from importlib import import_module

            return getattr(import_module(_ELSEWHERE.get(name, "podium.dag.authoring")), name)
        raise AttributeError(f"module 'podium' has no attribute {name!r}; it has {', '.join(__all__)}")
