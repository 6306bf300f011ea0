"""What `podium run` and `podium runs resume` share: execute runs in the foreground or leave them to a worker, show
them, report them."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from podium.cli import output
from podium.cli.progress import progress_of
from podium.cli.run_report import print_results
from podium.dag.plan import Plan
from podium.execution.worker import Worker
from podium.wiring.documents import run_document
from podium.wiring.project import Project
from podium.wiring.runs import Preparation, foreground


@dataclass(frozen=True)
class Start:
    """A run to execute: how it is called on the screen, and how to make it when its turn comes.

    `finished` returns the id of the run that is to be shown instead, because it has ended already.
    """

    label: str
    create: Callable[[], str]
    finished: Callable[[], str | None] = lambda: None


def execute(project: Project, plan: Plan, starts: Sequence[Start], prepared: Preparation) -> list[dict[str, Any]]:
    """Execute runs one after another and return their documents; behind one that fails, none is started."""
    documents: list[dict[str, Any]] = []
    progress = progress_of(plan, project.clock)
    with ExitStack() as stack:
        stack.enter_context(terminable())
        stack.enter_context(progress)
        worker: Worker | None = None
        for start in starts:
            finished = run_id = start.finished()
            if run_id is None:
                # The worker first: opening it asks for prices, and no run may be on record that has none.
                worker = worker or stack.enter_context(foreground(project, plan, progress.observe, prepared))
                run_id = start.create()
                progress.begin(start.label, run_id)
                worker.execute(run_id)
            with project.database.read() as connection:
                documents.append(run_document(connection, run_id, project.clock.now(), project.limits))
            progress.end(start.label, documents[-1], fresh=finished is None)
            if documents[-1]["state"] != "succeeded":
                break
    for left in starts[len(documents) :]:
        last, state = documents[-1]["interval_name"], documents[-1]["state"]
        ended = "waits for a decision" if state == "running" else f"{'was ' if state == 'cancelled' else ''}{state}"
        output.note(f"{left.label} was not started, because {last} {ended}.")
    return documents


def leave_to_a_worker(project: Project, plan: Plan, start: Start, *, as_json: bool) -> None:
    """Put a run on record, print its id or its document, and say who executes it."""
    project.require_runnable(plan)  # first: no run may be on record that has none
    run_id = start.create()
    if as_json:
        with project.database.read() as connection:
            output.print_json(run_document(connection, run_id, project.clock.now(), project.limits))
    else:
        output.print_lines([run_id])
    output.note(f"A `podium worker` executes it; `podium runs show {run_id}` tells how far it is.")


def report(plan: Plan, documents: list[dict[str, Any]], *, many: bool, as_json: bool) -> None:
    """Print what became of the runs; exit 1 unless all succeeded, or the last one waits for a decision."""
    if as_json:
        output.print_json(documents if many else documents[0])
    else:
        print_results(documents)
        _print_hints(plan, documents)
    if any(document["state"] not in ("succeeded", "running") for document in documents):
        raise typer.Exit(1)


def _print_hints(plan: Plan, documents: list[dict[str, Any]]) -> None:
    last = documents[-1]
    if last["state"] == "running":
        decisions = {
            **{f"podium runs approve {last['run_id']} --step {step} --reason …": "" for step in last["held"][:1]},
            **{f"podium approve {each} --reason …": " what it promotes" for each in last["awaits_approval"][:1]},
        }
        hints = {
            f"podium runs show {last['run_id']}": "what is asked, and until when",
            **{command: f"decide{about}; or `reject`" for command, about in decisions.items()},
            f"podium runs resume {last['run_id']}": "go on once it is decided; a `podium worker` does so by itself",
        }
    elif last["state"] != "succeeded":
        hints = {
            f"podium runs show {last['run_id']}": "which step failed, and why",
            f"podium runs logs {last['run_id']}": "what it printed",
            f"podium runs resume {last['run_id']}": "go on where it stopped, with today's code",
        }
    else:
        judged = last["model"]["champion_after"] is not None
        hints = {
            f"podium models history {plan.model}" if judged else f"podium pipelines show {plan.pipeline}": (
                "every move of the champion, and why" if judged else "its steps, and what each waits for"
            ),
            f"podium runs show {last['run_id']}": "steps, attempts, verdict, cost",
            "podium costs report --by model,resource": "what was spent, and on what",
        }
    width = max(map(len, hints))
    output.note("\nWorth trying next:")
    for command, purpose in hints.items():
        output.note(f"  {command:<{width}}  # {purpose}")


@contextmanager
def terminable(go_on: str = "the same command goes on from there") -> Iterator[None]:
    """Treat SIGTERM like an interrupt at the keyboard: what runs is ended, and claimable again, as `go_on` says."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        output.note(f"Interrupted. What was finished is kept; {go_on}.")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
