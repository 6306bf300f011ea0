"""`wait_for_approval`: a point in a pipeline where a run is held until a person decides."""

from typing import Literal, NamedTuple, Never, cast

from podium.dag import location
from podium.dag.options import OptionError, check_name, seconds, step_options
from podium.dag.recording import ApprovalTerms, StepDefinition, current_trace
from podium.errors import DefinitionError

_CHOICES = ("approve", "reject")


class Approval(NamedTuple):
    """What was decided, by whom (None: by nobody, in time), and why."""

    approved: bool
    by: str | None
    reason: str


def wait_for_approval(
    *shown: object,
    message: str,
    within: str | float = "3d",
    otherwise: Literal["approve", "reject"] = "reject",
    name: str = "approval",
) -> Approval:
    """Hold the run here until a person decides, by `podium runs approve` or `reject`; no worker is held meanwhile.

    The person is told `message` and the digests of what is `shown`, results of steps; the decision is recorded with
    them. If nobody has decided `within` (seconds, or text as "3d"), it is `otherwise`. A rejection is no failure::

        approval = wait_for_approval(evidence, message="Is the new tariff in the data?")
        with when(approval.approved):
            promote_version(version)

    A second one in a pipeline needs a `name` of its own. DefinitionError outside a pipeline, and on a bad argument.
    """
    where = location.of_caller()
    trace = current_trace()
    if trace is None:
        raise DefinitionError(f"{where}: wait_for_approval(…) is for pipelines; outside of one, ask the person.")
    check_name("step", name, where)
    if not isinstance(message, str) or not message.strip():
        raise DefinitionError(f"{where}: approval {name} has no message; say what the person is to decide.")
    if otherwise not in _CHOICES:
        raise DefinitionError(f"{where}: approval {name}: otherwise={otherwise!r} is not one of {', '.join(_CHOICES)}.")
    try:
        within_seconds = seconds("within", within)
    except OptionError as error:
        raise DefinitionError(f"{where}: approval {name}: {error}") from None
    terms = ApprovalTerms(message, within_seconds, otherwise)
    return cast(Approval, trace.approval(StepDefinition(name, _decided, step_options({})), shown, terms))


def _decided() -> Approval:
    """Stand in the plan for the function that an approval does not have."""
    return _nobody_calls_this()


def _nobody_calls_this() -> Never:
    raise AssertionError("an approval is decided, not executed")
