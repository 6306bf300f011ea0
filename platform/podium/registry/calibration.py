"""Whether predicted probabilities come true: reliability bins and Brier score. Pure.

Bins hold about equally many rows (quantiles of the model's own predictions), not equally wide ranges: where the
positive class is rare nearly all rows would lie in the first of ten equal ranges, and the others would show noise
(Nixon et al., Measuring Calibration in Deep Learning, CVPR Workshops 2019). Equal predictions are never parted. The
bounds of an observed rate are Wilson's, which stay inside 0 to 1 and hold for few rows (Wilson, Journal of the American
Statistical Association 22, 1927; Brown, Cai & DasGupta, Statistical Science 16, 2001). The Brier score is the mean
squared difference of prediction and outcome (Brier, Monthly Weather Review 78, 1950).
"""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:  # heavy, and evidence is also read where nothing is computed
    from podium.stats.paired import Mask, Vector

MOST_BINS = 10
_LEAST_ROWS = 20
"""So many rows a bin should hold: fewer bins are made of fewer rows."""


Share = Annotated[float, Field(ge=0, le=1)]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReliabilityBin(_Fact):
    """Rows of similar prediction: how sure the model was on average, and how often it was so.

    `lowest` and `highest` are its predictions, `low` and `high` the bounds of the observed rate.
    """

    rows: Annotated[int, Field(ge=1)]
    lowest: Share
    highest: Share
    predicted: Share
    observed: Share
    low: Share
    high: Share


class Reliability(_Fact):
    """One model's Brier score, lower is better, and its bins from low to high predictions."""

    brier: Share
    bins: Annotated[tuple[ReliabilityBin, ...], Field(min_length=1)]


class Calibration(_Fact):
    """Both models' probabilities of the class `positive`, held against what came; for a first model, its alone."""

    positive: str
    confidence: Share
    candidate: Reliability
    champion: Reliability | None = None


def reliability(predicted: "Vector", positive: "Mask", *, confidence: float) -> Reliability:
    """Return the reliability of probabilities `predicted` for rows that were `positive` or not, at least one.

    >>> import numpy as np
    >>> found = reliability(np.repeat([0.1, 0.9], 50), np.arange(100) >= 55, confidence=0.9)
    >>> [(each.rows, round(each.predicted, 3), each.observed) for each in found.bins], round(found.brier, 3)
    ([(50, 0.1, 0.0), (50, 0.9, 0.9)], 0.05)
    """
    import numpy as np

    predicted = np.clip(predicted, 0.0, 1.0)  # in single precision they may be a hair above 1
    bins = min(MOST_BINS, max(1, predicted.size // _LEAST_ROWS))
    inner = np.quantile(predicted, np.arange(1, bins) / bins, method="inverted_cdf")
    # A bin ends with the last row of its upper edge, so equal predictions share one; where edges are equal, bins merge.
    place = np.searchsorted(inner, predicted, side="left")
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, predicted, minlength=bins)
    hits = np.bincount(place, positive, minlength=bins)
    lowest, highest = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(lowest, place, predicted)
    np.maximum.at(highest, place, predicted)
    found = []
    for index in np.flatnonzero(counts):
        rows, seen = int(counts[index]), int(hits[index])
        low, high = wilson(seen, rows, confidence)
        found.append(
            ReliabilityBin(
                rows=rows,
                lowest=float(lowest[index]),
                highest=float(highest[index]),
                predicted=min(float(sums[index]) / rows, 1.0),
                observed=seen / rows,
                low=low,
                high=high,
            )
        )
    return Reliability(brier=float(np.mean((predicted - positive) ** 2)), bins=tuple(found))


def wilson(hits: int, rows: int, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval of a rate of which `hits` of `rows` were seen.

    >>> [round(bound, 4) for bound in wilson(0, 10, 0.95)]
    [0.0, 0.2775]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = hits / rows, z * z / rows
    middle, spread = share + weight / 2, z * math.sqrt(share * (1 - share) / rows + weight / (4 * rows))
    low, high = (middle - spread) / (1 + weight), (middle + spread) / (1 + weight)
    return (0.0 if hits == 0 else low), (1.0 if hits == rows else high)
