"""The gate's rules, as a person writes them: frozen, checked, and named by their digest."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from podium.errors import ConfigurationError
from podium.registry.digested import Digested
from podium.registry.metrics import Kind, Metric
from podium.registry.rules import Rule


def _is_number(value: Any) -> Any:
    if isinstance(value, bool | str):  # which pydantic would take for numbers
        raise ValueError("give a number")
    return value


def _is_amount(value: Any) -> Any:
    return _is_number(value) if isinstance(value, bool) else value


def decimal_in_full(value: Decimal) -> str:
    """Return a decimal as JSON holds it: without an exponent and without idle zeros.

    >>> decimal_in_full(Decimal("0.50")), decimal_in_full(Decimal("1E+2"))
    ('0.5', '100')
    """
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


Number = Annotated[FiniteFloat, BeforeValidator(_is_number)]
Margin = Annotated[Number, Field(gt=0)]
Exact = Annotated[
    Decimal,
    BeforeValidator(_is_amount),
    Field(allow_inf_nan=False),
    PlainSerializer(decimal_in_full, when_used="json"),
]
"""A decimal; in JSON its text."""
_Rows = Annotated[int, BeforeValidator(_is_number), Field(ge=2)]


class Guard(BaseModel):
    """A metric on which the candidate must not be worse than the champion by `margin` or more.

    `margin` is in the metric's own unit; without one it is 0.01 of a share (AUC, accuracy, error rate) and a
    tenth of the champion's error otherwise. Which direction is worse is the metric's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Metric
    margin: Margin | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_margin(self.metric, self.margin)
        return self


class Limits(BaseModel):
    """What a candidate may need, whatever it is worth; each limit itself is allowed.

    - `latency_milliseconds`: the 95th percentile of the time that `predict` takes for a single row.
    - `latency_ratio`: that time over the champion's, both measured in turns.
    - `size_bytes`: the candidate as cloudpickle writes it.
    - `cost_usd`: what the run has cost so far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_milliseconds: Margin | None = None
    latency_ratio: Margin | None = None
    size_bytes: Annotated[int, BeforeValidator(_is_number), Field(gt=0)] | None = None
    cost_usd: Annotated[Exact, Field(ge=0)] | None = None


class GatePolicy(Digested):
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
    - `limits`: what it may take: time, bytes, money.
    - `signature`: whether it must do with what callers of the champion send, and answer in the same classes.
      None asks where both models say what they were trained on; `compatible` is `insufficient` where one does not;
      `any` does not ask.
    - `data_checks`: `required` asks for reports of data checks, all of them passed.
    - `rules`: functions of the project, see `podium.registry.rules`; each must pass.
    - `name`, `version`: what people call these rules; neither decides anything.
    """

    always: ClassVar[frozenset[str]] = frozenset(
        {
            *("primary", "mode", "margin", "guards", "floors", "alpha", "power"),
            *("minimum_rows", "minimum_class_rows", "slices", "minimum_slice_rows"),
        }
    )

    primary: Metric | None = None
    mode: Literal["superiority", "refresh"] = "superiority"
    margin: Margin | None = None
    guards: tuple[Guard, ...] = ()
    floors: dict[Metric, Number] = Field(default_factory=dict)
    alpha: Annotated[Number, Field(gt=0, lt=0.5)] = 0.05
    power: Annotated[Number, Field(ge=0.5, lt=1)] = 0.8
    minimum_rows: _Rows = 200
    minimum_class_rows: _Rows = 10
    slices: tuple[str, ...] = ()
    minimum_slice_rows: _Rows = 200
    limits: Limits = Limits()
    signature: Literal["compatible", "any"] | None = None
    data_checks: Literal["required"] | None = None
    rules: tuple[Rule, ...] = ()
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    version: Annotated[str, Field(min_length=1, max_length=100)] | None = None

    @field_validator("rules", mode="before")
    @classmethod
    def _name_functions(cls, rules: Any) -> Any:
        """Take functions, and names of functions, for the rules that they are."""
        if not isinstance(rules, list | tuple):
            return rules
        return [
            {"function": rule} if isinstance(rule, str) else Rule.of(rule) if callable(rule) else rule for rule in rules
        ]

    @field_validator("version", mode="before")
    @classmethod
    def _spell_out(cls, version: Any) -> Any:
        return str(version) if isinstance(version, int) and not isinstance(version, bool) else version

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_distinct("guards", [str(guard.metric) for guard in self.guards])
        _check_distinct("slices", self.slices)
        _check_distinct("rules", [rule.function for rule in self.rules])
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
    def called(self) -> str | None:
        """What people call these rules; None where nobody named them."""
        parts = (self.name, f"version {self.version}" if self.version else None)
        return ", ".join(part for part in parts if part) or None

    @classmethod
    def from_document(cls, document: Mapping[str, Any], *, called: str = "The gate policy") -> Self:
        """Return the policy that a mapping (TOML, JSON, keywords) states, else raise ConfigurationError.

        `policy: refresh` says the same as `mode: refresh`. `called` is what the error calls the document.
        """
        from podium.registry.policy_errors import explain

        rules = dict(document)
        if "policy" in rules and rules.setdefault("mode", rules["policy"]) != rules.pop("policy"):
            raise ConfigurationError(
                f"{called} is wrong: it states both `mode` and `policy`, and differently; keep one."
            )
        try:
            return cls.model_validate(rules)
        except ValidationError as error:
            raise ConfigurationError(f"{called} is wrong: {explain(error)}.") from None

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Return the policy in a YAML file; ConfigurationError names the file, the key and what was meant.

        Called in a pipeline's code it is read when that is traced, which an edit of the file alone does not bring
        about: there the section `[gates]` of podium.toml is better.
        """
        from podium.registry.policy_file import read_mapping

        return cls.from_document(read_mapping(Path(path)), called=f"The gate policy {path}")


def _check_distinct(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} name {', '.join(twice)} twice; name each once")


def _check_margin(metric: Metric, margin: float | None) -> None:
    if margin is not None and metric.is_share and margin >= 1:
        raise ValueError(f"a margin of {margin} on {metric} accepts anything; give a share below 1, such as 0.01")
