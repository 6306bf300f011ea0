"""What else a policy asks for, from what is known to findings: limits, signature, data checks, rules. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from podium.checks.report import DataReport
from podium.errors import EvaluationError
from podium.registry.evidence import DataCheck, LimitCheck, RuleCheck, SignatureCheck
from podium.registry.finding import Finding
from podium.registry.latency import SAMPLE_ROWS
from podium.registry.policy import GatePolicy, decimal_in_full

_COLUMNS_NAMED = 10
_FEW_ROWS = 20
_DUPLICATES_TOLD_FROM = 0.01

_WHAT = {
    "latency_milliseconds": "The p95 latency of a single row",
    "latency_ratio": "The p95 latency of a single row over the champion's",
    "size_bytes": "The size of the candidate",
    "cost_usd": "The cost of the run so far",
}
_UNITS = {"latency_milliseconds": " ms", "latency_ratio": "", "size_bytes": " bytes", "cost_usd": " USD"}


def on_limits(limits: Iterable[LimitCheck], rows: int) -> Iterator[Finding]:
    """Yield a finding for each limit; `rows` is how many the holdout has.

    A latency below its limit that could be measured on a few rows only, because the models are slow, is no proof.
    """
    for limit in limits:
        what, unit = _WHAT[limit.limit], _UNITS[limit.limit]
        if limit.value is None:
            allowed = f"{decimal_in_full(limit.allowed)}{unit}"
            yield Finding("insufficient", f"{what} is unknown, {allowed} are allowed: {limit.unknown}.")
            continue
        value, allowed = _told_apart(limit.value, limit.allowed, money=limit.limit == "cost_usd")
        within = limit.value <= limit.allowed
        reason = f"{what} is {value}{unit} {'≤' if within else '>'} {allowed}{unit} allowed{_measured_on(limit)}."
        few = limit.rows is not None and limit.rows < min(_FEW_ROWS, rows)
        if within and few:
            wanted = min(_FEW_ROWS, SAMPLE_ROWS, rows)
            yield Finding("insufficient", f"{reason} No more rows were answered in time; {wanted} are needed.")
        else:
            yield Finding("passed" if within else "failed", reason)


def on_signature(check: SignatureCheck | None, policy: GatePolicy) -> Iterator[Finding]:
    """Yield what there is to say of the columns and classes of a candidate for callers of the champion."""
    if check is None or policy.signature == "any":
        return
    if check.champion_classes is not None:
        classes = ", ".join(check.classes or ("none",))
        yield Finding(
            "failed",
            f"The candidate answers in the classes {classes}, the champion in {', '.join(check.champion_classes)}; "
            "callers of the champion expect its own. Train on the same labels, or set signature: any.",
        )
    if check.new:
        yield Finding(
            "failed",
            f"The candidate needs {_columns(check.new)}, which callers of the champion do not send. Train it without, "
            "or let callers send more first and set signature: any.",
        )
    for each in check.changed:
        yield Finding(
            "failed",
            f"The column {each.name} is {each.candidate} for the candidate and {each.champion} for the champion, whose "
            "callers send that. Prepare it as before, or set signature: any.",
        )
    if check.dropped:
        yield Finding("passed", f"The candidate does without {_columns(check.dropped)} that the champion needs.")
    if check.unknown is not None:
        reason = f"Whether the candidate needs other columns than the champion is unknown: {check.unknown}."
        yield Finding("insufficient" if policy.signature == "compatible" else "passed", reason)
    elif policy.signature == "compatible" and not (check.new or check.changed or check.champion_classes):
        count = len(check.features or ())
        yield Finding("passed", f"All {count} columns that the candidate needs are sent by callers of the champion.")


def data_checks_of(reports: object) -> tuple[DataCheck, ...]:
    """Return what reports of data checks say, one or a sequence of them; EvaluationError for anything else.

    What was recorded of such checks, on the same rows, says it as well.
    """
    given = [] if reports is None else [reports] if not isinstance(reports, list | tuple) else reports
    found = []
    for report in given:
        if isinstance(report, DataCheck):
            found.append(report)
            continue
        if not isinstance(report, DataReport):
            raise EvaluationError(
                f"evaluate_candidate is given a {type(report).__name__} among its checks; give what check_data "
                "returned, or a list of that."
            )
        found += [
            DataCheck(
                report=report.called,
                check=result.name,
                severity=result.severity,
                outcome=result.outcome,
                reason=result.reason,
            )
            for result in report.results
        ]
    return tuple(found)


def on_data_checks(checks: Sequence[DataCheck], policy: GatePolicy) -> Iterator[Finding]:
    """Yield what data checks come to: where they are required, one that stops decides; any other is only told."""
    required = policy.data_checks == "required"
    if required and not checks:
        yield Finding(
            "insufficient",
            "The policy requires data checks, and no report was handed to evaluate_candidate; give it the report that "
            "check_data returned, as checks=….",
        )
    for check in checks:
        if check.outcome == "passed":
            continue
        decides = required and check.severity == "stop"
        unknown = check.outcome == "unknown"
        said = "could not tell" if unknown else "failed"
        beside = "" if decides else ", which does not block"
        yield Finding(
            ("insufficient" if unknown else "failed") if decides else "passed",
            f"The data check {check.check} of {check.report} {said}{beside}: {check.reason}.",
        )
    if required and checks:
        passed = sum(check.outcome == "passed" for check in checks)
        names = ", ".join(dict.fromkeys(check.report for check in checks))
        yield Finding("passed", f"{passed} of {len(checks)} data checks passed ({names}).")


def on_rules(checks: Iterable[RuleCheck]) -> Iterator[Finding]:
    """Yield what the project's own rules found, each under its name."""
    for check in checks:
        yield Finding(check.verdict, f"{check.rule}: {check.reason}")


def notes_on(policy: GatePolicy, rows: int, duplicate_rows: int | None, holdout_uses: int) -> Iterator[str]:
    """Yield what a reader of the verdict must know, and what decides nothing."""
    if duplicate_rows is not None and duplicate_rows > _DUPLICATES_TOLD_FROM * rows:
        yield (
            f"{duplicate_rows:,} of {rows:,} rows of the holdout ({duplicate_rows / rows:.1%}) repeat another row, "
            "label and all; rows are taken as independent, so the intervals may be too narrow."
        )
    if holdout_uses:
        times = "once" if holdout_uses == 1 else f"{holdout_uses:,} times"
        yield f"These rows have judged {times} before; each look at them is another chance to be lucky."
    if policy.called is not None:
        yield f"Judged by the policy {policy.called}."


def _columns(names: Sequence[str]) -> str:
    more = f" and {len(names) - _COLUMNS_NAMED} more" if len(names) > _COLUMNS_NAMED else ""
    plural = "columns" if len(names) > 1 else "column"
    return f"the {plural} {', '.join(names[:_COLUMNS_NAMED])}{more}"


def _measured_on(limit: LimitCheck) -> str:
    if limit.candidate is not None and limit.champion is not None:
        pair = f"{decimal_in_full(limit.candidate)} ms / {decimal_in_full(limit.champion)} ms, "
    else:
        pair = ""
    return "" if limit.rows is None else f" ({pair}{limit.rows:,} rows)"


def _told_apart(value: Decimal, allowed: Decimal, *, money: bool) -> tuple[str, str]:
    """Return both numbers with as many decimals as tell them apart; of money three digits and cents at least.

    >>> _told_apart(Decimal("47.5"), Decimal(47), money=False), _told_apart(Decimal(7), Decimal(9), money=False)
    (('47.500', '47.000'), ('7', '9'))
    >>> _told_apart(Decimal("0.0000604"), Decimal("0.5"), money=True)
    ('0.0000604', '0.50')
    """
    if money:
        texts = _money(value), _money(allowed)
        if texts[0] != texts[1] or value == allowed:
            return texts
    whole = value == value.to_integral() and allowed == allowed.to_integral()
    for decimals in range(0 if whole else 3, 13):
        texts = f"{value:,.{decimals}f}", f"{allowed:,.{decimals}f}"
        if texts[0] != texts[1] or value == allowed:
            return texts
    return decimal_in_full(value), decimal_in_full(allowed)


def _money(amount: Decimal) -> str:
    decimals = max(2, 2 - amount.adjusted()) if 0 < amount < 1 else 2
    whole, _, cents = f"{amount:,.{decimals}f}".partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"
