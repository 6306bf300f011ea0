"""Evidence about a canary that may be looked at as often as wanted, from counts alone.

This is the door to the modules that the names come from. An e-value is evidence against its hypothesis: where the
hypothesis is true, the probability that the e-value ever reaches 1/α is at most α. The functions return its natural
logarithm, 0.0 where nothing has been seen.
"""

from podium.stats.betting import log_e_within_margin
from podium.stats.canary_planning import expected_requests_to_roll_back, requests_for_margin
from podium.stats.cells import Cell, Cells
from podium.stats.relative_risk import SMALLEST_CHANGE, log_e_better, log_e_worse, relative_risk_interval
from podium.stats.sample_ratio import log_e_sample_ratio
from podium.stats.stratified import Difference, stratified_difference

__all__ = [
    "SMALLEST_CHANGE",
    "Cell",
    "Cells",
    "Difference",
    "expected_requests_to_roll_back",
    "log_e_better",
    "log_e_sample_ratio",
    "log_e_within_margin",
    "log_e_worse",
    "relative_risk_interval",
    "requests_for_margin",
    "stratified_difference",
]
