"""`podium pipelines`: what can be run."""

from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.options import Json

if TYPE_CHECKING:  # a command's imports wait until it is run
    from podium.dag.options import Resources
    from podium.dag.plan import Plan

app = typer.Typer(help="Pipelines: graphs, schedules, owners.\n\nExample: podium pipelines list", no_args_is_help=True)


@app.command("list")
def list_(*, as_json: Json = False) -> None:
    """List the project's pipelines.

    A file that does not load is named after the others are listed, and the exit code is 2.

    Example: podium pipelines list
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.errors import DefinitionError
    from podium.wiring.plans import load_plans
    from podium.wiring.project import open_project

    loaded = load_plans(open_project())
    plans = sorted(loaded.plans.values(), key=lambda plan: plan.pipeline)
    if as_json:
        output.print_json([_document(plan) for plan in plans])
    else:
        print_table(
            [
                Column("pipeline"),
                Column("model"),
                Column("team"),
                Column("environment", spare=True),
                Column("grain"),
                Column("schedule", wraps=True),
                Column("steps", right=True, spare=True),
            ],
            [
                (
                    plan.pipeline,
                    plan.model,
                    plan.team,
                    plan.environment,
                    plan.grain,
                    f"{plan.schedule} ({plan.timezone})" if plan.schedule else "–",
                    str(len(plan.steps)),
                )
                for plan in plans
            ],
        )
    if loaded.problems:
        raise DefinitionError(" ".join(problem.message for problem in loaded.problems))


@app.command()
def show(pipeline: Annotated[str, typer.Argument(help="The pipeline's name.")], *, as_json: Json = False) -> None:
    """Show a pipeline: its steps, what each waits for and reserves.

    Example: podium pipelines show flight_delay
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_reasons, print_table
    from podium.wiring.plans import load_plans
    from podium.wiring.project import open_project

    plan = load_plans(open_project()).plan(pipeline)
    if as_json:
        output.print_json(_document(plan))
        return
    print_reasons(
        [
            ("pipeline", [plan.pipeline, *([plan.description] if plan.description else [])]),
            ("model", [plan.model]),
            ("owner", [f"team {plan.team}, environment {plan.environment}"]),
            ("grain", [plan.grain]),
            ("schedule", [f"{plan.schedule} ({plan.timezone})" if plan.schedule else "none"]),
            ("defined in", [f"{plan.file}, plan {plan.digest[:12]}"]),
        ]
    )
    output.print_lines([""])
    print_table(
        [
            Column("step"),
            Column("waits for", wraps=True),
            Column("only when", wraps=True),
            Column("reserves", spare=True),
            Column("retries", right=True, spare=True),
            Column("timeout", right=True, spare=True),
        ],
        [
            (
                node.name if node.over is None else f"{node.name} over {node.over}",
                ", ".join(node.dependencies) or "–",
                ", ".join(f"{each.step}.{each.output}" for each in node.conditions) or "–",
                _reserved(node.resources),
                str(node.retries),
                output.seconds(node.timeout_seconds),
            )
            for node in plan.steps
        ],
    )


def _reserved(resources: "Resources") -> str:
    from podium.cli import output

    gpus = f", {resources.gpu} GPU" if resources.gpu else ""
    return f"{resources.cpu:g} CPU, {output.memory(resources.memory_bytes)}{gpus}"


def _document(plan: "Plan") -> dict[str, object]:
    return {**plan.to_document(), "digest": plan.digest}
