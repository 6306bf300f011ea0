"""What a judgement was made on: measured numbers, the data and rules they belong to, and the verdict.

Evidence is a value: its digest names it, it survives JSON unchanged, and no number in it is NaN or infinite.
What could not be measured is None and says why.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat

from podium.checks.finding import Outcome, Severity
from podium.registry.calibration import Calibration
from podium.registry.digested import Digested
from podium.registry.finding import Verdict
from podium.registry.metrics import Kind, Metric
from podium.registry.policy import Exact, GatePolicy

__all__ = [
    "ChangedFeature",
    "Comparison",
    "DataCheck",
    "Discordant",
    "Evidence",
    "Feature",
    "LimitCheck",
    "LimitName",
    "Measurement",
    "Question",
    "RuleCheck",
    "SignatureCheck",
    "SliceCheck",
    "Verdict",
]

LimitName = Literal["latency_milliseconds", "latency_ratio", "size_bytes", "cost_usd"]
Question = Literal["superiority", "non_inferiority"]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measurement(_Fact):
    """One metric of both models, and of the best constant answer to the same rows (the majority class, …)."""

    metric: Metric
    candidate: FiniteFloat | None
    champion: FiniteFloat | None = None
    baseline: FiniteFloat | None = None


class Comparison(_Fact):
    """One question about candidate and champion, tested on the same rows.

    `gain` is how much better the candidate is (negative: worse), whichever way the metric points; `low` and
    `high` bound it with `confidence`. `smallest_visible` is the gain that these rows show with the policy's
    power, `rows_needed` what the margin needs (None: no number of rows is enough). Where `unknown` says why
    the question has no answer, everything measured is None.
    """

    metric: Metric
    question: Question
    margin: FiniteFloat | None
    confidence: FiniteFloat
    test: str | None = None
    candidate: FiniteFloat | None
    champion: FiniteFloat | None
    gain: FiniteFloat | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    p_value: FiniteFloat | None = None
    smallest_visible: FiniteFloat | None = None
    rows_needed: int | None = None
    unknown: str | None = None


class SliceCheck(Digested):
    """The primary metric on the rows where `column` is `value`, tested for harm.

    `p_blocking` is adjusted by Holm over all slices, `p_pointing` by Benjamini-Hochberg. `low` and `high` bound the
    gain as if this slice were the only one.
    """

    column: str
    value: str
    rows: int
    gain: FiniteFloat
    p_value: FiniteFloat
    p_blocking: FiniteFloat
    p_pointing: FiniteFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None


class Discordant(_Fact):
    """On how many rows exactly one model was right, with the positions of the first few in the holdout."""

    only_candidate: int
    only_champion: int
    only_candidate_rows: tuple[int, ...]
    only_champion_rows: tuple[int, ...]


class LimitCheck(_Fact):
    """What the candidate needs of something that the policy limits; None where `unknown` says why nobody knows.

    Of a ratio of latencies `candidate` and `champion` are the two, in milliseconds; `rows` were asked for one.
    """

    limit: LimitName
    allowed: Exact
    value: Exact | None
    candidate: Exact | None = None
    champion: Exact | None = None
    rows: int | None = None
    unknown: str | None = None


class Feature(_Fact):
    """A column that a model needs, and what it holds: number, boolean, text, time, duration, other or unknown."""

    name: str
    kind: str


class ChangedFeature(_Fact):
    """A column that holds something else for the candidate than it did for the champion."""

    name: str
    champion: str
    candidate: str


class SignatureCheck(_Fact):
    """What the candidate needs and answers, and how that differs from the champion.

    `features` is None where the candidate does not say what it was trained on, `classes` where it predicts numbers.
    `champion_classes` is None where they are the same. Where `unknown` says why the columns cannot be compared,
    nothing is new or dropped.
    """

    features: tuple[Feature, ...] | None
    classes: tuple[str, ...] | None = None
    champion_classes: tuple[str, ...] | None = None
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    changed: tuple[ChangedFeature, ...] = ()
    unknown: str | None = None


class RuleCheck(_Fact):
    """What one of the project's own rules came to."""

    rule: str
    verdict: Verdict
    reason: str


class DataCheck(_Fact):
    """What one check of the data said, in the report called `report`."""

    report: str
    check: str
    severity: Severity
    outcome: Outcome
    reason: str


PolicySource = Literal["pipeline", "file", "default"]
"""Who states a gate policy: the pipeline's code, a file that podium.toml names, or nobody.

Without one, the gate's defaults apply, and in a later environment the policy of the one before.
"""


class Evidence(Digested):
    """The record of one evaluation: a promotion asks it `passed`, an approval binds its `digest`.

    What has a default came later than the rest; see `Digested` for what that means.
    """

    model: str
    kind: Kind
    label: str
    candidate_digest: str
    champion_version: str | None  # None: the first model, there was nothing to compare with
    rows: int
    rarer_class_rows: int | None  # None unless there are two classes
    holdout_digest: str
    holdout_uses: int  # how often these rows had judged before
    policy: GatePolicy
    policy_digest: str
    seed: int
    primary_metric: Metric
    primary: Comparison | None  # None for the first model
    guards: tuple[Comparison, ...]
    slices: tuple[SliceCheck, ...]
    slices_not_checked: int  # values of the slice columns with too few rows, or without both classes
    measurements: tuple[Measurement, ...]
    discordant: Discordant | None  # None for numbers, and for the first model
    verdict: Verdict
    reasons: tuple[str, ...]
    calibration: Calibration | None = None  # None unless there are two classes with probabilities
    duplicate_rows: int | None = None  # rows that repeat another one, label and all; None where nobody counted
    signature: SignatureCheck | None = None
    limits: tuple[LimitCheck, ...] = ()
    rules: tuple[RuleCheck, ...] = ()
    data_checks: tuple[DataCheck, ...] = ()
    policy_source: PolicySource = "pipeline"  # of what was recorded before this was, nobody knows better

    @property
    def passed(self) -> bool:
        """Whether the candidate may be promoted."""
        return self.verdict == "passed"

    def measurement(self, metric: Metric) -> Measurement | None:
        """Return what was measured of `metric`; None where it does not apply."""
        return next((one for one in self.measurements if one.metric == metric), None)
