"""Who signs off a promotion: the section `[approvals]`."""

import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from podium.settings.alerts import Span, Texts
from podium.settings.spans import span


def person(name: str) -> str:
    """Return a name as it is compared: its letters, whatever their case, form and spacing.

    >>> person(" José") == person("JOSE\u0301\u200b"), person("ana  lee")
    (True, 'ana lee')
    """
    plain = unicodedata.normalize("NFKC", name)
    seen = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", " ".join(seen.split()).casefold())


class ApprovalSettings(BaseModel):
    """How many of whom have to agree, and for how long they are asked.

    With `runs = false` what a run promotes needs nobody.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    required: Annotated[int, Field(ge=1, le=100)] = 1
    approvers: Texts = ()
    expires_after: Span = "7d"
    runs: bool = True

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        people = [person(name) for name in self.approvers]
        if "" in people:
            raise ValueError("an approver has no name; take it out or write it")
        if len(set(people)) < len(people):
            raise ValueError("approvers name somebody twice; name each once (case does not count)")
        if people and self.required > len(people):
            raise ValueError(f"required = {self.required} > {len(people)} approvers: nothing could ever be approved")
        if self.expiry <= timedelta(0):
            raise ValueError("expires_after is no time at all; give one, as 7d")
        return self

    @property
    def expiry(self) -> timedelta:
        """How long a promotion waits."""
        return span(self.expires_after)


def of_model(approvals: Mapping[str, ApprovalSettings], model: str) -> ApprovalSettings | None:
    """Return the settings of the first shell pattern that fits the model's name; None where none does.

    >>> rules = {"flight_*": ApprovalSettings(required=2), "*": ApprovalSettings()}
    >>> of_model(rules, "flight_delay").required, of_model(rules, "minutes_late").required
    (2, 1)
    """
    return next((each for pattern, each in approvals.items() if fnmatchcase(model, pattern)), None)
