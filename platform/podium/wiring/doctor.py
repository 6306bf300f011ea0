"""What the doctor of a project looks at, over all its parts; it repairs nothing."""

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from podium.canary import store as canaries
from podium.errors import ConfigurationError, NotFound
from podium.execution import queries
from podium.finops.book import load_book
from podium.finops.prices import check_priced
from podium.finops.reconciliation import reconcile
from podium.finops.usage import resources_of
from podium.registry import watching
from podium.registry.doctor import CanaryFacts, Finding, examine
from podium.registry.entities import ModelVersion
from podium.registry.examination import Examiner
from podium.scheduling.presence import is_any_alive
from podium.wiring import gates
from podium.wiring.checks import violations
from podium.wiring.guard import missing_store
from podium.wiring.model_scan import trust_of
from podium.wiring.plans import load_plans
from podium.wiring.project import Project

Say = Callable[[str], None]


def project_findings(project: Project, say: Say) -> Iterator[Finding]:
    """Yield what is wrong with a project: its database, prices, pipelines, schedules, gates and models, in this order.

    A database that cannot be used is the only finding: everything else is read from it.
    """
    say("database")
    try:
        project.database  # noqa: B018 - to open it and compare its schema is what is wanted
    except ConfigurationError as error:
        shown = f"database {project.unchecked_database.shown}"
        yield Finding("database", None, shown, str(error).rstrip("."), "`podium db check` looks again.")
        return
    for broken in violations(project):
        if broken.severity == "broken":
            yield Finding("database", None, broken.object, broken.fact, broken.repair)
    say("prices and books")
    yield from _books(project)
    say("pipelines, schedules and gates")
    yield from _pipelines(project)
    for file, problem in gates.unusable(project.settings):
        repair = "Until then no run of its models starts, and none of them becomes champion."
        yield Finding("gates", None, file, problem.rstrip("."), repair)
    yield from model_findings(project, None, every=False, say=say)


def model_findings(project: Project, model: str | None, *, every: bool, say: Say) -> Iterator[Finding]:
    """Yield what is wrong with a model, or with each that Podium has anything of; `every` looks at all its versions.

    Raises NotFound for a model that Podium has nothing of.
    """
    with project.database.read() as connection:
        known = list(watching.records(connection))
    if model is not None and model not in known:
        there_are = f"the models are {', '.join(known)}" if known else "no version of any model was registered yet"
        raise NotFound(f"There is no model {model!r} on Podium's record; {there_are}.")
    if not known:
        return  # nor does MLflow have anything that is Podium's
    unanswered = missing_store(project.settings)
    told = False
    for name in known if model is None else [model]:
        facts = _examiner(project, say).gather(name, every=every, unanswered=unanswered)
        if facts.unanswered is not None and not told:
            unanswered, told = facts.unanswered, True
            yield Finding(
                "registry",
                None,
                "MLflow",
                unanswered.rstrip("."),
                "What depends on it was not looked at: `podium models doctor` does once it answers.",
            )
        yield from examine(facts)


def _examiner(project: Project, say: Say) -> Examiner:
    registry = project.registry

    def canary_of(connection: sa.Connection, model: str) -> CanaryFacts | None:
        canary = canaries.open_of(connection, model)
        if canary is None:
            return None
        is_open = queries.is_open(connection, canary.run_id)
        return CanaryFacts(canary.challenger_version, canary.run_id, canary.state != "pending", is_open)

    def loads(source: str, known: ModelVersion | None) -> None:
        if known is None:
            trust_of(project).require(registry.scan(source), source, own_code=False)
        else:
            registry.check_loads(source, digest=known.digest, own_code=known.made_by_run)

    return Examiner(
        project.database,
        registry,
        project.clock,
        project.settings.guard.keep_champions,
        loads=loads,
        canary_of=canary_of,
        say=say,
    )


def _books(project: Project) -> Iterator[Finding]:
    own = project.settings.root / "prices.yaml"
    try:
        load_book(own if own.is_file() else None)
        with project.database.read() as connection:
            books = reconcile(connection)
            if queries.list_runs(connection, limit=1):  # until then no price was taken over
                check_priced(connection, resources_of(0), project.clock.now())
    except ConfigurationError as error:
        repair = "Correct that; the next `podium run` takes it over."
        yield Finding("prices", None, "prices.yaml", str(error).rstrip("."), repair)
        return
    for check in books.checks:
        if not check.ok:
            yield Finding(
                "books",
                None,
                check.name,
                f"{check.left} and {check.right} differ by {check.difference}",
                "Nobody changes the ledger but Podium: `podium db check` names the entries; restore a backup.",
            )


def _pipelines(project: Project) -> Iterator[Finding]:
    loaded = load_plans(project)
    for problem in loaded.problems:
        yield Finding("pipelines", None, problem.file, problem.message.rstrip("."), "`podium pipelines list` loads it.")
    waiting = sorted(plan.pipeline for plan in loaded.plans.values() if plan.schedule or plan.triggers)
    with project.database.read() as connection:
        is_alive = is_any_alive(connection, project.clock.now())
    if waiting and not is_alive:
        yield Finding(
            "schedules",
            None,
            "scheduler",
            f"none is running, so {', '.join(waiting)} will not run by schedule or trigger, and no guard looks",
            "`podium scheduler` or `podium up` starts one.",
        )
