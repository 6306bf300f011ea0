"""Podium keeps models in production healthy: what a pipeline file imports."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Cache", "Interval", "Retry", "__version__", "pipeline", "run_after", "step", "when"]

if TYPE_CHECKING:
    from podium.dag.authoring import pipeline, run_after, step, when
    from podium.dag.interval import Interval
    from podium.dag.options import Cache, Retry
else:

    def __getattr__(name: str) -> Any:
        # Every `import podium.…` comes through here, the CLI's too; only pipeline files pay for authoring.
        if name == "Interval":
            from podium.dag.interval import Interval

            return Interval
        if name in __all__:
            from podium.dag import authoring

            return getattr(authoring, name)
        raise AttributeError(f"module 'podium' has no attribute {name!r}; it has {', '.join(__all__)}")
