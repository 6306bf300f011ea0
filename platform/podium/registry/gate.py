"""The decision: from what was measured and the policy to a verdict with its reasons. Pure.

Every condition yields one finding; the candidate passes if every finding does. One failed condition fails it,
otherwise one unknown makes the verdict `insufficient`. Reasons put what decided first, and each shows the
inequality with both numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from podium.registry.evidence import Comparison, Measurement, SliceCheck
from podium.registry.finding import Finding, Verdict
from podium.registry.metrics import Metric
from podium.registry.policy import GatePolicy

_TITLES = {
    Metric.AUC: "AUC",
    Metric.ACCURACY: "accuracy",
    Metric.ERROR_RATE: "error rate",
    Metric.LOG_LOSS: "log loss",
    Metric.MEAN_ABSOLUTE_ERROR: "mean absolute error",
    Metric.MEAN_SQUARED_ERROR: "mean squared error",
}


class Decision(NamedTuple):
    """The gate's answer."""

    verdict: Verdict
    reasons: tuple[str, ...]


def decide(
    policy: GatePolicy,
    *,
    rows: int,
    rarer_class_rows: int | None,
    primary_metric: Metric,
    measurements: Sequence[Measurement],
    primary: Comparison | None,
    guards: Sequence[Comparison] = (),
    slices: Sequence[SliceCheck] = (),
    further: Sequence[Finding] = (),
    doubt: str | None = None,
    notes: Sequence[str] = (),
) -> Decision:
    """Return the verdict on a candidate; without `primary` it is a first model, judged by floors alone.

    On fewer than the policy's minimum of rows, or for AUC of rows of the rarer class, the verdict is
    `insufficient` whatever was measured. `further` are findings on what else the policy asks for. A `doubt` says why
    the champion has an advantage: to lose against it is then `insufficient`. `notes` decide nothing and come last.
    """
    too_small = too_few_rows(policy, primary_metric, rows, rarer_class_rows)
    if too_small:
        return Decision("insufficient", (*_given(doubt), *too_small, *notes))
    measured = {one.metric: one for one in measurements}
    findings = [*_floors(policy.floors, measured)]
    introduction: tuple[str, ...] = ()
    if primary is None:
        introduction = ("First model: there is no champion to compare with, so absolute limits alone decide.",)
        if primary_metric not in policy.floors:
            findings.append(_against_baseline(measured[primary_metric]))
    else:
        questions = [primary, *guards]
        compared = [*(_answer(one, policy, rows) for one in questions), *_harmed(slices, policy)]
        findings = [*(_doubted(one) if doubt else one for one in compared), *findings]
    findings += further
    return Decision(_combine(findings), (*_given(doubt), *introduction, *_reasons(findings), *notes))


def too_few_rows(policy: GatePolicy, primary: Metric, rows: int, rarer_class_rows: int | None) -> tuple[str, ...]:
    """Return why these rows are too few to judge on whatever they show; nothing where they are not."""
    return tuple(_too_small(policy, primary, rows, rarer_class_rows))


def _given(doubt: str | None) -> tuple[str, ...]:
    return (doubt,) if doubt else ()


def _doubted(finding: Finding) -> Finding:
    return Finding("insufficient", finding.reason) if finding.verdict == "failed" else finding


def _too_small(policy: GatePolicy, primary: Metric, rows: int, rarer_class_rows: int | None) -> Iterator[str]:
    if rows < policy.minimum_rows:
        yield f"The holdout has {rows:,} rows < {policy.minimum_rows:,} required."
    if (
        rarer_class_rows is not None
        and rarer_class_rows < policy.minimum_class_rows
        and Metric.AUC in (primary, *policy.named_metrics)
    ):
        yield (f"The rarer class has {rarer_class_rows:,} rows < {policy.minimum_class_rows:,} required for AUC.")


def _combine(findings: Iterable[Finding]) -> Verdict:
    verdicts = {finding.verdict for finding in findings}
    return "failed" if "failed" in verdicts else "insufficient" if "insufficient" in verdicts else "passed"


def _reasons(findings: Sequence[Finding]) -> Iterator[str]:
    for verdict in ("failed", "insufficient", "passed"):
        yield from (finding.reason for finding in findings if finding.verdict == verdict)


def _answer(comparison: Comparison, policy: GatePolicy, rows: int) -> Finding:
    title = _TITLES[comparison.metric]
    gain, low, high, margin = comparison.gain, comparison.low, comparison.high, comparison.margin
    p_value = comparison.p_value
    if p_value is None or gain is None or low is None or high is None or margin is None:
        return Finding("insufficient", f"{title} cannot be compared: {comparison.unknown}.")
    significant = p_value <= policy.alpha
    if comparison.question == "superiority":
        claim, better, worse = "better than the champion's", significant, high < 0
    else:
        claim = f"not worse than the champion's by the margin {margin:.3g}"
        better, worse = low > 0, high < -margin
    found, sign = ("shown", "≤") if significant else ("not shown", ">")
    left, right = _levels(p_value, policy.alpha)
    reason = (
        f"{title} {_models(comparison)} is {found} to be {claim}: p {left} {sign} {right} allowed "
        f"({comparison.test}; gain {gain:+.4g}, {comparison.confidence:.0%} interval {low:+.4g} to "
        f"{high:+.4g})."
    )
    # Rows are asked for only where the answer hangs on the margin: a candidate shown to be better needs none,
    # and one shown to be worse than allowed has failed. In between, too few rows neither pass nor fail.
    enough = comparison.rows_needed is not None and rows >= comparison.rows_needed
    if not (better or worse or enough):
        return Finding("insufficient", f"{reason} {_too_few(comparison, policy, rows)}")
    return Finding("passed" if significant else "failed", reason)


def _models(comparison: Comparison) -> str:
    candidate, champion = comparison.candidate, comparison.champion
    if candidate is None or champion is None:
        return "of the candidate"
    shown = tell_apart(candidate, champion)
    sign = "=" if candidate == champion else ">" if candidate > champion else "<"
    return f"{shown[0]} {sign} {shown[1]}"


def _too_few(comparison: Comparison, policy: GatePolicy, rows: int) -> str:
    if comparison.rows_needed is None:
        return f"No number of rows shows a margin of {comparison.margin:.3g}; give the policy an absolute margin."
    return (
        f"These are {rows:,} rows < {comparison.rows_needed:,} that the margin {comparison.margin:.3g} needs "
        f"at power {policy.power:.0%}; the smallest change they show is {comparison.smallest_visible:.3g}."
    )


def _harmed(slices: Sequence[SliceCheck], policy: GatePolicy) -> Iterator[Finding]:
    for one in slices:
        where = f"Slice {one.column} = {one.value} ({one.rows:,} rows, gain {one.gain:+.4g})"
        if one.p_blocking <= policy.alpha:
            p_value, alpha = _levels(one.p_blocking, policy.alpha)
            yield Finding("failed", f"{where} is worse than the champion: p {p_value} ≤ {alpha}, corrected by Holm.")
        elif one.p_pointing <= policy.alpha:
            p_value, alpha = _levels(one.p_pointing, policy.alpha)
            blocking, _ = _levels(one.p_blocking, policy.alpha)
            yield Finding(
                "passed",
                f"{where} is worth a look: p {p_value} ≤ {alpha} by Benjamini-Hochberg, but {blocking} > "
                f"{alpha} by Holm, so it does not block.",
            )


def _floors(floors: dict[Metric, float], measured: dict[Metric, Measurement]) -> Iterator[Finding]:
    for metric, floor in floors.items():
        value = measured[metric].candidate if metric in measured else None
        if value is None:
            yield Finding("insufficient", f"{_TITLES[metric]} is unknown; {floor:.4g} is required.")
            continue
        met = metric.meets(value, floor)
        below, above = ("≥", "<") if metric.higher_is_better else ("≤", ">")
        limit = "required" if metric.higher_is_better else "allowed"
        shown = tell_apart(value, floor)
        sign = below if met else above
        yield Finding("passed" if met else "failed", f"{_TITLES[metric]} {shown[0]} {sign} {shown[1]} {limit}.")


def _against_baseline(measurement: Measurement) -> Finding:
    metric, value, baseline = measurement.metric, measurement.candidate, measurement.baseline
    title = _TITLES[metric]
    if value is None or baseline is None:
        return Finding("insufficient", f"{title} is unknown, so it cannot be held against a constant answer's.")
    beats = metric.better(value, baseline)
    sign = "=" if value == baseline else ">" if value > baseline else "<"
    shown = tell_apart(value, baseline)
    return Finding(
        "passed" if beats else "failed",
        f"{title} {shown[0]} {sign} {shown[1]} of the best constant answer, which must be beaten because "
        "the policy sets no floor on it.",
    )


def _levels(p_value: float, alpha: float) -> tuple[str, str]:
    shown, level = tell_apart(p_value, alpha)
    return (shown if p_value >= 0.001 else f"{p_value:.1e}"), level


def tell_apart(left: float, right: float) -> tuple[str, str]:
    """Return both numbers with the fewest digits, at least three decimals, that keep an inequality visible.

    >>> tell_apart(0.571, 0.58), tell_apart(0.05004, 0.05), tell_apart(12345.6, 12000.0)
    (('0.571', '0.580'), ('0.05004', '0.05000'), ('12,345.600', '12,000.000'))
    """
    for decimals in range(3, 13):
        shown = f"{left:z,.{decimals}f}", f"{right:z,.{decimals}f}"  # z: no -0.000
        if left == right or shown[0] != shown[1]:
            return shown
    return repr(left), repr(right)
