"""What becomes of moves that Podium did not make, and how much of the past is looked after: the section `[guard]`."""

import difflib
import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from podium.settings.spans import span


def _is_span(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,4}[smhd]", text):
        raise ValueError("give a whole number of seconds, minutes, hours or days in quotes, as 30s, 10m, 6h or 1d")
    return text


class GuardSettings(BaseModel):
    """`champion_moved` is what to do where somebody moved a champion outside Podium: tell of it, or move it back.

    `poll` is how often the scheduler looks; the last `keep_champions` champions of each model are looked after as the
    present one is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    champion_moved: Literal["alert", "restore"] = "alert"
    poll: Annotated[str, AfterValidator(_is_span)] = "60s"
    keep_champions: Annotated[int, Field(ge=0, le=1000)] = 3

    @property
    def pause(self) -> timedelta:
        """The time between two looks."""
        return span(self.poll)


def explain(problem: dict[str, Any], source: str) -> str:
    """Say what is wrong with a setting of the section."""
    name = ".".join(str(part) for part in problem["loc"][1:])
    if not name:
        return f"{source}, guard is no table; write its settings below a line [guard]."
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, GuardSettings.model_fields, n=1)
        guess = f"; did you mean {close[0]}?" if close else "."
        return f"{source}, guard: {name} is no setting{guess} They are {', '.join(GuardSettings.model_fields)}."
    told = problem["msg"].removeprefix("Value error, ")
    return f"{source}, guard: {name} is {problem['input']!r}: {told}. Correct or remove it."
