"""Which requests a model answers wrongly: what a canary counts."""

from typing import Any

import numpy as np

from podium.errors import EvaluationError
from podium.registry.answers import ask
from podium.registry.holdout import Holdout, kind_of
from podium.registry.metrics import Kind, Metric
from podium.stats.paired import Mask


def wrong_answers(
    estimator: Any, who: str, rows: Holdout, *, tolerance: float | None = None, block_rows: int = 65_536
) -> Mask:
    """Return for each row whether a fitted `estimator` answers it wrongly.

    A class is wrong when it is not the row's; a number is when it is off by more than `tolerance`, in the label's
    unit. Raises EvaluationError for a model of numbers without a tolerance, a model of classes with one, and
    whatever keeps a model from answering (see `podium.registry.answers.ask`).
    """
    kind = kind_of(estimator, who, rows)
    if kind is Kind.REGRESSION:
        if tolerance is None:
            raise EvaluationError(
                f"The {who} predicts numbers, of which none is simply wrong; say in the canary's plan how far off an "
                "answer may be: CanaryPlan(tolerance=…)."
            )
        off_by = ask(estimator, who, kind, rows, block_rows).contributions(Metric.MEAN_ABSOLUTE_ERROR)
        return np.greater(off_by, tolerance)
    if tolerance is not None:
        raise EvaluationError(
            f"The {who} predicts classes, which are right or wrong; remove tolerance={tolerance:g} from the "
            "canary's plan."
        )
    return np.equal(ask(estimator, who, kind, rows, block_rows).contributions(Metric.ERROR_RATE), 1)
