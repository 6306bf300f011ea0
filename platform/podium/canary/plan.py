"""A canary's plan, as a person writes it: frozen, checked, and named by its digest."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from podium.errors import ConfigurationError
from podium.ids import digest_json


class Phase(BaseModel):
    """So many requests, each of which goes to the challenger with a probability of `weight_percent` percent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight_percent: FiniteFloat
    requests: Annotated[int, Field(ge=1)]

    @field_validator("weight_percent")
    @classmethod
    def _assigns_at_random(cls, weight_percent: float) -> float:
        if 0 < weight_percent < 100:
            return weight_percent
        raise ValueError(
            "a weight lies between 0 and 100 percent and is neither: where one variant answers every request, the "
            "assignment carries no information and there is nothing to compare with"
        )

    @property
    def weight(self) -> float:
        """The probability of being sent to the challenger, between 0 and 1."""
        return self.weight_percent / 100


class CanaryPlan(BaseModel):
    """How much traffic a challenger gets, in which steps, and what it must show before it becomes champion.

    - `phases`: the ramp. The default sends 20,000 of 55,200 requests to the challenger: enough to show a margin
      of one percentage point at an error rate of about 0.05.
    - `margin`: the absolute rise of the error rate that is accepted, 0.01 for one percentage point.
    - `alpha`: the chance of rolling back an equal challenger, and of promoting one that is worse by the margin;
      each holds over all looks together.
    - `power`: the chance to promote an equal challenger that sizes "enough requests".
    - `look_every`: requests between two looks; looking more often costs no certainty.
    - `smallest_change`: the relative rise of the error rate to be most sensitive to, 0.2 for errors that are 20 %
      more frequent.
    - `tolerance`: for models that predict numbers, an answer further off than this is an error, in the target's
      unit; None for models that predict classes, where a wrong class is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(weight_percent=5, requests=8_000),
        Phase(weight_percent=25, requests=16_000),
        Phase(weight_percent=50, requests=31_200),
    )
    margin: Annotated[FiniteFloat, Field(gt=0, lt=1)] = 0.01
    alpha: Annotated[FiniteFloat, Field(gt=0, lt=0.5)] = 0.05
    power: Annotated[FiniteFloat, Field(ge=0.5, lt=1)] = 0.9
    look_every: Annotated[int, Field(ge=1)] = 50
    smallest_change: Annotated[FiniteFloat, Field(ge=0.01, le=3)] = 0.2
    tolerance: Annotated[FiniteFloat, Field(gt=0)] | None = None

    @property
    def requests(self) -> int:
        """The requests of all phases together.

        >>> CanaryPlan().requests
        55200
        """
        return sum(phase.requests for phase in self.phases)

    @property
    def weights(self) -> tuple[tuple[float, int], ...]:
        """The ramp as pairs of probability and requests."""
        return tuple((phase.weight, phase.requests) for phase in self.phases)

    @property
    def digest(self) -> str:
        """The version of this plan: equal plans, equal digest."""
        return digest_json(self.model_dump(mode="json"))

    def phase_at(self, index: int) -> Phase:
        """Return the phase of request `index`, counted from 0; the last one goes on for ever."""
        for phase in self.phases:
            if index < phase.requests:
                return phase
            index -= phase.requests
        return self.phases[-1]

    def weight_at(self, index: int) -> float:
        """Return the probability with which request `index`, counted from 0, goes to the challenger.

        >>> [CanaryPlan().weight_at(index) for index in (0, 7_999, 8_000, 24_000, 99_999)]
        [0.05, 0.05, 0.25, 0.5, 0.5]
        """
        return self.phase_at(index).weight

    def requests_by_phase(self, until: int) -> tuple[int, ...]:
        """Return how many of the first `until` requests fall into each phase.

        >>> CanaryPlan().requests_by_phase(9_000)
        (8000, 1000, 0)
        """
        fallen = []
        for phase in self.phases:
            fallen.append(min(until, phase.requests))
            until -= fallen[-1]
        return tuple(fallen)

    def horizon(self, available: int) -> int:
        """Return how many requests a canary may last where so many are `available`."""
        return min(self.requests, available)

    def looks(self, horizon: int, *, after: int = 0) -> Iterator[int]:
        """Yield the positions to look at beyond `after`, in order; the last is the horizon.

        Nothing to look at is looked at once: with a horizon of 0 that is position 0.

        >>> list(CanaryPlan().looks(120)), list(CanaryPlan().looks(120, after=50)), list(CanaryPlan().looks(0))
        ([50, 100, 120], [100, 120], [0])
        """
        yield from range((after // self.look_every + 1) * self.look_every, horizon, self.look_every)
        if after < horizon or horizon == 0:
            yield horizon

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the plan that a mapping (TOML, JSON, keywords) states, else raise ConfigurationError."""
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            problems, parts = error.errors(), []
            parents = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
            for problem in problems:
                if problem["loc"] in parents:  # what is wrong in it is told already
                    continue
                name = ".".join(str(part) for part in problem["loc"]) or "it"
                if problem["type"] == "extra_forbidden":
                    parts.append(f"{name!r} is no part of a plan; the parts are {', '.join(cls.model_fields)}")
                else:
                    text = problem["msg"].removeprefix("Value error, ")
                    parts.append(f"{name} is {problem['input']!r}: {text}")
            raise ConfigurationError(f"The canary plan is wrong: {'; '.join(parts)}.") from None
