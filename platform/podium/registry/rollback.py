"""What a rollback asks of its target beyond the rules of history: its files, and that it takes the requests of today.

Facts in, words out; nobody is rolled back to another version than the one asked for, another one is only offered.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from podium.registry.stored_model import ANY_TYPE, InputColumn

Columns = Sequence[InputColumn]

_WIDER = {"integer": ("long", "double"), "float": ("double",)}
"""What MLflow widens a value to by itself."""


@dataclass(frozen=True)
class Offer:
    """The next version that a rollback may lead to, None where there is none, and why not to those before it."""

    next_valid: str | None
    tried: tuple[tuple[str, str], ...] = ()

    def words(self, model: str, *, refused: str) -> str:
        """Return the offer as sentences, with the command that takes it."""
        said = [f"Version {version} would not do either: {why}" for version, why in self.tried]
        if self.next_valid is None:
            others = "of these" if self.tried else f"besides version {refused}"
            said.append(f"No earlier champion {others} can take over; restore the files of one from a backup.")
        else:
            said.append(
                f"Version {self.next_valid}, an earlier champion, was checked and is good: "
                f"`podium rollback {model} --to {self.next_valid} --reason TEXT` leads there."
            )
        return " ".join(said)


def find_next(versions: Iterable[str], damage_of: Callable[[str], str | None]) -> Offer:
    """Return the first of `versions` that nothing is wrong with, `damage_of` saying what is wrong with one."""
    tried: list[tuple[str, str]] = []
    for version in versions:
        damage = damage_of(version)
        if damage is None:
            return Offer(version, tuple(tried))
        tried.append((version, damage))
    return Offer(None, tuple(tried))


def misfit(target: Columns | None, champion: Columns | None) -> str | None:
    """Say why requests with the columns of `champion` do not fit `target`; None where they do or one is unknown.

    >>> narrow = [InputColumn("hour", "double")]
    >>> wide = [*narrow, InputColumn("wind", "double")]
    >>> misfit(narrow, wide)
    >>> misfit(wide, narrow)
    'it requires the column wind, which requests for the present champion need not have'
    """
    if target is None or champion is None:
        return None
    sent = {column.name: column.type for column in champion}
    missing = [column.name for column in target if column.required and column.name not in sent]
    if missing:
        columns = "column" if len(missing) == 1 else "columns"
        return f"it requires the {columns} {', '.join(missing)}, which requests for the present champion need not have"
    for column in target:
        given = sent.get(column.name, ANY_TYPE)
        if ANY_TYPE not in (given, column.type) and given != column.type and column.type not in _WIDER.get(given, ()):
            return f"it takes the column {column.name} as {column.type}, and the champion's requests have it as {given}"
    return None
