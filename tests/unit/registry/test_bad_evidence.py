"""Rows and reports that a verdict must not rest on in silence; what decides nothing is told."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.checks import NullRate, Volume
from podium.checks.finding import Finding, Severity
from podium.checks.report import DataReport
from podium.checks.running import examine
from podium.errors import EvaluationError
from podium.registry.holdout import count_duplicates
from podium.registry.metrics import Metric
from podium.registry.policy import GatePolicy
from tests.judging_world import HOLDOUT, good, judged, weak

REQUIRED = GatePolicy(data_checks="required")


def test_rows_that_repeat_others_are_counted_and_told_from_one_in_a_hundred_on() -> None:
    assert judged(good(), weak()).duplicate_rows == 0
    some = pd.concat([HOLDOUT, HOLDOUT.iloc[:31]], ignore_index=True)
    evidence = judged(good(), weak(), some)
    assert evidence.duplicate_rows == 31
    assert evidence.passed
    assert evidence.reasons[-1].startswith("31 of 3,031 rows of the holdout (1.0%) repeat another row, label and all;")
    few = pd.concat([HOLDOUT, HOLDOUT.iloc[:30]], ignore_index=True)
    evidence = judged(good(), weak(), few)
    assert evidence.duplicate_rows == 30
    assert not any("repeat another row" in reason for reason in evidence.reasons)


def test_rows_that_differ_in_the_label_alone_are_no_duplicates_and_missing_values_are_equal() -> None:
    rows = pd.DataFrame({"x": [1.0, 1.0, np.nan, np.nan], "c": ["a", "a", None, None], "late": [0, 1, 1, 1]})
    assert count_duplicates(rows) == 1
    assert count_duplicates(pd.concat([rows] * 5)) == 17
    assert count_duplicates(rows.assign(c=rows["c"].astype("category"))) == 1
    assert count_duplicates(rows.assign(c=pd.Series([[1]] * 4))) is None


def test_a_holdout_whose_rows_cannot_be_compared_has_no_count() -> None:
    evidence = judged(good(), weak(), HOLDOUT.assign(seen=pd.Series([[1]] * len(HOLDOUT))))
    assert evidence.duplicate_rows is None
    assert evidence.passed


def test_five_rows_are_insufficient_whatever_else_is_wrong() -> None:
    five = HOLDOUT.iloc[:5]
    policy = GatePolicy(data_checks="required", floors={Metric.AUC: 0.99}, limits={"size_bytes": 1})
    evidence = judged(good(), weak(), five, policy=policy)
    assert evidence.verdict == "insufficient"
    assert evidence.reasons == (
        "The holdout has 5 rows < 200 required.",
        "The rarer class has 2 rows < 10 required for AUC.",
    )


def test_labels_missing_for_one_class_are_refused() -> None:
    late = HOLDOUT["late"].astype("object").where(~HOLDOUT["late"], None)
    with pytest.raises(EvaluationError, match=r"missing in [\d,]+ of 3,000 rows"):
        judged(good(), weak(), HOLDOUT.assign(late=late))


def test_uses_of_the_holdout_and_the_name_of_the_policy_are_told() -> None:
    evidence = judged(good(), weak(), holdout_uses=3, policy=GatePolicy(name="monthly", version="7"))
    assert evidence.reasons[-2:] == (
        "These rows have judged 3 times before; each look at them is another chance to be lucky.",
        "Judged by the policy monthly, version 7.",
    )


def test_a_doubt_about_the_champion_excuses_losing_to_it_and_nothing_else() -> None:
    doubt = "The champion may have been trained on these rows."
    lost = judged(weak(), good(), doubt=doubt)
    assert (lost.verdict, lost.reasons[0]) == ("insufficient", doubt)
    assert judged(good(), weak(), doubt=doubt).passed
    poor = judged(weak(), good(), doubt=doubt, policy=GatePolicy(floors={Metric.AUC: 0.99}))
    assert poor.verdict == "failed"
    assert poor.reasons[0] == doubt
    assert "0.990 required" in poor.reasons[1]


class Says:
    """A check that says what it is told to."""

    def __init__(self, outcome: Any, severity: Severity = "stop", name: str = "told") -> None:
        self.outcome, self.severity, self.name = outcome, severity, name

    def look(self, _: pd.DataFrame) -> Finding:
        return Finding(self.outcome, f"it is {self.outcome}")


def report(*checks: Any, called: str = "history") -> DataReport:
    return examine(HOLDOUT, checks, called=called)


@pytest.mark.parametrize(
    ("reports", "verdict", "reason"),
    [
        (None, "insufficient", "The policy requires data checks, and no report was handed to evaluate_candidate"),
        ([], "insufficient", "The policy requires data checks, and no report"),
        (report(Says("passed")), "passed", "1 of 1 data checks passed (history)."),
        (report(Says("failed")), "failed", "The data check told of history failed: it is failed."),
        (report(Says("unknown")), "insufficient", "The data check told of history could not tell: it is unknown."),
        (report(Says("failed", "warn")), "passed", "The data check told of history failed, which does not block: it"),
        (report(Says("unknown", "warn")), "passed", "could not tell, which does not block"),
        (
            [report(Says("passed")), report(Says("failed"), called="holdout")],
            "failed",
            "The data check told of holdout failed",
        ),
        (
            (report(Volume(at_least=1)), report(NullRate("first", at_most=0), called="x")),
            "passed",
            "2 of 2 data checks",
        ),
    ],
)
def test_required_data_checks_decide_and_each_is_named(reports: Any, verdict: str, reason: str) -> None:
    evidence = judged(good(), weak(), policy=REQUIRED, checks=reports)
    assert evidence.verdict == verdict
    assert any(each.startswith(reason) or reason in each for each in evidence.reasons), evidence.reasons
    given = [] if reports is None else [reports] if isinstance(reports, DataReport) else reports
    assert [(each.report, each.check) for each in evidence.data_checks] == [
        (one.called, result.name) for one in given for result in one.results
    ]


def test_data_checks_that_no_policy_requires_are_on_record_and_only_told() -> None:
    evidence = judged(good(), weak(), checks=report(Says("failed")))
    assert evidence.passed
    assert evidence.data_checks[0].outcome == "failed"
    assert evidence.reasons[-1] == "The data check told of history failed, which does not block: it is failed."


@pytest.mark.parametrize("given", [{"passed": True}, True, ["passed"], [report(Says("passed")), None]])
def test_anything_else_than_a_report_is_refused(given: Any) -> None:
    with pytest.raises(EvaluationError, match="among its checks; give what check_data returned"):
        judged(good(), weak(), checks=given)
