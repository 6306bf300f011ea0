"""A registry that fails at one of its calls: before anything happened, after it did, or so that it happens later."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from podium.errors import ServiceUnavailable
from podium.registry.port import ModelRegistry

When = Literal["before", "after", "late"]


class FaultyRegistry:
    """Hands every call on to a registry and fails at the call of that number, counted from 1.

    `before`: nothing happened. `after`: it happened, but nobody heard of it. `late`: nobody heard of it either, and it
    happens when the next call comes, as with a server that goes on after its client gave up. `moves` are the versions
    that aliases went to.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._fails_at = 0
        self._when: When = "before"
        self._only = ""
        self._late: Callable[[], Any] | None = None
        self.calls: list[str] = []
        self.moves: list[str] = []

    def fail(self, at: int, when: When, *, only: str = "") -> None:
        """Fail at the call of that number from now on, counting those of one method alone; 0 is never."""
        self.calls.clear()
        self._fails_at, self._when, self._only = at, when, only

    @property
    def failed(self) -> bool:
        """Whether the call that fails has come."""
        return 0 < self._fails_at <= len(self.calls)

    @property
    def port(self) -> ModelRegistry:
        """It as what it stands for."""
        return cast(ModelRegistry, self)

    def __getattr__(self, name: str) -> Any:
        """Return the registry's method of that name, with the fault in it."""
        return partial(self._call, name, getattr(self._registry, name))

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self._late is not None:
            late, self._late = self._late, None
            late()
        if self._only in ("", name):
            self.calls.append(name)
        act = partial(self._act, name, method, *arguments, **options)
        if self._only not in ("", name) or len(self.calls) != self._fails_at:
            return act()
        if self._when == "after":
            act()
        if self._when == "late":
            self._late = act
        raise ServiceUnavailable(f"The registry did not answer {name}.")

    def _act(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if name != "set_alias":
            return method(*arguments, **options)
        model, alias, version = arguments
        moves = self._registry.alias(model, alias) != version
        method(model, alias, version)
        if moves:
            self.moves.append(version)
        return None
