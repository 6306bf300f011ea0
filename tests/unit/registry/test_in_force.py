"""A version is promoted by the gate policy in force alone."""

import pytest

from podium.registry.in_force import PolicyInForce, outdated
from podium.registry.policy import GatePolicy
from podium.registry.rules import Rule
from tests.promotion_world import evidence

FILE = "gates/m.yaml"
RULE = Rule(function="pipelines.rules:at_night")
RULE_AS_JUDGED = Rule(function="pipelines.rules:at_night", digest="f" * 64)


@pytest.mark.parametrize(
    ("source", "then", "now"),
    [
        ("pipeline", {}, {"mode": "refresh"}),
        ("pipeline", {}, None),
        ("default", {}, None),
        ("file", {"mode": "refresh"}, {"mode": "refresh"}),
        ("file", {"rules": (RULE_AS_JUDGED,)}, {"rules": (RULE,)}),
    ],
)
def test_what_was_judged_by_the_policy_in_force_may_go_on(
    source: str, then: dict[str, object], now: dict[str, object] | None
) -> None:
    assert objection(source, then, now) is None


@pytest.mark.parametrize(
    ("source", "then", "now", "words"),
    [
        ("default", {}, {}, "was judged before gates/m.yaml became the gate policy of flight_delay."),
        ("file", {}, None, "was judged by a gate policy in a file, and podium.toml names none for it any more."),
        ("file", {}, {"mode": "refresh"}, "was judged by gates/m.yaml as it was, and mode changed there since."),
        ("file", {}, {"version": "2"}, "and version changed there since."),
        ("file", {"rules": (RULE_AS_JUDGED,)}, {}, "and rules changed there since."),
        ("file", {"alpha": 0.1, "slices": ("carrier",)}, {"alpha": 0.05}, "and alpha, slices changed there since."),
    ],
)
def test_what_was_judged_by_another_one_is_judged_again(
    source: str, then: dict[str, object], now: dict[str, object] | None, words: str
) -> None:
    found = objection(source, then, now)
    assert found is not None
    assert found.startswith("Version 3 of flight_delay was judged ")
    assert words in found


def objection(source: str, then: dict[str, object], now: dict[str, object] | None) -> str | None:
    policy = GatePolicy(**then)
    judged = evidence("flight_delay", policy=policy, policy_digest=policy.digest, policy_source=source)
    in_force = None if now is None else PolicyInForce(FILE, GatePolicy(**now))
    return outdated("flight_delay", "3", judged, lambda _: in_force)
