"""Which models may be loaded, and what loading one may use: the section `[models]`."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class ModelSettings(BaseModel):
    """What becomes of models that only a pickle can hold, and the limits of a load that checks one.

    `pickle`: `refuse` them, `scan` what they import before any load, or `allow` all. `reviewed_packages` may be
    imported by a pickle, beside those that Podium reviewed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pickle: Literal["refuse", "scan", "allow"] = "scan"
    reviewed_packages: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = ()
    load_memory_gib: Annotated[float, Field(ge=0.5, le=4096, allow_inf_nan=False)] = 4.0
    load_seconds: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)] = 60.0

    @field_validator("reviewed_packages")
    @classmethod
    def _are_packages(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _PACKAGE.fullmatch(name):
                raise ValueError(f"{name!r} is no package; give the names that are imported, as acme or acme.features")
        return names


def explain(problem: dict[str, Any], source: str) -> str:
    """Say what is wrong in the section, and what may be written there."""
    place = [str(part) for part in problem["loc"][1:2]]
    if problem["type"] == "extra_forbidden":
        return f"{source}, models: {place[0]} is no setting. They are {', '.join(ModelSettings.model_fields)}."
    where = ", ".join(["models", *place])
    if problem["type"] == "value_error":
        return f"{source}, {where}: {problem['msg'].removeprefix('Value error, ')}. Correct or remove it."
    if not place:
        return f"{source}, {where} is no table; begin it with a line [models], and write its settings below that."
    return f"{source}, {where} is {problem['input']!r}: {_REMEDIES[place[0]]}."


_REMEDIES = {
    "pickle": 'give "refuse", "scan" or "allow"',
    "reviewed_packages": 'give a package or a list of them, as reviewed_packages = ["acme"]',
    "load_memory_gib": "give the memory in GiB, from 0.5 to 4096",
    "load_seconds": "give the seconds, from 1 to 3600",
}
