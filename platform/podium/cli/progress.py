"""The view of runs while they go on: a live table at a terminal, plain lines elsewhere; both on stderr."""

from collections import Counter
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from podium.cli import output
from podium.cli.run_report import result
from podium.clock import Clock
from podium.dag.plan import Plan
from podium.execution.entities import Happening
from podium.execution.items import WHOLE, parse_item

_MARKS = {
    "succeeded": "[green]✓[/]",
    "approved": "[green]✓[/]",
    "rejected": "[yellow]✓[/]",
    "failed": "[red]✗[/]",
    "skipped": "[dim]–[/]",
    "running": "[cyan]…[/]",
    "held": "[yellow]?[/]",
}


_SETBACKS = ("claim.failed", "rescue.failed", "deadline.failed")
_STOPS = {"run.cancel_requested": "the run is being cancelled", "run.deadline_passed": "the run is being stopped"}


class Progress(Protocol):
    """Shows runs going on; a context manager."""

    def __enter__(self) -> Self:
        """Start showing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def begin(self, label: str, run_id: str) -> None:
        """Show that a run is executed now."""

    def observe(self, happening: Happening) -> None:
        """Show what happened in it; of a run that goes on, also what happened before."""

    def end(self, label: str, document: dict[str, Any], *, fresh: bool) -> None:
        """Show how it ended; a run that is not `fresh` had ended before."""


def progress_of(plan: Plan, clock: Clock) -> Progress:
    """Return the view that fits where stderr goes."""
    return LiveProgress(plan, clock) if output.progress_console().is_terminal else PlainProgress(plan, clock)


class PlainProgress:
    """One line per thing that happens."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._pipeline = plan.pipeline
        self._clock = clock
        self._label = ""
        self._since = clock.now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def begin(self, label: str, run_id: str) -> None:
        """Say which run is executed."""
        self._label = label
        self._since = self._clock.now()
        self._say(f"run {run_id}")

    def observe(self, happening: Happening) -> None:
        """Say what happens to a step; what an attempt's line told is not told again."""
        if happening.at < self._since:
            return
        if happening.kind in _SETBACKS:
            self._say(f"run {happening.run_id} {happening.reason}")
        if happening.kind in _STOPS:
            self._say(f"{_STOPS[happening.kind]}: {happening.reason}")
        if happening.step is None:
            return
        reason = f": {happening.reason}" if happening.reason else ""
        match happening.kind.split("."):
            case "attempt", what:
                self._say(f"{happening.step} attempt {happening.attempt} {what.replace('_', ' ')}{reason}")
            case "step", "waiting":
                self._say(f"{happening.step} will be tried again")
            case "step", "snoozed":
                self._say(f"{happening.step} {happening.reason}")
            case "step", "mapped":
                self._say(f"{happening.step} is mapped {happening.reason}")
            case "step", "held" | "approved" | "rejected" | "skipped" | "cancelled" as what:
                self._say(f"{happening.step} {what}{reason}")

    def end(self, label: str, document: dict[str, Any], *, fresh: bool) -> None:
        """Say how the run ended."""
        self._label = label
        verb = "" if fresh else "had already "
        outcome = f", {document['outcome']}" if document["outcome"] else ""
        self._say(f"run {document['run_id']} {verb}{document['state']}{outcome}, {output.money(document['cost_usd'])}")

    def _say(self, text: str) -> None:
        output.note(f"{self._pipeline} {self._label}  {text}")


class LiveProgress:
    """One line per ended run, and below them the steps of the run that goes on."""

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._label = ""
        self._states: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._began: dict[str, datetime] = {}
        self._took: dict[str, timedelta] = {}
        self._items: dict[str, dict[int, str]] = {}  # the states of a mapped step's items
        self._live = Live(
            console=output.progress_console(),
            get_renderable=self.render,
            refresh_per_second=8,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, label: str, run_id: str) -> None:
        """Show a run's steps, none of them begun."""
        del run_id
        self._label = label
        self._states, self._reasons, self._began, self._took, self._items = {}, {}, {}, {}, {}

    def observe(self, happening: Happening) -> None:
        """Show a step's new state, and why it is in it."""
        if happening.kind in _SETBACKS:
            self._live.console.print(f"run {happening.run_id} {happening.reason}", markup=False)
        if happening.step is None:
            return
        subject, _, what = happening.kind.partition(".")
        step, index = parse_item(happening.step)
        if index != WHOLE:
            if subject == "step":
                self._items.setdefault(step, {})[index] = what
            return
        if happening.kind in ("attempt.started", "step.mapped"):
            self._states[happening.step] = "running"
            self._began[happening.step] = happening.at
        elif subject == "step":
            self._states[happening.step] = what
            if happening.step in self._began:
                self._took[happening.step] = happening.at - self._began[happening.step]
        self._reasons[happening.step] = happening.reason or ""

    def end(self, label: str, document: dict[str, Any], *, fresh: bool) -> None:
        """Print a line for the ended run, above the live part."""
        mark = _MARKS.get(document["state"], " ")
        note = "" if fresh else "  [dim]had already run[/]"
        self._label = ""
        self._live.console.print(
            f"{mark} {self._plan.pipeline} {label}  {output.state(result(document))}  "
            f"{output.money(document['cost_usd'])}{note}"
        )

    def render(self) -> Group:
        """Return what is to be seen now."""
        if not self._label:
            return Group()
        table = Table.grid(padding=(0, 2))
        for node in self._plan.steps:
            state = self._states.get(node.name, "waiting")
            table.add_row(
                _MARKS.get(state, " "),
                node.name,
                output.state(state),
                self._elapsed(node.name, state),
                Text(self._reason(node.name, state), style="dim", overflow="ellipsis", no_wrap=True),
            )
        return Group(Text(f"{self._plan.pipeline} {self._label}", style="bold"), table)

    def _reason(self, step: str, state: str) -> str:
        reason, items = self._reasons.get(step, ""), Counter(self._items.get(step, {}).values())
        if state != "running" or not items:
            return reason
        return f"{reason}: {items['succeeded'] + items['cached']:,} succeeded, {items['failed']:,} failed"

    def _elapsed(self, step: str, state: str) -> str:
        if state == "running" and step in self._began:
            return output.seconds((self._clock.now() - self._began[step]).total_seconds())
        return output.seconds(self._took[step].total_seconds()) if step in self._took else ""
