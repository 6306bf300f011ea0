"""The metrics a gate can ask about: what each applies to, which way is better, its default margin."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a model predicts."""

    BINARY = "binary_classification"
    MULTICLASS = "multiclass_classification"
    REGRESSION = "regression"


class Metric(StrEnum):
    """One number about a model's predictions of many rows.

    >>> Metric.AUC.higher_is_better, Metric("log_loss").higher_is_better
    (True, False)
    """

    AUC = "auc"
    ACCURACY = "accuracy"
    ERROR_RATE = "error_rate"
    LOG_LOSS = "log_loss"
    MEAN_ABSOLUTE_ERROR = "mean_absolute_error"
    MEAN_SQUARED_ERROR = "mean_squared_error"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is the better one."""
        return _TRAITS[self].higher_is_better

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of problem that the metric applies to."""
        return _TRAITS[self].kinds

    @property
    def needs_probabilities(self) -> bool:
        """Whether the model must give probabilities, not only classes."""
        return _TRAITS[self].needs_probabilities

    @property
    def is_share(self) -> bool:
        """Whether the metric lies between 0 and 1, so that a margin of 1 or more says nothing."""
        return _TRAITS[self].is_share

    def meets(self, value: float, floor: float) -> bool:
        """Return whether `value` is at least as good as `floor`.

        >>> Metric.AUC.meets(0.6, 0.58), Metric.LOG_LOSS.meets(0.6, 0.58)
        (True, False)
        """
        return value >= floor if self.higher_is_better else value <= floor

    def better(self, value: float, other: float) -> bool:
        """Return whether `value` is strictly better than `other`."""
        return value > other if self.higher_is_better else value < other

    def default_margin(self, champion: float) -> float:
        """Return the largest harm accepted where the policy names none.

        One percentage point of a share; a tenth of the champion's own error for a metric in any other unit.
        """
        return 0.01 if self.is_share else 0.1 * champion


@dataclass(frozen=True)
class _Traits:
    kinds: tuple[Kind, ...]
    higher_is_better: bool
    is_share: bool
    needs_probabilities: bool = False


_CLASSES = (Kind.BINARY, Kind.MULTICLASS)
_TRAITS = {
    Metric.AUC: _Traits((Kind.BINARY,), higher_is_better=True, is_share=True, needs_probabilities=True),
    Metric.ACCURACY: _Traits(_CLASSES, higher_is_better=True, is_share=True),
    Metric.ERROR_RATE: _Traits(_CLASSES, higher_is_better=False, is_share=True),
    Metric.LOG_LOSS: _Traits(_CLASSES, higher_is_better=False, is_share=False, needs_probabilities=True),
    Metric.MEAN_ABSOLUTE_ERROR: _Traits((Kind.REGRESSION,), higher_is_better=False, is_share=False),
    Metric.MEAN_SQUARED_ERROR: _Traits((Kind.REGRESSION,), higher_is_better=False, is_share=False),
}


def metrics_of(kind: Kind, *, probabilities: bool) -> tuple[Metric, ...]:
    """Return the metrics that can be measured, the usual primary one first.

    >>> [str(metric) for metric in metrics_of(Kind.MULTICLASS, probabilities=False)]
    ['accuracy', 'error_rate']
    """
    return tuple(
        metric for metric in Metric if kind in metric.kinds and (probabilities or not metric.needs_probabilities)
    )
