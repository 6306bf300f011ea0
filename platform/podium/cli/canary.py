"""`podium canary`: plan a trial, look at one, end one."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json, Reason

app = typer.Typer(
    help="Canaries: trials of a challenger on a share of the traffic.\n\nExample: podium canary show flight_delay",
    no_args_is_help=True,
)

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]

_RELATIVE_RISKS = (1.2, 1.5, 2.0)


@app.command()
def plan(
    error_rate: Annotated[float, typer.Option(help="The champion's error rate, 0.05 for 5 of 100 requests.")],
    margin: Annotated[float | None, typer.Option(help="The rise of the error rate that is accepted.")] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(metavar="PERCENT:REQUESTS", help="A phase of the ramp; several in their order."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Say how many requests a canary needs, and how soon it notices harm.

    Example: podium canary plan --error-rate 0.05 --margin 0.01 --phase 5:8000 --phase 50:40000
    """
    from podium.canary.plan import CanaryPlan
    from podium.cli import output

    stated: dict[str, Any] = {} if margin is None else {"margin": margin}
    if phase:
        stated["phases"] = [_phase(text) for text in phase]
    document = _planned(CanaryPlan.from_document(stated), error_rate)
    if as_json:
        output.print_json(document)
    else:
        _print_plan(document)


@app.command()
def show(
    model: Model,
    run: Annotated[str | None, typer.Option(metavar="RUN", help="The canary of this run, not the newest.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show a model's newest canary, what it saw and what it came to.

    Example: podium canary show flight_delay
    """
    from podium.canary import documents
    from podium.cli import output
    from podium.execution import queries
    from podium.wiring.project import open_project

    with open_project().database.read() as connection:
        run_id = None if run is None else queries.get_run(connection, run).run_id
        document = documents.show(connection, model, run_id)
    if as_json:
        output.print_json(document)
    else:
        _print_canary(document)


@app.command()
def abort(model: Model, reason: Reason) -> None:
    """End a model's open canary; the champion stays.

    Example: podium canary abort flight_delay --reason "the labels of Tuesday are wrong"
    """
    from podium.cli import output
    from podium.wiring.project import open_project

    project = open_project()
    ended = project.canaries.abort(model, reason=reason, actor=project.actor.name)
    output.print_lines([f"The canary {ended.canary_id} of {model} is {ended.state}; version {ended.champion} stays."])


def _phase(text: str) -> dict[str, float | int]:
    from podium.errors import UsageError

    percent, _, requests = text.partition(":")
    try:
        return {"weight_percent": float(percent), "requests": int(requests)}
    except ValueError:
        raise UsageError(f"--phase {text!r} is no phase; write it as PERCENT:REQUESTS, such as 5:8000.") from None


def _planned(plan: Any, error_rate: float) -> dict[str, Any]:
    from podium.errors import UsageError
    from podium.stats.canary_planning import expected_requests_to_roll_back, requests_for_margin

    if not 0 < error_rate < 1 - plan.margin:
        raise UsageError(
            f"--error-rate {error_rate:g} is no error rate to plan for; it lies above 0 and below {1 - plan.margin:g}, "
            "so that a challenger can be worse by the margin."
        )
    needed = requests_for_margin(
        error_rate=error_rate, margin=plan.margin, weights=plan.weights, alpha=plan.alpha / 2, power=plan.power
    )
    return {
        "plan": plan.model_dump(mode="json"),
        "error_rate": error_rate,
        "requests_planned": plan.requests,
        "requests_needed": needed,
        "enough": plan.requests >= needed,
        "phases": [
            {
                "weight_percent": phase.weight_percent,
                "requests": phase.requests,
                "expected_requests_to_roll_back": {
                    f"{risk:g}": round(
                        expected_requests_to_roll_back(
                            error_rate=error_rate, relative_risk=risk, weight=phase.weight, alpha=plan.alpha
                        )
                    )
                    for risk in _RELATIVE_RISKS
                    if risk * error_rate <= 1
                },
            }
            for phase in plan.phases
        ],
    }


def _print_plan(document: dict[str, Any]) -> None:
    from podium.cli import output
    from podium.cli.tables import Column, print_table

    plan, planned, needed = document["plan"], document["requests_planned"], document["requests_needed"]
    enough = f"{planned:,} {'≥' if document['enough'] else '<'} {needed:,} needed"
    output.print_lines(
        [
            f"Requests planned: {enough} to show of {plan['power']:.0%} of equal challengers that they are within",
            f"the margin (error rate {document['error_rate']:g}, margin {plan['margin']:g}, alpha {plan['alpha']:g}).",
            "",
        ]
    )
    print_table(
        [
            Column("to the challenger", right=True),
            Column("requests", right=True),
            *(Column(f"{risk:g} × the errors: noticed", right=True) for risk in _RELATIVE_RISKS),
        ],
        [
            (
                f"{phase['weight_percent']:g} %",
                f"{phase['requests']:,}",
                *(_after(phase["expected_requests_to_roll_back"].get(f"{risk:g}")) for risk in _RELATIVE_RISKS),
            )
            for phase in document["phases"]
        ],
    )


def _after(requests: int | None) -> str:
    return "–" if requests is None else f"after ~{requests:,}"


def _print_canary(document: dict[str, Any]) -> None:
    from podium.cli import output
    from podium.cli.tables import Column, print_reasons, print_table

    print_reasons(
        [
            ("canary", [f"{document['canary_id']} of {document['model']}"]),
            ("run", [document["run_id"]]),
            ("challenger", [f"version {document['challenger']}"]),
            ("champion", [f"version {document['champion']}"]),
            ("state", [document["state"]]),
            ("requests", [f"{document['position']:,} of {document['horizon']:,}, in {document['looks']:,} looks"]),
            ("why", document["reasons"]),
            *([("awaits", [f"podium approve {document['promotion_id']}"])] if document["awaits_approval"] else []),
        ]
    )
    output.print_lines([""])
    exposures, errors = document["exposures"], document["errors"]
    print_table(
        [Column("variant"), Column("exposures", right=True), Column("errors", right=True)],
        [(variant, f"{exposures[variant]:,}", f"{errors[variant]:,}") for variant in ("challenger", "champion")],
    )
    if not document["evidence"]:
        return
    output.print_lines([""])
    print_table(
        [
            Column("guardrail"),
            Column("e-value", right=True),
            Column("acts at", right=True),
            Column("estimate", right=True),
            Column("from", right=True),
            Column("to", right=True),
        ],
        [
            (
                each["guardrail"],
                output.measured(each["e_value"]),
                output.measured(each["threshold"]),
                *(output.measured(each[name]) for name in ("estimate", "low", "high")),
            )
            for each in document["evidence"]
        ],
    )
