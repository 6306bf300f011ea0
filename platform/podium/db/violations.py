"""What a check of the database finds: an invariant that does not hold, of which object, and what to do."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Invariant = Literal[
    "attempts", "transactions", "recovery", "writers", "waiting", "unknowns", "ticks", "backfills", "money"
]
"""Which promise is broken; docs/operations.md says in a sentence what each of them promises."""


@dataclass(frozen=True)
class Violation:
    """One thing that is not as it must be: `fact` about `object`, and its `repair`, each in words for a person.

    A `warning` is broken only if it stays: a worker puts it right by itself.
    """

    invariant: Invariant
    object: str
    fact: str
    repair: str
    severity: Literal["broken", "warning"] = "broken"

    def document(self) -> dict[str, Any]:
        """Return it in the interface's JSON shape."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.object}: {self.fact}. {self.repair}"
