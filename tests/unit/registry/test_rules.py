"""Custom rules: plain functions, named with the digest of their source, whose finding decides as any other."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.dag import values
from podium.errors import ConfigurationError, EvaluationError
from podium.registry.policy import GatePolicy
from podium.registry.rules import Finding, Rule, RuleInput
from tests.judging_world import HOLDOUT, fitted, good, judged, weak

THRESHOLD = 0.5
SEEN: list[RuleInput] = []


def no_worse_in_a(given: RuleInput) -> Finding:
    """Pass a candidate that is right as often as the champion in the group `a`."""
    rows = (given.holdout["group"] == "a").to_numpy()
    shares = [
        float((model.predictions == given.labels)[rows].mean()) for model in (given.candidate, given.champion) if model
    ]
    return Finding(
        "passed" if shares[0] >= shares[-1] else "failed", f"accuracy in a {shares[0]:.3f}, {shares[-1]:.3f}"
    )


def noting(given: RuleInput) -> Any:
    SEEN.append(given)
    return "passed", "it looked"


def raising(given: RuleInput) -> Finding:
    raise ZeroDivisionError("no rows\nat night")


def undecided(given: RuleInput) -> Any:
    return Finding("insufficient", "there were too few flights at night")


def silent(given: RuleInput) -> None:
    return None


def saying_true(given: RuleInput) -> Any:
    return True


def not_a_number(given: RuleInput) -> Any:
    return float("nan")


def with_nan_for_a_reason(given: RuleInput) -> Any:
    return "passed", float("nan")


def with_an_unknown_verdict(given: RuleInput) -> Any:
    return Finding("ok", "fine")  # type: ignore[arg-type]


def with_a_list_for_a_verdict(given: RuleInput) -> Any:
    return [], "fine"


def without_a_reason(given: RuleInput) -> Finding:
    return Finding("failed", " \n")


def writing(given: RuleInput) -> Finding:
    given.labels[:] = 0
    return Finding("passed", "all is well now")


def long_winded(given: RuleInput) -> Finding:
    return Finding("passed", "well\n" * 1_000 + "\ud800")


def with_rules(*rules: Any) -> GatePolicy:
    return GatePolicy(rules=rules)


def test_a_rule_decides_as_any_other_condition_and_is_on_record_with_its_name() -> None:
    passed = judged(good(), weak(), policy=with_rules(no_worse_in_a))
    assert passed.passed
    failed = judged(weak(), good(), policy=GatePolicy(rules=(no_worse_in_a,), mode="refresh", margin=0.5))
    assert failed.verdict == "failed"
    name = f"{__name__}:no_worse_in_a"
    assert failed.reasons[0].startswith(f"{name}: accuracy in a 0.")
    (check,) = failed.rules
    assert (check.rule, check.verdict) == (name, "failed")
    assert judged(good(), weak(), policy=with_rules(undecided)).verdict == "insufficient"


def test_a_rule_sees_rows_labels_answers_and_measurements_to_be_read_only() -> None:
    SEEN.clear()
    judged(good(), weak(), policy=with_rules(noting))
    (given,) = SEEN
    assert list(given.holdout.columns) == list(HOLDOUT.columns)
    assert np.array_equal(given.labels, HOLDOUT["late"].to_numpy())
    assert np.array_equal(given.candidate.predictions, good().predict(HOLDOUT[["first", "second"]]))
    assert given.champion is not None
    assert given.champion.probabilities is not None
    assert given.champion.probabilities.shape == (len(HOLDOUT), 2)
    assert given.champion.classes is not None
    assert given.champion.classes.tolist() == [False, True]
    measured = given.measurements["auc"].candidate
    assert measured is not None
    with pytest.raises(ValueError, match="read-only"):
        given.labels[0] = True
    given.holdout["late"] = False
    assert HOLDOUT["late"].any()


def test_a_first_model_is_shown_without_a_champion_and_numbers_without_probabilities() -> None:
    from sklearn.linear_model import LinearRegression

    SEEN.clear()
    judged(fitted(LinearRegression(), "first", label="minutes"), label="minutes", policy=with_rules(noting))
    assert SEEN[0].champion is None
    assert SEEN[0].candidate.probabilities is None


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (raising, "failed with ZeroDivisionError: no rows at night. Make it answer"),
        (silent, "answered None; let it return Finding"),
        (saying_true, "answered True"),
        (not_a_number, "answered nan"),
        (with_nan_for_a_reason, "gives the reason nan"),
        (with_an_unknown_verdict, "answered Finding.*'ok'"),
        (with_a_list_for_a_verdict, r"answered \(\[\], 'fine'\)"),
        (without_a_reason, "gives the reason"),
        (writing, "failed with ValueError: .*read-only"),
    ],
)
def test_a_rule_that_raises_or_answers_with_anything_else_is_named(rule: Any, said: str) -> None:
    with pytest.raises(EvaluationError, match=f"The gate's rule {__name__}:{rule.__name__} {said}"):
        judged(good(), weak(), policy=with_rules(rule))


def test_a_reason_is_one_line_of_bounded_length_that_can_be_stored() -> None:
    evidence = judged(good(), weak(), policy=with_rules(long_winded))
    (check,) = evidence.rules
    assert len(check.reason) == 500
    assert "\n" not in check.reason
    assert evidence.digest


def test_too_few_rows_are_insufficient_before_a_rule_is_asked() -> None:
    evidence = judged(good(), weak(), HOLDOUT.iloc[:5], policy=with_rules(raising))
    assert (evidence.verdict, evidence.rules) == ("insufficient", ())


def test_a_policy_with_rules_travels_in_a_plan() -> None:
    policy = with_rules(no_worse_in_a)
    assert values.decode(values.encode(policy)) == policy
    assert policy.rules[0].digest is not None


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda _: None, "cannot be found again by its name"),
        (len, "is no plain function"),
        (Rule, "is no plain function"),
    ],
)
def test_only_what_can_be_found_again_by_its_name_is_a_rule(rule: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        GatePolicy.from_document({"rules": [rule]})


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Rule]]:
    """Writes a module of rules, imports it anew, and returns its rule `check`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str) -> Rule:
        (tmp_path / "written_rules.py").write_text(text)
        sys.modules.pop("written_rules", None)
        importlib.invalidate_caches()
        return Rule(function="written_rules:check").bound()[0]

    yield write
    sys.modules.pop("written_rules", None)


BASE = """LIMIT = 0.5

def least():
    return LIMIT

def other():
    return 1

def check(given):
    return least()
"""


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (BASE.replace("return LIMIT", "return LIMIT  # why"), True),
        (BASE.replace("return 1", "return 2"), True),
        (BASE.replace("\n\n", "\n\n\n"), True),
        (BASE.replace("0.5", "0.4"), False),
        (BASE.replace("return LIMIT", "return LIMIT + 1"), False),
        (BASE.replace("return least()", "return least() or None"), False),
        ("import os as LIMIT\n" + BASE.partition("\n")[2], False),
    ],
)
def test_the_digest_changes_with_the_function_and_with_what_it_uses(
    written: Callable[[str], Rule], text: str, same: bool
) -> None:
    before, after = written(BASE), written(text)
    assert (before.digest == after.digest) is same
    policies = [GatePolicy(rules=(rule,)) for rule in (before, after)]
    assert (policies[0].digest == policies[1].digest) is same


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('not today')\n", "cannot be imported: RuntimeError: not today"),
        ("CHECK = 1\n", "is not there; define it with def at the top level of written_rules"),
        ("check = 1\n", "is no plain function"),
        ("check = lambda given: None\n", "cannot be found again by its name"),
    ],
)
def test_a_name_that_leads_to_no_rule_is_refused(written: Callable[[str], Rule], text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        written(text)


def test_a_rule_by_its_name_is_bound_to_the_code_that_judges() -> None:
    by_name = with_rules(f"{__name__}:no_worse_in_a")
    assert by_name.rules[0].digest is None
    evidence = judged(good(), weak(), policy=by_name)
    assert evidence.policy == with_rules(no_worse_in_a)
    assert evidence.policy_digest == with_rules(no_worse_in_a).digest
