"""Judge a candidate against the champion on the same rows.

Asks both models, measures them, puts the policy's questions to the tests of `podium.stats`, hands the answers
to the gate and keeps everything as evidence. Bad rows and broken models raise EvaluationError; rows that are
good but too few end in the verdict `insufficient`. What on few rows may be chance (one class only, the same
answer to every row) raises only from the policy's `minimum_rows` on: there it is a defect.
"""

import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import EvaluationError
from podium.registry import conditions
from podium.registry.calibration import Calibration, reliability
from podium.registry.evidence import (
    Comparison,
    Evidence,
    Feature,
    Measurement,
    PolicySource,
    Question,
    RuleCheck,
    SliceCheck,
)
from podium.registry.gate import decide, too_few_rows
from podium.registry.holdout import count_duplicates, read_holdout, read_only
from podium.registry.latency import Timer
from podium.registry.limits import check_limits
from podium.registry.metrics import Metric
from podium.registry.policy import GatePolicy
from podium.registry.rules import RuleInput, ask_rules
from podium.registry.signature import check_signature
from podium.registry.trial import Positions, Trial, hold_trial
from podium.stats.multiplicity import benjamini_hochberg, holm


def evaluate(
    candidate: Any,
    champion: Any | None,
    holdout: pd.DataFrame,
    *,
    label: str,
    model: str,
    policy: GatePolicy,
    candidate_digest: str,
    champion_version: str | None,
    holdout_digest: str,
    holdout_uses: int,
    seed: int,
    checks: object = None,
    cost_usd: Decimal | None = None,
    champion_features: Sequence[Feature] | None = None,
    doubt: str | None = None,
    policy_source: PolicySource = "pipeline",
    block_rows: int = 65_536,
    timer: Timer = time.perf_counter,
) -> Evidence:
    """Return the evidence, with its verdict, of `candidate` against `champion` on `holdout`.

    Both are fitted estimators; `champion` and `champion_version` are None for a first model. Features are all
    columns but `label`, of which each model is shown those it was trained on. `checks` are reports of data checks,
    `cost_usd` is what the run has cost so far (None: not known), `champion_features` are those of the champion's own
    evidence, and `doubt` says why the champion has an advantage. `seed` starts what is random: the same arguments give
    the same evidence, but for the time that a model takes. Raises EvaluationError (see the module), and
    ConfigurationError for a rule of the policy that there is not.
    """
    if (champion is None) != (champion_version is None):
        raise EvaluationError(
            f"The champion of {model} is half there (version {champion_version}, its estimator is "
            f"{'missing' if champion is None else 'given'}); give both, or neither for a first model."
        )
    data_checks = conditions.data_checks_of(checks)
    bound = [rule.bound() for rule in policy.rules]
    policy = policy.model_copy(update={"rules": tuple(rule for rule, _ in bound)})
    rows = read_holdout(holdout, label)
    trial = hold_trial(candidate, champion, rows, minimum_rows=policy.minimum_rows, block_rows=block_rows)
    primary_metric = _primary_metric(policy, trial)
    measured = {metric: trial.measure(metric) for metric in trial.metrics}
    generator = np.random.default_rng(seed)
    primary, guards = _answer_questions(policy, primary_metric, trial, measured, generator)
    slices, slices_not_checked = _check_slices(policy, primary_metric, trial, holdout, generator)
    signature = check_signature(candidate, champion, rows, champion_features)
    duplicate_rows = count_duplicates(holdout)
    rarer_class_rows = trial.rarer_class_rows()
    enough = not too_few_rows(policy, primary_metric, len(rows), rarer_class_rows)
    limits = check_limits(
        policy.limits,
        candidate,
        champion,
        rows,
        cost_usd=cost_usd,
        generator=np.random.default_rng([seed, 1]),  # its own, so that a limit changes no interval
        timer=timer,
    )
    asked = ask_rules(bound, _given_to_rules(trial, holdout, measured)) if enough and bound else []
    rules = tuple(RuleCheck(rule=name, verdict=found.verdict, reason=found.reason) for name, found in asked)
    decision = decide(
        policy,
        rows=len(rows),
        rarer_class_rows=rarer_class_rows,
        primary_metric=primary_metric,
        measurements=tuple(measured.values()),
        primary=primary,
        guards=guards,
        slices=slices,
        further=(
            *conditions.on_signature(None if champion is None else signature, policy),
            *conditions.on_limits(limits, len(rows)),
            *conditions.on_data_checks(data_checks, policy),
            *conditions.on_rules(rules),
        ),
        doubt=doubt,
        notes=tuple(conditions.notes_on(policy, len(rows), duplicate_rows, holdout_uses)),
    )
    return Evidence(
        model=model,
        kind=trial.kind,
        label=label,
        candidate_digest=candidate_digest,
        champion_version=champion_version,
        rows=len(rows),
        rarer_class_rows=rarer_class_rows,
        holdout_digest=holdout_digest,
        holdout_uses=holdout_uses,
        policy=policy,
        policy_digest=policy.digest,
        seed=seed,
        primary_metric=primary_metric,
        primary=primary,
        guards=guards,
        slices=slices,
        slices_not_checked=slices_not_checked,
        measurements=tuple(measured.values()),
        discordant=trial.discordant(),
        verdict=decision.verdict,
        reasons=decision.reasons,
        calibration=_calibrate(candidate, trial, policy),
        duplicate_rows=duplicate_rows,
        signature=signature,
        limits=limits,
        rules=rules,
        data_checks=data_checks,
        policy_source=policy_source,
    )


def _given_to_rules(trial: Trial, holdout: pd.DataFrame, measured: dict[Metric, Measurement]) -> RuleInput:
    return RuleInput(
        holdout=holdout.copy(deep=False),
        labels=read_only(trial.labels),
        candidate=trial.candidate.told(),
        champion=None if trial.champion is None else trial.champion.told(),
        measurements={str(metric): measurement for metric, measurement in measured.items()},
    )


def _primary_metric(policy: GatePolicy, trial: Trial) -> Metric:
    """Return the metric that decides, once every metric of the policy is known to be measurable."""
    available = trial.metrics
    for metric in policy.named_metrics:
        if metric not in available:
            why = (
                "not every model here gives probabilities (no predict_proba)"
                if trial.kind in metric.kinds
                else f"it does not apply to {trial.kind}"
            )
            raise EvaluationError(f"The policy asks for {metric}, but {why}; let it name only {', '.join(available)}.")
    primary = policy.primary or available[0]
    if primary.is_share and policy.margin is not None and policy.margin >= 1:
        raise EvaluationError(
            f"The policy's margin {policy.margin} ≥ 1 on {primary} accepts anything; give a share such as 0.01."
        )
    return primary


def _answer_questions(
    policy: GatePolicy,
    primary_metric: Metric,
    trial: Trial,
    measured: dict[Metric, Measurement],
    generator: np.random.Generator,
) -> tuple[Comparison | None, tuple[Comparison, ...]]:
    if trial.champion is None:
        return None, ()

    def answer(metric: Metric, question: Question, margin: float | None) -> Comparison:
        return _compare(measured[metric], question, margin, policy, trial, generator)

    question: Question = "non_inferiority" if policy.mode == "refresh" else "superiority"
    return (
        answer(primary_metric, question, policy.margin),
        tuple(answer(guard.metric, "non_inferiority", guard.margin) for guard in policy.guards),
    )


def _compare(
    measured: Measurement,
    question: Question,
    margin: float | None,
    policy: GatePolicy,
    trial: Trial,
    generator: np.random.Generator,
) -> Comparison:
    confidence = 1 - 2 * policy.alpha  # two-sided, so that an end beyond the margin is a one-sided test at alpha
    unmeasured = Comparison(
        metric=measured.metric,
        question=question,
        margin=margin,
        confidence=confidence,
        candidate=measured.candidate,
        champion=measured.champion,
    )
    test = trial.compare(measured.metric, generator)
    if test is None or measured.champion is None:
        return unmeasured.model_copy(update={"unknown": f"{trial.rarer_class_rows()} rows of the rarer class < 2"})
    if not test.informative:
        why = f"the gain is {test.gain:+.4g} with no spread: no row tells the two models apart"
        return unmeasured.model_copy(update={"unknown": why, "gain": test.gain})
    accepted = measured.metric.default_margin(measured.champion) if margin is None else margin
    # A tenth of a flawless champion's error is no margin: what is left to ask is "better", on any rows.
    asks_margin = question == "non_inferiority" and accepted > 0
    low, high = test.interval(confidence)
    planned = {"alpha": policy.alpha, "power": policy.power}
    return Comparison(
        metric=measured.metric,
        question=question,
        margin=accepted,
        confidence=confidence,
        test=test.name,
        candidate=measured.candidate,
        champion=measured.champion,
        gain=test.gain,
        low=low,
        high=high,
        p_value=test.p_not_inferior(accepted) if asks_margin else test.p_superior(),
        smallest_visible=test.smallest_visible(**planned),
        rows_needed=test.rows_needed(accepted, **planned) if accepted > 0 else None,
    )


def _check_slices(
    policy: GatePolicy,
    metric: Metric,
    trial: Trial,
    holdout: pd.DataFrame,
    generator: np.random.Generator,
) -> tuple[tuple[SliceCheck, ...], int]:
    """Return the slices that could be checked for harm, and how many could not.

    Not checked are slices with too few rows, for AUC too few of a class, and those on which no row tells the
    models apart.
    """
    absent = [column for column in policy.slices if column not in holdout.columns]
    if absent:
        raise EvaluationError(
            f"The policy slices by {', '.join(absent)}, but the holdout has no such column; keep it in the "
            "holdout (a model is shown only the columns it was trained on) or drop it from the policy."
        )
    if trial.champion is None:
        return (), 0
    found, not_checked = [], 0
    for column in policy.slices:
        codes, values = pd.factorize(holdout[column], use_na_sentinel=False)
        counts = np.bincount(codes, minlength=len(values)).tolist()
        for code, value in enumerate(values):
            test = None
            if counts[code] >= policy.minimum_slice_rows:  # no mask for the others: there may be thousands
                rows = np.flatnonzero(codes == code)
                if _has_both_classes(rows, policy, metric, trial):
                    test = trial.compare(metric, generator, rows)
            if test is None or not test.informative:
                not_checked += 1
            else:
                bounds = test.interval(1 - 2 * policy.alpha)
                found.append((column, str(value), test.rows, test.gain, bounds, test.p_worse()))
    p_values = [p_value for *_, p_value in found]
    return tuple(
        SliceCheck(
            column=column,
            value=value,
            rows=rows,
            gain=gain,
            p_value=p_value,
            p_blocking=blocking,
            p_pointing=pointing,
            low=bounds.low,
            high=bounds.high,
        )
        for (column, value, rows, gain, bounds, p_value), blocking, pointing in zip(
            found, holm(p_values).tolist(), benjamini_hochberg(p_values).tolist(), strict=True
        )
    ), not_checked


def _has_both_classes(rows: Positions, policy: GatePolicy, metric: Metric, trial: Trial) -> bool:
    return metric is not Metric.AUC or (trial.rarer_class_rows(rows) or 0) >= policy.minimum_class_rows


def _calibrate(candidate: Any, trial: Trial, policy: GatePolicy) -> Calibration | None:
    """Return how far the probabilities of two classes came true; None where the candidate gives none."""
    positive, confidence = trial.positive, 1 - 2 * policy.alpha
    if positive is None or not trial.candidate.has_probabilities:
        return None
    own = reliability(trial.candidate.contributions(Metric.AUC), positive, confidence=confidence)
    champion = None
    if trial.champion is not None and trial.champion.has_probabilities:
        champion = reliability(trial.champion.contributions(Metric.AUC), positive, confidence=confidence)
    return Calibration(positive=str(candidate.classes_[1]), confidence=confidence, candidate=own, champion=champion)
