"""What one condition of the gate came to."""

from typing import Literal, NamedTuple

Verdict = Literal["passed", "failed", "insufficient"]


class Finding(NamedTuple):
    """What one condition came to, and the sentence that says so, with its numbers."""

    verdict: Verdict
    reason: str
