"""`podium run`: a pipeline in the foreground, for one interval or several in order; or left to a worker."""

from functools import partial
from typing import Annotated

import typer

from podium.cli.options import Json


def run(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")],
    for_: Annotated[
        list[str],
        typer.Option(
            "--for",
            metavar="INTERVAL",
            help="2013, 2013-03, 2013-03-05 or START..END; several run in this order.",
        ),
    ],
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A run parameter; VALUE is JSON, or else text."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Start a new run where the interval has one.")] = False,  # noqa: FBT002
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Take over no result of an earlier run.")] = False,  # noqa: FBT002
    detach: Annotated[bool, typer.Option("--detach", help="Leave the run to a `podium worker`; do not wait.")] = False,  # noqa: FBT002
    *,
    as_json: Json = False,
) -> None:
    """Run a pipeline for an interval and wait for the end.

    An interval that has a finished run shows it and adds nothing; an unfinished one is resumed.

    Example: podium run flight_delay --for 2013-03
    """
    from podium.cli import execution
    from podium.dag.interval import Interval, check_grain
    from podium.dag.parameters import bind_parameters
    from podium.errors import UsageError
    from podium.execution import queries
    from podium.wiring.plans import load_plans, validator
    from podium.wiring.project import open_project
    from podium.wiring.runs import preparation

    if detach and len(for_) > 1:
        raise UsageError(
            f"--detach takes one --for, and {len(for_)} are given: detached runs go on side by side, but each has to "
            "know the champion that the one before it made. Leave --detach away, and they run one after another."
        )
    project = open_project()
    with preparation(project) as prepared:
        plan = load_plans(project, before_tracing=None if detach else prepared.backend).plan(pipeline)
        intervals = [Interval.parse(text, plan.timezone) for text in for_]
        for interval in intervals:
            check_grain(interval, plan.grain, plan.pipeline)
        parameters = bind_parameters(plan, pairs(param or []), validate=validator(project))

        def finished(interval: Interval) -> str | None:
            with project.database.read() as connection:
                found = None if again else queries.find_run(connection, plan.pipeline, interval, parameters)
            return None if found is None or found.state in ("queued", "running") else found.run_id

        def start(interval: Interval) -> str:
            started = project.execution.start(
                plan, interval, parameters=parameters, actor=project.actor, again=again, uses_cache=not no_cache
            )
            return started.run_id

        starts = [
            execution.Start(interval.name, partial(start, interval), partial(finished, interval))
            for interval in intervals
        ]
        if detach and starts[0].finished() is None:
            execution.leave_to_a_worker(project, plan, starts[0], as_json=as_json)
            return
        documents = execution.execute(project, plan, starts, prepared)
    execution.report(plan, documents, many=len(intervals) > 1, as_json=as_json)


def pairs(texts: list[str]) -> dict[str, str]:
    """Return what `--param NAME=VALUE` says, by name; UsageError for one that says nothing, or is said twice."""
    from podium.errors import UsageError

    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--param {text!r} names no parameter; write it as NAME=VALUE.")
        if name in given:
            raise UsageError(f"--param {name} is given twice; keep one.")
        given[name] = value
    return given
