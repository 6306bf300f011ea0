"""`podium backfill` and `podium backfills`: past intervals filled in, looked at, cancelled, taken up again."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from podium.cli.options import Json, Reason

if TYPE_CHECKING:  # heavy, and named in signatures only
    from podium.dag.plan import Plan
    from podium.scheduling.backfill_entities import Backfill
    from podium.scheduling.backfills import Backfills
    from podium.wiring.project import Project
    from podium.wiring.runs import Preparation

_CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.2
_FOLLOW_SECONDS = 0.5
_DEFAULT_PARALLEL = 4  # podium.scheduling.backfill_plan.MAX_PARALLEL, which costs more to import than `--help` may

app = typer.Typer(
    help="Backfills: how far they are, how to stop them and go on.\n\nExample: podium backfills list",
    no_args_is_help=True,
)

BackfillId = Annotated[str, typer.Argument(metavar="BACKFILL", help="Its id, or the beginning or end of it.")]
Detach = Annotated[bool, typer.Option("--detach", help="Leave its runs to a `podium worker`; do not wait.")]


def backfill(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")],
    from_: Annotated[
        str, typer.Option("--from", metavar="MOMENT", help="Where it begins: 2013, 2013-03, 2013-03-05, 2013-03-05T06.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="MOMENT", help="Where it ends; exclusive.")],
    order: Annotated[Literal["oldest", "newest"], typer.Option(help="Which have their turn first.")] = "oldest",
    max_parallel: Annotated[
        int, typer.Option(min=1, help="How many of its runs go on at once, over all workers.")
    ] = _DEFAULT_PARALLEL,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A run parameter; VALUE is JSON, or else text."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with the backfill and its runs.")] = None,
    *,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Only intervals whose newest run failed or was cancelled.")
    ] = False,
    reprocess: Annotated[
        bool, typer.Option("--reprocess", help="Also intervals that have succeeded, again with today's code.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Take over no result of an earlier run.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do, and what that is expected to take.")
    ] = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Fill in past intervals of a pipeline, and wait for the end.

    Intervals that have succeeded are kept, open runs are joined, for the rest new runs are made, all of them in one
    transaction. They register models and stop there: no backfilled run opens a canary or promotes anything. They give
    way to whatever else is to run.

    Example: podium backfill flight_delay --from 2013-01 --to 2013-07 --dry-run
    """
    from podium.cli import output
    from podium.cli.backfill_report import print_preview
    from podium.cli.run import pairs
    from podium.dag.parameters import bind_parameters
    from podium.scheduling.backfill_entities import BackfillRequest
    from podium.scheduling.backfill_plan import intervals_of
    from podium.wiring.backfills import backfills_of, preview_document
    from podium.wiring.plans import load_plans, validator
    from podium.wiring.project import open_project
    from podium.wiring.runs import preparation

    project = open_project()
    backfills = backfills_of(project)
    with preparation(project) as prepared:
        only_here = detach or dry_run
        plan = load_plans(project, before_tracing=None if only_here else prepared.backend).plan(pipeline)
        asked = BackfillRequest(
            plan=plan,
            intervals=tuple(intervals_of(from_, to, plan, project.clock.now())),
            parameters=bind_parameters(plan, pairs(param or []), validate=validator(project)),
            actor=project.actor.name,
            actor_verified=project.actor.verified,
            order=order,
            max_parallel=max_parallel,
            failed_only=failed_only,
            reprocess=reprocess,
            uses_cache=not no_cache,
            reason=reason,
        )
        if dry_run:
            document = preview_document(asked, backfills.preview(asked))
            if as_json:
                output.print_json(document)
            else:
                print_preview(document)
            return
        _go_on(project, plan, prepared, lambda: backfills.start(asked), detach=detach, as_json=as_json)


@app.command("list")
def list_(
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 50,
    *,
    as_json: Json = False,
) -> None:
    """List backfills, the newest first.

    Example: podium backfills list --pipeline flight_delay
    """
    from podium.cli import output
    from podium.cli.backfill_report import print_list
    from podium.scheduling import backfill_store
    from podium.wiring.backfills import backfill_documents, backfills_of
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        found = backfill_store.newest(connection, pipeline=pipeline, limit=limit)
        documents = backfill_documents(connection, backfills_of(project), found)
    if as_json:
        output.print_json(documents)
    elif documents:
        print_list(documents)
    else:
        output.note("There is no backfill; `podium backfill PIPELINE --from MOMENT --to MOMENT` starts one.")


@app.command()
def show(
    backfill_id: BackfillId,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Show one backfill: how far it is, what it cost, its intervals.

    Example: podium backfills show 0j9x3k --follow
    """
    from podium.cli.backfill_progress import BackfillProgress
    from podium.wiring.project import open_project

    project = open_project()
    backfills, found = _open(project, backfill_id)
    if follow:
        with BackfillProgress(_label(found), project.clock, lambda: _counts(project, found)) as progress:
            while (counts := _counts(project, found))["queued"] + counts["running"]:
                time.sleep(_FOLLOW_SECONDS)
                progress.refresh()
    _print(_document(project, backfills, found), as_json=as_json)


@app.command()
def cancel(backfill_id: BackfillId, reason: Reason, *, as_json: Json = False) -> None:
    """Give up a backfill and the runs that it made.

    What has not begun ends at once; what runs is asked to end, as by `podium runs cancel`, and waited for for a while.
    The intervals are free then: another backfill, a schedule or `podium run` fills them in.

    Example: podium backfills cancel 0j9x3k --reason "the data were wrong"
    """
    from podium.cli import output
    from podium.wiring.project import open_project

    project = open_project()
    backfills, found = _open(project, backfill_id)
    found = backfills.cancel(found.backfill_id, by=project.actor.name, reason=reason)
    left = _wait_for_the_end(project, found)
    if as_json:
        _print(_document(project, backfills, found), as_json=True)
        return
    output.print_lines([f"The backfill {found.backfill_id} of {found.pipeline} is cancelled."])
    if left:
        output.note(
            f"Of {left} run{'' if left == 1 else 's'} a worker still ends what runs, or clean-up waits for one: "
            f"`podium backfills show {found.backfill_id}`."
        )


@app.command()
def resume(
    backfill_id: BackfillId,
    reason: Reason = "its backfill was resumed by a person",
    *,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Take up again what failed, was cancelled or is still open.

    What they finished is kept; the rest is done with today's code, if on_code_change allows it. Where a run of somebody
    else that it joined did not succeed, it makes one of its own. Intervals that others have filled in since are left as
    they are.

    Example: podium backfills resume 0j9x3k
    """
    from podium.cli import output
    from podium.wiring.plans import load_plans
    from podium.wiring.project import open_project
    from podium.wiring.runs import preparation

    project = open_project()
    backfills, found = _open(project, backfill_id)
    with preparation(project) as prepared:
        plan = load_plans(project, before_tracing=None if detach else prepared.backend).plan(found.pipeline)

        def take_up() -> "Backfill":
            resumed = backfills.resume(found.backfill_id, plan, reason=reason)
            for why in resumed.not_resumed.values():
                output.note(why)
            if resumed.taken_over:
                output.note(f"{resumed.taken_over:,} intervals were filled in by others meanwhile, and stay so.")
            return backfills.find(found.backfill_id)

        _go_on(project, plan, prepared, take_up, detach=detach, as_json=as_json)


def _go_on(
    project: "Project",
    plan: "Plan",
    prepared: "Preparation",
    begin: Callable[[], "Backfill"],
    *,
    detach: bool,
    as_json: bool,
) -> None:
    """Put a backfill on record, or take it up again; then execute its runs here, or leave them to a worker."""
    from podium.cli import output
    from podium.wiring.backfills import backfills_of

    backfills = backfills_of(project)
    if detach:
        project.require_runnable(plan)  # first: no run may be on record that has none
        found = begin()
        if as_json:
            _print(_document(project, backfills, found), as_json=True)
        else:
            output.print_lines([found.backfill_id])
        output.note(
            f"A `podium worker` executes it; `podium backfills show {found.backfill_id} --follow` tells how far it is."
        )
        return
    found = _execute(project, plan, prepared, begin)
    document = _document(project, backfills, found)
    _print(document, as_json=as_json)
    _print_hints(document)
    if document["state"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def _execute(project: "Project", plan: "Plan", prepared: "Preparation", begin: Callable[[], "Backfill"]) -> "Backfill":
    """Execute what may be executed of a backfill until nothing more can be done for it here."""
    from contextlib import ExitStack

    from podium.cli.backfill_progress import BackfillProgress
    from podium.cli.execution import terminable
    from podium.execution.entities import Happening
    from podium.wiring.backfills import stands_still
    from podium.wiring.runs import foreground

    shown: list[BackfillProgress] = []

    def observe(happening: Happening) -> None:
        for each in shown:
            each.observe(happening)

    def is_over() -> bool:
        shown[0].refresh()
        with project.database.read() as connection:
            return stands_still(connection, found)

    with ExitStack() as stack:
        stack.enter_context(terminable("`podium backfills resume` goes on from there, or a `podium worker` does"))
        # The worker first: opening it asks for prices, and no run may be on record that has none.
        worker = stack.enter_context(foreground(project, plan, observe, prepared))
        found = begin()
        progress = BackfillProgress(_label(found), project.clock, lambda: _counts(project, found))
        shown.append(stack.enter_context(progress))
        worker.execute_backfill(found.backfill_id, is_over)
        progress.end()
    return found


def _wait_for_the_end(project: "Project", found: "Backfill") -> int:
    """Wait for a while until workers have ended what runs of a cancelled backfill; return how many runs are left."""
    from podium.execution import workers
    from podium.scheduling import backfill_store

    deadline = project.clock.monotonic() + project.settings.cancel_grace_seconds + _CANCEL_SECONDS
    while True:
        with project.database.read() as connection:
            open_ = backfill_store.own_runs(connection, found, ("queued", "running"))
            held = any(workers.with_attempts(connection, run_id=each.run_id) for each in open_)
        if not held or project.clock.monotonic() > deadline:
            return len(open_)
        time.sleep(_POLL_SECONDS)


def _open(project: "Project", backfill_id: str) -> "tuple[Backfills, Backfill]":
    from podium.wiring.backfills import backfills_of

    backfills = backfills_of(project)
    return backfills, backfills.find(backfill_id)


def _document(project: "Project", backfills: "Backfills", found: "Backfill") -> dict[str, Any]:
    from podium.wiring.backfills import backfill_document

    found = backfills.find(found.backfill_id)
    with project.database.read() as connection:
        return backfill_document(connection, backfills, found)


def _counts(project: "Project", found: "Backfill") -> dict[str, int]:
    from podium.wiring.backfills import counts_of

    with project.database.read() as connection:
        return counts_of(connection, found.backfill_id)


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    from podium.cli import output
    from podium.cli.backfill_report import print_backfill

    if as_json:
        output.print_json(document)
    else:
        print_backfill(document)


def _print_hints(document: dict[str, Any]) -> None:
    from podium.cli import output

    if document["state"] == "running":
        output.note(
            "Some of its intervals wait for a decision, or for runs that somebody else asked for; "
            f"`podium backfills resume {document['backfill_id']}` goes on."
        )
    elif document["state"] == "failed":
        output.note(f"`podium backfills resume {document['backfill_id']}` takes up what failed, with today's code.")


def _label(found: "Backfill") -> str:
    return f"{found.pipeline} {found.range.name}"
