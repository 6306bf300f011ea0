"""From counts to a verdict: the one place that says what a canary's evidence means. Pure.

Three guardrails are weighed at every look, and the first of these that holds is the verdict:

- `invalid`: requests do not go where the recorded weights say (e-value at 1/0.001), so the rest means nothing;
- `roll_back`: the challenger errs more often (attribution e-process at 1/alpha);
- `promote`: its error rate is not higher by the margin (betting e-process at 2/alpha at any look, or the
  stratified test at alpha/2 at the declared horizon);
- `inconclusive`: neither, and the horizon is reached; the champion stays;
- `continue`.

A variant without exposures is unknown: it is neither promoted nor rolled back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from podium.canary.entities import Assessment, GuardrailEvidence, Verdict, requests_of, totals
from podium.canary.plan import CanaryPlan
from podium.stats.sequential import (
    Cells,
    Difference,
    log_e_sample_ratio,
    log_e_within_margin,
    log_e_worse,
    relative_risk_interval,
    requests_for_margin,
    stratified_difference,
)

SAMPLE_RATIO_ALPHA: Final = 0.001
_LARGEST_E_VALUE: Final = 1e300
_UNKNOWN: Final = (None, None, None)


def assess(plan: CanaryPlan, horizon: int, baseline_error_rate: float, cells: Cells) -> Assessment:
    """Return the verdict on the counts so far, the reasons for it, and what every guardrail shows.

    `horizon` is the number of requests declared when the canary opened; `baseline_error_rate` the champion's error
    rate known then. Equal arguments, equal assessment: past decisions replay.
    """
    weighed = _weigh(plan, baseline_error_rate, cells)
    difference = stratified_difference(cells)
    verdict = _verdict(plan, horizon, cells, weighed, difference)
    look = _Look(plan, horizon, baseline_error_rate, cells, weighed, difference)
    return Assessment(verdict, look.reasons(verdict), look.evidence())


def verdict_of(plan: CanaryPlan, horizon: int, baseline_error_rate: float, cells: Cells) -> Verdict:
    """Return the verdict of `assess` alone, without the intervals and words that take it most of its time."""
    weighed = _weigh(plan, baseline_error_rate, cells)
    at_horizon = requests_of(cells) >= horizon
    return _verdict(plan, horizon, cells, weighed, stratified_difference(cells) if at_horizon else None)


@dataclass(frozen=True, slots=True)
class _Weighed:
    """The log e-values of one look."""

    worse: float
    within_margin: float
    sample_ratio: float


def _weigh(plan: CanaryPlan, baseline_error_rate: float, cells: Cells) -> _Weighed:
    return _Weighed(
        worse=log_e_worse(cells, smallest_change=plan.smallest_change),
        within_margin=log_e_within_margin(cells, margin=plan.margin, centre=baseline_error_rate),
        sample_ratio=log_e_sample_ratio(cells),
    )


def _verdict(plan: CanaryPlan, horizon: int, cells: Cells, weighed: _Weighed, difference: Difference | None) -> Verdict:
    at_horizon = requests_of(cells) >= horizon
    if weighed.sample_ratio >= math.log(1 / SAMPLE_RATIO_ALPHA):
        return "invalid"
    if not _unseen(cells):
        if weighed.worse >= math.log(1 / plan.alpha):
            return "roll_back"
        if weighed.within_margin >= math.log(2 / plan.alpha):
            return "promote"
        if at_horizon and difference is not None and difference.p_value(plan.margin) <= plan.alpha / 2:
            return "promote"
    return "inconclusive" if at_horizon else "continue"


def _unseen(cells: Cells) -> list[str]:
    """Return the variants without exposures."""
    counted = totals(cells)
    return [variant for variant in ("challenger", "champion") if counted[f"{variant}_exposures"] == 0]


@dataclass(frozen=True)
class _Look:
    """Everything one look has to tell from."""

    plan: CanaryPlan
    horizon: int
    baseline_error_rate: float
    cells: Cells
    weighed: _Weighed
    difference: Difference | None

    def evidence(self) -> tuple[GuardrailEvidence, ...]:
        """Return a row for each guardrail, in the order in which they are asked."""
        plan, weighed = self.plan, self.weighed
        sample_ratio = (self._exposures_per_expected(), None, None)
        risk = self._relative_risk() if not _unseen(self.cells) else _UNKNOWN
        difference = _UNKNOWN if self.difference is None else _around(self.difference, plan.alpha)
        return (
            _row("sample_ratio", weighed.sample_ratio, 1 / SAMPLE_RATIO_ALPHA, sample_ratio),
            _row("error_rate", weighed.worse, 1 / plan.alpha, risk),
            _row("error_rate_margin", weighed.within_margin, 2 / plan.alpha, difference),
        )

    def reasons(self, verdict: Verdict) -> tuple[str, ...]:
        """Return why the verdict is what it is, as inequalities with their counts."""
        if verdict == "invalid":
            return (self._sample_ratio_text(),)
        if verdict == "roll_back":
            return (self._worse_text(), self._difference_text())
        if verdict == "promote":
            return (self._within_margin_text(), self._difference_text())
        unknown = tuple(
            f"The {variant} has no exposures in {self._requests:,} requests: its error rate is unknown."
            for variant in _unseen(self.cells)
        )
        if verdict == "continue":
            return unknown or (f"{self._requests:,} of {self.horizon:,} requests: {self._neither_text()}.",)
        undecided = (
            f"The horizon of {self.horizon:,} requests is reached and neither harm nor its absence is shown: "
            f"{self._neither_text()}, {self._horizon_text()}."
        )
        shown = unknown or (undecided, self._difference_text())
        return (*shown, self._enough_text())

    @property
    def _requests(self) -> int:
        return requests_of(self.cells)

    def _sample_ratio_text(self) -> str:
        expected = self._expected_challenger_exposures()
        got = totals(self.cells)["challenger_exposures"]
        return (
            f"The challenger got {got:,} of {self._requests:,} requests where the recorded weights say "
            f"{expected:,.0f}: e-value {_e_text(self.weighed.sample_ratio)} ≥ {1 / SAMPLE_RATIO_ALPHA:,.0f} allowed. "
            "Requests do not go where the record says, so nothing follows about the models; repair the routing and "
            "start again."
        )

    def _worse_text(self) -> str:
        low, high = self._relative_risk()[1:]
        return (
            f"The challenger errs more often: e-value {_e_text(self.weighed.worse)} ≥ {1 / self.plan.alpha:g} allowed "
            f"after {self._requests:,} requests, relative risk in [{_bound(low, '0')}, {_bound(high, '∞')}]."
        )

    def _within_margin_text(self) -> str:
        claim = f"The challenger's error rate is not higher by {_share(self.plan.margin)} or more"
        if self.weighed.within_margin >= math.log(2 / self.plan.alpha):
            shown = f"e-value {_e_text(self.weighed.within_margin)} ≥ {2 / self.plan.alpha:g} required"
            return f"{claim}: {shown} after {self._requests:,} requests."
        return f"{claim}: {self._horizon_text()} at the horizon of {self.horizon:,} requests."

    def _neither_text(self) -> str:
        return (
            f"e-value {_e_text(self.weighed.worse)} < {1 / self.plan.alpha:g} for a higher error rate, "
            f"{_e_text(self.weighed.within_margin)} < {2 / self.plan.alpha:g} for one within {_share(self.plan.margin)}"
        )

    def _horizon_text(self) -> str:
        """Return the fixed-horizon test as an inequality."""
        level = self.plan.alpha / 2
        if self.difference is None:
            return "the difference within phases is unknown"
        p_value = self.difference.p_value(self.plan.margin)
        return f"p = {p_value:.4f} {'≤' if p_value <= level else '>'} {level:g}"

    def _difference_text(self) -> str:
        counted = totals(self.cells)
        counts = (
            f"challenger {counted['challenger_errors']:,} errors in {counted['challenger_exposures']:,} exposures, "
            f"champion {counted['champion_errors']:,} in {counted['champion_exposures']:,}"
        )
        if self.difference is None:
            return f"Difference within phases unknown: no phase has exposures of both ({counts})."
        estimate, low, high = _around(self.difference, self.plan.alpha)
        return f"Difference within phases {estimate:+.4f} [{low:+.4f}, {high:+.4f}] ({counts})."

    def _enough_text(self) -> str:
        """Return how many requests there were against how many the margin takes."""
        counted, rate, known = totals(self.cells), self.baseline_error_rate, "expected"
        if self._requests:
            rate = (counted["challenger_errors"] + counted["champion_errors"]) / self._requests
            known = "observed"
        needed = requests_for_margin(
            error_rate=min(rate, 1 - self.plan.margin),  # above it, no challenger can be worse by the margin
            margin=self.plan.margin,
            weights=self.plan.weights,
            alpha=self.plan.alpha / 2,
            power=self.plan.power,
        )
        return (
            f"{self._requests:,} requests {'<' if self._requests < needed else '≥'} {needed:,} needed for a margin of "
            f"{_share(self.plan.margin)} at the {known} error rate of {rate:.3f}. The champion stays."
        )

    def _expected_challenger_exposures(self) -> float:
        return sum(cell.weight * (cell.challenger_exposures + cell.champion_exposures) for cell in self.cells)

    def _exposures_per_expected(self) -> float | None:
        expected = self._expected_challenger_exposures()
        return totals(self.cells)["challenger_exposures"] / expected if expected else None

    def _relative_risk(self) -> tuple[float | None, float | None, float | None]:
        """Return estimate and interval of the relative risk; what the errors do not bound is unknown.

        Each end misses with alpha, as the guardrail does: 1 lies below the interval exactly when it acts.
        """
        low, high = relative_risk_interval(
            self.cells, alpha=2 * self.plan.alpha, smallest_change=self.plan.smallest_change
        )
        return _standardised_risk(self.cells), low or None, _finite(high)


def _standardised_risk(cells: Cells) -> float | None:
    """Return the Mantel-Haenszel estimate of the relative risk, which compares within phases."""
    both = [cell for cell in cells if cell.challenger_exposures and cell.champion_exposures]
    sizes = [cell.challenger_exposures + cell.champion_exposures for cell in both]
    pairs = list(zip(both, sizes, strict=True))
    champion = sum(cell.champion_errors * cell.challenger_exposures / size for cell, size in pairs)
    challenger = sum(cell.challenger_errors * cell.champion_exposures / size for cell, size in pairs)
    return challenger / champion if champion else None


def _around(difference: Difference, alpha: float) -> tuple[float, float, float]:
    """Return the estimate and its interval for one look, whose lower and upper ends each miss with alpha/2."""
    reach = NormalDist().inv_cdf(1 - alpha / 2) * difference.standard_error
    return difference.estimate, difference.estimate - reach, difference.estimate + reach


def _row(guardrail: str, log_e: float, threshold: float, estimate: Sequence[float | None]) -> GuardrailEvidence:
    value, low, high = (None if number is None else _finite(number) for number in estimate)
    return GuardrailEvidence(
        guardrail=guardrail,
        e_value=None if math.isnan(log_e) else min(math.exp(min(log_e, 700.0)), _LARGEST_E_VALUE),
        log_e_value=_finite(log_e),
        threshold=threshold,
        estimate=value,
        low=low,
        high=high,
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _bound(value: float | None, unknown: str) -> str:
    return unknown if value is None else f"{value:.2f}"


def _share(margin: float) -> str:
    """Return a margin for a person, in three decimals where they suffice.

    >>> _share(0.01), _share(0.0005)
    ('0.010', '0.0005')
    """
    return f"{margin:.3f}" if margin == round(margin, 3) else f"{margin:g}"


def _e_text(log_e: float) -> str:
    """Return an e-value for a person.

    >>> [_e_text(math.log(value)) for value in (0.004, 1.2345, 43.21, 12345.6)], _e_text(900.0)
    (['0.004', '1.23', '43.2', '12,346'], 'over 1,000,000')
    """
    if log_e > math.log(1_000_000):
        return "over 1,000,000"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
