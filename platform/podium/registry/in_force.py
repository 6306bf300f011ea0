"""Whether a version was judged by the gate policy that is in force when it is to become champion. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from podium.registry.evidence import Evidence
from podium.registry.policy import GatePolicy


@dataclass(frozen=True)
class PolicyInForce:
    """The policy that the project sets for a model, as its file says now."""

    file: str
    policy: GatePolicy


InForce = Callable[[str], PolicyInForce | None]
"""Returns the policy in force for a model; None where the project sets none. ConfigurationError for a wrong file."""


def outdated(model: str, version: str, evidence: Evidence, in_force: InForce) -> str | None:
    """Return why a version was not judged by the policy in force, None where it was.

    A policy that the pipeline's own code states is in force whatever files say. The source of custom rules is not
    looked at: to know it the project's code would have to be imported wherever a champion moves.
    """
    if evidence.policy_source == "pipeline":
        return None
    judged, now = f"Version {version} of {model} was judged", in_force(model)
    if now is None and evidence.policy_source == "default":
        return None
    if now is None:
        return f"{judged} by a gate policy in a file, and podium.toml names none for it any more. {_AGAIN}"
    if evidence.policy_source == "default":
        return f"{judged} before {now.file} became the gate policy of {model}. {_AGAIN}"
    differs = _differences(evidence.policy, now.policy)
    if not differs:
        return None
    return f"{judged} by {now.file} as it was, and {', '.join(differs)} changed there since. {_AGAIN}"


_AGAIN = "Judge it again by the policy in force, or put back the one that it was judged by."


def _differences(then: GatePolicy, now: GatePolicy) -> list[str]:
    before, after = (_as_written(policy) for policy in (then, now))
    return [name for name in GatePolicy.model_fields if before.get(name) != after.get(name)]


def _as_written(policy: GatePolicy) -> dict[str, object]:
    """Return a policy as a file states it: rules by their names alone."""
    rules = tuple(rule.model_copy(update={"digest": None}) for rule in policy.rules)
    return policy.model_copy(update={"rules": rules}).model_dump(mode="json")
