"""Paired accuracy: McNemar's mid-p test, Tango's score interval and non-inferiority test.

Only the rows on which exactly one model is right tell them apart. Sources: Fagerland, Lydersen & Laake, BMC
Medical Research Methodology 13:91 (2013) for the mid-p; Tango, Statistics in Medicine 17 (1998) 891-908 for
the score test, which stays valid where no or few rows disagree.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import bdtrc, ndtr, ndtri

from podium.errors import EvaluationError
from podium.stats import power as planning
from podium.stats.paired import Bounds, check_confidence, check_margin, finite_vector


@dataclass(frozen=True, slots=True)
class PairedAccuracy:
    """How often each model alone was right; a `PairedTest` of the difference in accuracy.

    >>> comparison = PairedAccuracy(only_candidate=80, only_champion=50, rows=2000)
    >>> comparison.gain, round(comparison.p_superior(), 4)
    (0.015, 0.0043)
    """

    only_candidate: int
    only_champion: int
    rows: int

    name: ClassVar[str] = "McNemar mid-p, Tango score interval"
    informative: ClassVar[bool] = True  # the score test has a variance even where no row disagrees

    def __post_init__(self) -> None:
        if self.rows < 1 or min(self.only_candidate, self.only_champion) < 0:
            raise EvaluationError(f"Accuracy cannot be compared on {self}: counts must be ≥ 0 and rows ≥ 1.")
        if self.only_candidate + self.only_champion > self.rows:
            raise EvaluationError(f"Accuracy cannot be compared on {self}: more rows disagree than there are.")

    @property
    def gain(self) -> float:
        """The candidate's accuracy less the champion's."""
        return (self.only_candidate - self.only_champion) / self.rows

    @property
    def disagreement(self) -> float:
        """The share of rows on which exactly one model is right."""
        return (self.only_candidate + self.only_champion) / self.rows

    def interval(self, confidence: float) -> Bounds:
        """Return Tango's score interval: the differences that his test does not reject."""
        check_confidence(confidence)
        z = float(ndtri((1 + confidence) / 2))
        return Bounds(self._difference_with_score(z), self._difference_with_score(-z))

    def p_superior(self) -> float:
        """Return McNemar's one-sided mid-p; 0.5 where no row disagrees, which favours neither model."""
        return self._mid_p(self.only_candidate)

    def p_worse(self) -> float:
        """Return McNemar's one-sided mid-p with the models exchanged."""
        return self._mid_p(self.only_champion)

    def p_not_inferior(self, margin: float) -> float:
        """Return the p-value of Tango's score test against "at least `margin` less accurate"."""
        check_margin(margin)
        return float(ndtr(-self._score(-margin))) if margin < 1 else 0.0

    def rows_needed(self, margin: float, *, alpha: float, power: float) -> int:
        """Return the rows that `margin` needs.

        A model that is `margin` less accurate disagrees on at least that share of rows, so no smaller
        disagreement is believed, whatever a small sample shows.
        """
        return planning.required_rows(max(self.disagreement, margin), margin, alpha=alpha, power=power)

    def smallest_visible(self, *, alpha: float, power: float) -> float:
        """Return the smallest gain in accuracy that these rows show with probability `power`.

        At least one row's worth of disagreement is assumed.
        """
        variance = max(self.disagreement, 1 / self.rows)
        return planning.smallest_visible(variance, self.rows, alpha=alpha, power=power)

    def _mid_p(self, successes: int) -> float:
        discordant = self.only_candidate + self.only_champion
        at_least = float(bdtrc(successes - 1, discordant, 0.5)) if successes else 1.0
        more = float(bdtrc(successes, discordant, 0.5)) if successes < discordant else 0.0
        return (at_least + more) / 2

    def _score(self, difference: float) -> float:
        """Return Tango's z of the hypothesis that the true gain is `difference`, in (-1, 1).

        The variance uses the likelihood's maximum under that hypothesis: the larger root of a quadratic in
        the probability that only the champion is right.
        """
        n, gained, lost = self.rows, self.only_candidate, self.only_champion
        linear = (2 * n - gained + lost) * difference - gained - lost
        root = math.sqrt(max(linear**2 + 8 * n * lost * difference * (1 - difference), 0.0))
        only_champion = max((root - linear) / (4 * n), 0.0, -difference)
        variance = n * (2 * only_champion + difference * (1 - difference))
        observed = gained - lost - n * difference
        if variance <= 0:  # only at difference 0 with no disagreement: exactly what was observed
            return 0.0
        return observed / math.sqrt(variance)

    def _difference_with_score(self, z: float) -> float:
        edge = 1 - 1e-12
        # The score falls from +∞ at -1 to -∞ at +1, except where every row disagrees in one direction.
        if self._score(-edge) <= z:
            return -1.0
        if self._score(edge) >= z:
            return 1.0
        return float(brentq(lambda difference: self._score(difference) - z, -edge, edge, xtol=1e-12))


def compare_accuracy(candidate_correct: npt.ArrayLike, champion_correct: npt.ArrayLike) -> PairedAccuracy:
    """Return the comparison of two models from which rows each got right (0/1 or bool, equal lengths).

    Raises EvaluationError where the vectors are empty, differ in length or hold anything else.
    """
    candidate = finite_vector(candidate_correct, "marks of the candidate")
    champion = finite_vector(champion_correct, "marks of the champion")
    if candidate.size != champion.size:
        raise EvaluationError(
            f"The candidate is marked on {candidate.size:,} rows and the champion on {champion.size:,}; both "
            "must judge the same rows."
        )
    for marks, whose in ((candidate, "candidate"), (champion, "champion")):
        if not bool(((marks == 0) | (marks == 1)).all()):
            raise EvaluationError(f"The marks of the {whose} are not all 0 or 1: right is 1, wrong is 0.")
    return PairedAccuracy(
        only_candidate=int((candidate > champion).sum()),
        only_champion=int((champion > candidate).sum()),
        rows=candidate.size,
    )
