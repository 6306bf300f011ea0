"""`podium promote`, `rollback`, `approve`, `reject` and `promotions`: who is to serve, and who agreed to it."""

from typing import Annotated, Any

import typer

from podium.cli.options import Json, Reason

app = typer.Typer(
    help="Promotions: what was asked for, and who signed it off.\n\nExample: podium promotions list",
    no_args_is_help=True,
)

_STATES = "awaiting_approval, applying, applied, refused, void"
_BOUND = ("digest", "model_digest", "evidence_digest", "policy_digest", "expected_champion")

Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]
PromotionId = Annotated[
    str, typer.Argument(metavar="PROMOTION", help="The promotion's identifier, or a part that no other has.")
]
Expected = Annotated[
    str | None,
    typer.Option(metavar="VERSION", help="Refuse unless this version is champion ('none': unless there is none)."),
]


def promote(
    model: Model,
    reason: Reason,
    version: Annotated[
        str | None, typer.Option(help="The version; without one, the newest that is not champion.")
    ] = None,
    expect_champion: Expected = None,
    *,
    as_json: Json = False,
) -> None:
    """Make a version champion, through the gate.

    Its evidence must have passed, measured against the present champion. Where people have to approve it, nothing
    moves before they have: it exits 3 and says what is missing.

    Example: podium promote flight_delay --version 3 --expect-champion 2 --reason "approved in review"
    """
    from podium import ids
    from podium.registry import records, store
    from podium.registry.promotion import ANY
    from podium.wiring.project import open_project

    project = open_project()
    if version is None:
        from podium.registry.entities import CHAMPION

        with project.database.read() as connection:
            records.require_model(connection, model)
        champion = project.registry.alias(model, CHAMPION)
        with project.database.read() as connection:
            version = store.newest_version(connection, model, besides=champion)
        if version is None:
            from podium.errors import NotFound

            raise NotFound(
                f"{model} has no version to promote besides its champion; `podium models show {model}` lists them."
            )
    promotion = project.promotions.promote(
        model,
        version,
        expect_champion=ANY if expect_champion is None else _expected(expect_champion),
        idempotency_key=f"person:{ids.new_id(project.clock.now())}",
        **said_by(project, reason),
    )
    _report(project, promotion, as_json=as_json)


def rollback(
    model: Model,
    reason: Reason,
    to: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="An earlier champion; without one, the last before this."),
    ] = None,
    expect_champion: Expected = None,
    *,
    as_json: Json = False,
) -> None:
    """Make an earlier champion champion again.

    That it is there, unchanged, and loads is checked first. The version rolled back from is blocked until
    `podium models unblock` lifts that. Nobody has to approve it; a promotion that awaits approval is void by it.

    Example: podium rollback flight_delay --reason "false alarms since Monday"
    """
    from podium import ids
    from podium.cli import output
    from podium.registry import records, store
    from podium.registry.promotion import ANY
    from podium.wiring.project import open_project

    project = open_project()
    with project.database.read() as connection:
        records.require_model(connection, model)
        waiting = store.newest_promotions(connection, model, "awaiting_approval", 1)
    promotion = project.promotions.rollback(
        model,
        to=to,
        expect_champion=ANY if expect_champion is None else _expected(expect_champion),
        idempotency_key=f"person:{ids.new_id(project.clock.now())}",
        **said_by(project, reason),
    )
    _report(project, promotion, as_json=as_json)
    if as_json:
        return
    if promotion.from_version is not None:
        unblock = f"`podium models unblock {model} --version {promotion.from_version} --reason TEXT`"
        output.note(f"Version {promotion.from_version} is blocked until {unblock} lifts that.")
    for each in waiting:
        output.note(
            f"Promotion {each.promotion_id} to version {each.to_version}, which awaited approval, is void by it."
        )


def approve(promotion_id: PromotionId, reason: Reason, *, as_json: Json = False) -> None:
    """Approve a promotion; the last approval moves the champion.

    Exits 3 where you have no say in it, or it is void because it expired or something has changed since.

    Example: podium approve 01m80ft073mp682h1q --reason "the night flights look right"
    """
    from podium.wiring.project import open_project

    project = open_project()
    promotion = project.promotions.approve(promotion_id, **said_by(project, reason))
    _report(project, promotion, as_json=as_json, approved=True)


def reject(promotion_id: PromotionId, reason: Reason, *, as_json: Json = False) -> None:
    """Reject a promotion; one rejection ends it.

    Example: podium reject 01m80ft073mp682h1q --reason "worse at JFK"
    """
    from podium.cli import output
    from podium.wiring.project import open_project

    project = open_project()
    promotion = project.promotions.reject(promotion_id, **said_by(project, reason))
    if as_json:
        output.print_json(_document(project, promotion))
    else:
        outcome = f"{promotion.model}: version {promotion.to_version} does not become champion."
        output.print_lines([" ".join([outcome, *promotion.reasons])])


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only this model's.")] = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help=f"Only in this state: {_STATES}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    *,
    as_json: Json = False,
) -> None:
    """List promotions and rollbacks, the newest first.

    Example: podium promotions list --state awaiting_approval
    """
    from podium.cli import output
    from podium.cli.tables import Column, print_table
    from podium.registry import promotion_documents
    from podium.wiring.project import open_project

    _check(state)
    project = open_project()
    with project.database.read() as connection:
        documents = promotion_documents.listed(connection, model, state, limit)
    if as_json:
        output.print_json(documents)
        return
    if not documents:
        which = f"{f' of {model}' if model else ''}{f' that are {state}' if state else ''}"
        output.note(f"No promotions{which}.")
        return
    print_table(
        [
            Column("promotion"),
            Column("asked at", spare=True),
            Column("model"),
            Column("action", spare=True),
            Column("from"),
            Column("to"),
            Column("state"),
            Column("approvals", right=True),
            Column("until", spare=True),
            Column("by", wraps=True),
        ],
        [
            (
                document["promotion_id"],
                output.when(document["proposed_at"]),
                output.safe(document["model"]),
                document["action"],
                output.safe(document["from_version"]),
                output.safe(document["to_version"]),
                output.state(document["state"]),
                _counted(document) if document["approvals_required"] else "–",
                output.when(document["expires_at"] if document["state"] == "awaiting_approval" else None),
                output.safe(document["actor"]),
            )
            for document in documents
        ],
    )


@app.command()
def show(promotion_id: PromotionId, *, as_json: Json = False) -> None:
    """Show one: who approved it, who is missing, until when.

    And what the approvals are bound to: where any of that changes, the promotion is void.

    Example: podium promotions show 01m80ft073mp682h1q
    """
    from podium.cli import output
    from podium.registry import promotion_documents
    from podium.wiring.project import open_project

    project = open_project()
    document = promotion_documents.show(
        project.database,
        promotion_id,
        approval_rule=project.approval_rule,
        doubt=lambda promotion: project.promotions.doubt(promotion),  # opens the registry, which one that ended spares
    )
    if as_json:
        output.print_json(document)
    else:
        _print(document)


def said_by(project: Any, reason: str) -> dict[str, Any]:
    """Return who works here and why, as the promotion service is told."""
    return {"actor": project.actor.name, "actor_verified": project.actor.verified, "reason": reason}


def _report(project: Any, promotion: Any, *, as_json: bool, approved: bool = False) -> None:
    """Print what became of a promotion; exit 3 unless champion moved, or one more has approved it."""
    from podium.cli import output

    if as_json:
        output.print_json(_document(project, promotion))
    elif promotion.awaits_approval:
        print_awaiting(project, promotion)
    else:
        promotion.raise_unless_applied()
        before = promotion.from_version or "none"
        output.print_lines([f"{promotion.model}: champion {before} → {promotion.to_version}"])
    if not promotion.applied and not (approved and promotion.awaits_approval):
        raise typer.Exit(3)


def _document(project: Any, promotion: Any) -> dict[str, Any]:
    from podium.registry import promotion_documents

    with project.database.read() as connection:
        return promotion_documents.of(connection, promotion)


def print_awaiting(project: Any, promotion: Any) -> None:
    """Print for how many approvals a promotion waits, until when, and the command that gives one."""
    from podium.cli import output

    document = _document(project, promotion)
    missing, until = document["missing"], output.when(document["expires_at"])
    awaits = f"awaits {missing} {'approval' if missing == 1 else 'approvals'} until {until}"
    stays = f"champion stays {document['from_version'] or 'none'}"
    output.print_lines(
        [
            f"{document['model']}: version {document['to_version']} {awaits}; {stays}.",
            f"podium approve {document['promotion_id']} --reason …",
        ]
    )
    who = f"By somebody other than {document['actor']}"
    output.note(f"{who}; `podium promotions show {document['promotion_id']}` says by whom.")


def _print(document: dict[str, Any]) -> None:
    from podium.cli import output
    from podium.cli.tables import print_reasons

    binding, awaits = document["binding"], document["state"] == "awaiting_approval"
    before = document["from_version"] or "none"
    asked = f"{_said(document)} at {output.when(document['proposed_at'])}: {document['reason']}"
    print_reasons(
        [
            ("promotion", [f"{document['promotion_id']} ({document['action']})"]),
            ("model", [f"{document['model']}, version {before} → {document['to_version']}"]),
            ("state", [document["state"]]),
            ("why", document["reasons"]),
            ("asked by", [asked]),
            ("run", [document["run_id"]] if document["run_id"] else []),
            ("ended", [output.when(document["ended_at"])] if document["ended_at"] else []),
        ]
    )
    if binding is None:
        return
    approved = _counted(document)
    may = ", ".join(document["may_approve"]) if document["may_approve"] else f"anybody but {document['actor']}"
    output.print_lines([""])
    print_reasons(
        [
            ("approvals", [f"{approved}, until {output.when(document['expires_at'])}" if awaits else approved]),
            *(
                (
                    {"approve": "approved", "reject": "rejected"}[each["decision"]],
                    [f"{_said(each)} at {output.when(each['at'])}: {each['reason']}"],
                )
                for each in document["approvals"]
            ),
            ("may approve", [may] if awaits else []),
            ("bound to", [f"{name.replace('_', ' ')} {binding[name] or '–'}" for name in _BOUND]),
            ("still so", [_still_so(binding)] if awaits else []),
        ]
    )
    if awaits and binding["still_holds"] is not False:
        output.note(f"\npodium approve {document['promotion_id']} --reason …   # or `reject`")


def _still_so(binding: dict[str, Any]) -> str:
    if binding["still_holds"] is None:
        return f"cannot be told: {binding['objection']}"
    return "yes" if binding["still_holds"] else f"no, the next decision makes it void: {binding['objection']}"


def _counted(document: dict[str, Any]) -> str:
    return f"{document['approved']} of {document['approvals_required']}"


def _said(word: dict[str, Any]) -> str:
    return f"{word['actor']}{'' if word['actor_verified'] else ' (nobody verified that)'}"


def _check(state: str | None) -> None:
    from podium.db.schema.registry import PROMOTION_STATES
    from podium.errors import UsageError

    if state is not None and state not in PROMOTION_STATES:
        raise UsageError(f"--state {state!r} is no state of a promotion; they are {_STATES}.")


def _expected(text: str) -> str | None:
    return None if text == "none" else text
