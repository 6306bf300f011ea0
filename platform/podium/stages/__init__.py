"""Ready-made steps: judge a candidate, register it, try it on traffic, make it champion."""

from typing import TYPE_CHECKING, Any

__all__ = ["evaluate_candidate", "promote_version", "register_version", "run_canary"]

if TYPE_CHECKING:
    from podium.stages.canary import run_canary
    from podium.stages.evaluation import evaluate_candidate
    from podium.stages.promotion import promote_version
    from podium.stages.registration import register_version
else:
    _MODULES = {
        "evaluate_candidate": "evaluation",
        "promote_version": "promotion",
        "register_version": "registration",
        "run_canary": "canary",
    }

    def __getattr__(name: str) -> Any:
        # A supervisor answers stages without importing them, and pandas with them.
        if name not in _MODULES:
            raise AttributeError(f"module 'podium.stages' has no attribute {name!r}; it has {', '.join(__all__)}")
        from importlib import import_module

        return getattr(import_module(f"podium.stages.{_MODULES[name]}"), name)
