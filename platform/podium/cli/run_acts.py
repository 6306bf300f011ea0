"""`podium runs resume`, `retry`, `rerun`, `cancel`, `skip`, `approve`, `reject`: what a person does with a run."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from podium.cli.options import Json, Reason
from podium.cli.runs import RunId, document_of

if TYPE_CHECKING:  # heavy, and named in signatures only
    from podium.dag.plan import Plan
    from podium.execution.entities import Run
    from podium.execution.rerun import RerunStep
    from podium.execution.service import ChangedCode
    from podium.wiring.project import Project

_CANCEL_SECONDS = 10.0
_POLL_SECONDS = 0.2

StepName = Annotated[str, typer.Option("--step", metavar="STEP", help="The step's name.")]
Detach = Annotated[bool, typer.Option("--detach", help="Leave the run to a `podium worker`; do not wait.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Take over no result of an earlier run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be kept and what would run again.")]
AllowChanged = Annotated[
    bool | None,
    typer.Option(
        "--allow-changed-code/--refuse-changed-code",
        help="Whether it goes on with code that changed since; without, as on_code_change in podium.toml says.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the acts to `podium runs`."""
    for act in (resume, retry, rerun, cancel, skip, approve, reject):
        app.command()(act)


def resume(
    run_id: RunId,
    reason: Reason = "resumed by a person",
    *,
    allow_changed: AllowChanged = None,
    no_cache: NoCache = False,
    dry_run: DryRun = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Go on with a run where it stopped.

    What succeeded is kept, and so is what a person skipped; the rest is done with today's code.

    Example: podium runs resume 0j9x3k --dry-run
    """
    project, found = _open(run_id)
    if dry_run:
        _preview(project, found, from_step=None, as_json=as_json)
        return

    def take_up(plan: "Plan") -> "Run":
        policy = _policy(allow_changed)
        return project.execution.resume(found.run_id, plan, reason=reason, changed_code=policy, uses_cache=not no_cache)

    _go_on(project, found, take_up, detach=detach, as_json=as_json)


def retry(
    run_id: RunId,
    from_step: Annotated[str, typer.Option("--from", metavar="STEP", help="The first step to do again.")],
    reason: Reason,
    *,
    allow_changed: AllowChanged = None,
    no_cache: NoCache = False,
    dry_run: DryRun = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Do a step of a run, and all that comes after it, again.

    The run must have ended; the rest of it is kept. What the steps did before stays on record, with its costs.

    Example: podium runs retry 0j9x3k --from train --reason "the learning rate was wrong"
    """
    project, found = _open(run_id)
    if dry_run:
        _preview(project, found, from_step=from_step, as_json=as_json)
        return

    def take_up(plan: "Plan") -> "Run":
        return project.execution.retry(
            found.run_id,
            plan,
            from_step=from_step,
            reason=reason,
            changed_code=_policy(allow_changed),
            uses_cache=not no_cache,
        )

    _go_on(project, found, take_up, detach=detach, as_json=as_json)


def rerun(
    run_id: RunId,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter that is to be another; JSON, or text.")
    ] = None,
    reason: Reason = "run again by a person",
    *,
    no_cache: NoCache = False,
    detach: Detach = False,
    as_json: Json = False,
) -> None:
    """Start a new run of an earlier one's interval.

    Parameters that are not given are as they were. `podium runs show` names the run that it is a rerun of.

    Example: podium runs rerun 0j9x3k --param depth=5
    """
    from podium.cli.run import pairs
    from podium.dag.parameters import bind_parameters
    from podium.wiring.plans import validator

    project, found = _open(run_id)

    def start(plan: "Plan") -> "Run":
        parameters = bind_parameters(plan, pairs(param or []), before=found.parameters, validate=validator(project))
        return project.execution.rerun(
            found.run_id,
            plan,
            parameters=parameters,
            reason=reason,
            actor=project.actor,
            uses_cache=not no_cache,
        )

    _go_on(project, found, start, detach=detach, as_json=as_json)


def cancel(
    run_id: RunId,
    reason: Reason,
    *,
    now: Annotated[bool, typer.Option("--now", help="Wait for nothing: no tidying up, no clean-up steps.")] = False,
    as_json: Json = False,
) -> None:
    """Give up a run.

    Nothing more of it begins. Steps that run are asked to end and, if they have not after `cancel_grace_seconds`, are
    killed; then the steps with run_if="always" clean up. All of it is billed, and this waits for it for a while. What
    succeeded is kept, and `podium runs resume` takes the run up again.

    Example: podium runs cancel 0j9x3k --reason "the data were wrong"
    """
    from podium.cli import output
    from podium.errors import Conflict
    from podium.execution import queries, workers

    project, _ = _open(run_id)
    found = project.execution.cancel(run_id, reason=reason, now=now)
    deadline = project.clock.monotonic() + project.settings.cancel_grace_seconds + _CANCEL_SECONDS
    while found.state in ("queued", "running") and project.clock.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        with project.database.read() as connection:
            found = queries.get_run(connection, found.run_id)
            if not workers.with_attempts(connection, run_id=found.run_id):
                break  # what is left is clean-up that nobody executes, or the run has just ended
    if found.state in ("succeeded", "failed"):
        raise Conflict(f"The run {found.run_id} {found.state} before it could be cancelled; nothing was left to do.")
    if as_json:
        output.print_json(document_of(found.run_id))
    elif found.state == "cancelled":
        output.print_lines([f"The run {found.run_id} of {found.pipeline} is cancelled."])
    else:
        output.print_lines([_still_open(project, found)])


def skip(run_id: RunId, step: StepName, reason: Reason, *, as_json: Json = False) -> None:
    """Skip a step that has not begun, or that failed.

    An open run goes on without it at once; one that has ended does when it is resumed. Steps after it follow
    their run_if, as after any step that was skipped.

    Example: podium runs skip 0j9x3k --step report --reason "nobody reads it this month"
    """
    project, _ = _open(run_id)
    run = project.execution.skip(run_id, step, reason=reason, actor=project.actor)
    is_open = run.state in ("queued", "running")
    _tell(run, f"The step {step} of run {run.run_id} is skipped", resume=not is_open, as_json=as_json)


def approve(run_id: RunId, step: StepName, reason: Reason, *, as_json: Json = False) -> None:
    """Approve what a held step asks.

    Example: podium runs approve 0j9x3k --step approval --reason "the new tariff is in the data"
    """
    _decide(run_id, step, reason, approved=True, as_json=as_json)


def reject(run_id: RunId, step: StepName, reason: Reason, *, as_json: Json = False) -> None:
    """Reject what a held step asks.

    That is an outcome of the run, and no failure of it.

    Example: podium runs reject 0j9x3k --step approval --reason "March is incomplete"
    """
    _decide(run_id, step, reason, approved=False, as_json=as_json)


def _decide(run_id: str, step: str, reason: str, *, approved: bool, as_json: bool) -> None:
    project, _ = _open(run_id)
    run = project.execution.decide(run_id, step, approved=approved, reason=reason, actor=project.actor)
    word = "approved" if approved else "rejected"
    _tell(run, f"{step} of run {run.run_id} is {word}", resume=False, as_json=as_json)


def _tell(run: "Run", fact: str, *, resume: bool, as_json: bool) -> None:
    from podium.cli import output

    if as_json:
        output.print_json(document_of(run.run_id))
        return
    output.print_lines([f"{fact}."])
    if resume:
        output.note(f"`podium runs resume {run.run_id}` goes on without it.")
    elif run.state in ("queued", "running"):
        output.note(f"A `podium worker` goes on with it, or `podium runs resume {run.run_id}` does.")


def _open(run_id: str) -> tuple["Project", "Run"]:
    from podium.execution import queries
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        return project, queries.get_run(connection, run_id)


def _policy(allow_changed: bool | None) -> "ChangedCode | None":  # noqa: FBT001 - an option's value
    if allow_changed is None:
        return None
    return "continue" if allow_changed else "refuse"


def _go_on(project: "Project", found: "Run", act: Callable[["Plan"], "Run"], *, detach: bool, as_json: bool) -> None:
    """Act on a run with today's plan, then execute it here or leave it to a worker."""
    from podium.cli import execution
    from podium.wiring.plans import load_plans
    from podium.wiring.runs import preparation

    with preparation(project) as prepared:
        plan = load_plans(project, before_tracing=None if detach else prepared.backend).plan(found.pipeline)

        def create() -> str:
            run = act(plan)
            _say_that_code_changed(project, found, plan)
            return run.run_id

        start = execution.Start(found.interval.name, create)
        if detach:
            execution.leave_to_a_worker(project, plan, start, as_json=as_json)
            return
        documents = execution.execute(project, plan, [start], prepared)
    execution.report(plan, documents, many=False, as_json=as_json)


def _say_that_code_changed(project: "Project", found: "Run", plan: "Plan") -> None:
    from podium.cli import output
    from podium.execution import plans

    with project.database.read() as connection:
        before = plans.load(connection, found.plan_digest)
    if before.code_digest != plan.code_digest:
        digests = f"{before.code_digest[:12]} → {plan.code_digest[:12]}"
        output.note(f"The code changed since run {found.run_id} was planned ({digests}); today's is used.")


def _preview(project: "Project", found: "Run", *, from_step: str | None, as_json: bool) -> None:
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.wiring.plans import load_plans

    plan = load_plans(project).plan(found.pipeline)
    steps: list[RerunStep] = project.execution.preview(found.run_id, plan, from_step=from_step)
    documents: list[dict[str, Any]] = [
        {"name": step.name, "action": step.action, "reason": step.reason} for step in steps
    ]
    if as_json:
        output.print_json({"run_id": found.run_id, "steps": documents})
        return
    rows = [tuple(document.values()) for document in documents]
    print_table([Column("step"), Column("action"), Column("reason")], rows)


def _still_open(project: "Project", run: "Run") -> str:
    from podium.execution import claims, workers

    with project.database.read() as connection:
        holding = workers.with_attempts(connection, run_id=run.run_id)
        waiting = claims.open_run(connection, run.run_id, project.clock.now())
    said = f"The cancel of run {run.run_id} is on record, and nothing more of it begins"
    if holding or not waiting:
        named = " and ".join(f"process {each.process_id} on {each.host}" for each in holding) or "its worker"
        return f"{said}; {named} ends what runs: `podium runs show {run.run_id}`."
    return (
        f"{said}. Its clean-up waits for a `podium worker`, or for `podium runs resume {run.run_id}`. To go without: "
        f"`podium runs cancel {run.run_id} --now --reason …`."
    )
