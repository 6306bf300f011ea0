"""How a stage waits for what is decided outside its run: without a worker, and woken by the decision."""

from podium.execution.context import Snooze, current

_FIRST_SECONDS = 15.0
_LONGEST_SECONDS = 3_600.0
_DOUBLINGS = 10  # long past the longest; a wait of weeks has more attempts than a float has exponents


def awaited(model: str, version: str, promotion_id: str) -> Snooze:
    """Return what a stage raises while its promotion awaits approval."""
    return until_decided(
        f"version {version} of {model} awaits approval; `podium promotions show {promotion_id}` says by whom"
    )


def until_decided(reason: str) -> Snooze:
    """Return what a stage raises that waits for the end of a promotion or a canary of its model, whoever's it is.

    The decision makes the step due at once. That it looks by itself too, ever more rarely, is for a decision that falls
    while an attempt is about to wait, which nothing would wake.
    """
    seconds = min(_FIRST_SECONDS * 2.0 ** min(current().number - 1, _DOUBLINGS), _LONGEST_SECONDS)
    return Snooze(seconds, reason)
