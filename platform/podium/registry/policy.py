"""The gate's rules, as a person writes them: frozen, checked, and named by their digest."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from podium.errors import ConfigurationError
from podium.ids import digest_json
from podium.registry.metrics import Kind, Metric

Margin = Annotated[FiniteFloat, Field(gt=0)]


class Guard(BaseModel):
    """A metric on which the candidate must not be worse than the champion by `margin` or more.

    `margin` is in the metric's own unit; without one it is 0.01 of a share (AUC, accuracy, error rate) and a
    tenth of the champion's error otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Metric
    margin: Margin | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_margin(self.metric, self.margin)
        return self


class GatePolicy(BaseModel):
    """What a candidate must show before it may become champion.

    - `primary`: the metric that decides; None takes AUC for two classes with probabilities, else accuracy,
      and the mean absolute error for numbers.
    - `mode`: `superiority` asks for a better primary metric; `refresh` (the same model on newer data) only
      that it is not worse by `margin`, and so promotes equal models on purpose.
    - `margin`: accepted harm on the primary metric, as in `Guard`; also the change that a holdout must be
      large enough to show before a missing gain is called a failure.
    - `guards`: all must hold; needing every one of them, no correction for their number is due.
    - `floors`: absolute limits in the metrics' units (an upper limit where low is good). They alone
      decide about a first model; one without a floor on its primary metric must beat the best constant
      answer.
    - `alpha`, `power`: level of every test, and the chance to see a change that sizes "large enough".
    - `minimum_rows`, `minimum_class_rows`: below either (the second for AUC: rows of the rarer class) the
      verdict is `insufficient`.
    - `slices`: columns whose values are checked one by one for harm, from `minimum_slice_rows` rows on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    primary: Metric | None = None
    mode: Literal["superiority", "refresh"] = "superiority"
    margin: Margin | None = None
    guards: tuple[Guard, ...] = ()
    floors: dict[Metric, FiniteFloat] = Field(default_factory=dict)
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    power: Annotated[float, Field(ge=0.5, lt=1)] = 0.8
    minimum_rows: Annotated[int, Field(ge=2)] = 200
    minimum_class_rows: Annotated[int, Field(ge=2)] = 10
    slices: tuple[str, ...] = ()
    minimum_slice_rows: Annotated[int, Field(ge=2)] = 200

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_distinct("guards", [str(guard.metric) for guard in self.guards])
        _check_distinct("slices", self.slices)
        if self.primary:
            _check_margin(self.primary, self.margin)
        kinds = {frozenset(kind is Kind.REGRESSION for kind in metric.kinds) for metric in self.named_metrics}
        if len(kinds) > 1:
            names = ", ".join(self.named_metrics)
            raise ValueError(f"it mixes metrics of classes and of numbers ({names}); keep one sort")
        return self

    @property
    def named_metrics(self) -> tuple[Metric, ...]:
        """Every metric that the policy names, each once."""
        primary = (self.primary,) if self.primary else ()
        return tuple(dict.fromkeys((*primary, *(guard.metric for guard in self.guards), *self.floors)))

    @property
    def digest(self) -> str:
        """The version of these rules: equal rules, equal digest."""
        return digest_json(self.model_dump(mode="json"))

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the policy that a mapping (TOML, JSON, keywords) states, else raise ConfigurationError."""
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            parts = []
            for problem in error.errors():
                name = ".".join(str(part) for part in problem["loc"]) or "it"
                if problem["type"] == "extra_forbidden":
                    parts.append(f"{name!r} is no rule; the rules are {', '.join(cls.model_fields)}")
                else:
                    parts.append(f"{name} is {problem['input']!r}: {problem['msg']}")
            raise ConfigurationError(f"The gate policy is wrong: {'; '.join(parts)}.") from None


def _check_distinct(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} name {', '.join(twice)} twice; name each once")


def _check_margin(metric: Metric, margin: float | None) -> None:
    if margin is not None and metric.is_share and margin >= 1:
        raise ValueError(f"a margin of {margin} on {metric} accepts anything; give a share below 1, such as 0.01")
