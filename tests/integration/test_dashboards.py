"""Every panel of every dashboard, asked of a real Prometheus that holds a history whose every fact is known."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from matplotlib.text import Text

from dashboards.build import DASHBOARDS, FOLDER
from dashboards.definition.costs import COSTS
from dashboards.definition.operations import OPERATIONS
from dashboards.definition.panels import Dashboard, Panel
from dashboards.evaluation import Prometheus, View
from dashboards.plot import picture
from dashboards.plot import shown as as_text
from podium.db.schema import attempt, canary, ledger_entry, promotion_history, run, step_run
from podium.execution.attempt_rollup import BOUNDS
from podium.finops.costs import version_cost
from tests.known_history import History, known_history
from tests.prometheus_process import prometheus_on
from tests.scraped_platform import next_scrape

RULES = FOLDER.parent / "prometheus"
PANELS = [(board, panel) for board in DASHBOARDS for panel in board.panels]
OWNERS = ("team", "model", "environment")
Amounts = dict[tuple[str, ...], Decimal]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with known_history(tmp_path_factory.mktemp("history")) as known:
        yield known


@pytest.fixture(scope="module")
def prometheus(history: History, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus_on(history.openmetrics, tmp_path_factory.mktemp("prometheus")) as url:
        yield Prometheus(url)


def panel(board: Dashboard, title: str) -> Panel:
    (found,) = [each for each in board.panels if each.title == title]
    return found


def shown(prometheus: Prometheus, board: Dashboard, title: str, page: View) -> dict[str, float]:
    """The values of a panel by the names in its legend."""
    return {series.name: series.value for series in prometheus.answer(panel(board, title), page)}


# What SQL says, of the ledger's entries themselves: not of the rollups that the exporter reads.


def spent(history: History, page: View, *by: str, kind: str = "charge", **only: str) -> Amounts:
    """What was posted within the page's range, by these columns: charges, or credits as positive amounts."""
    query = sa.select(ledger_entry).where(
        ledger_entry.c.posted_at > page.start,
        ledger_entry.c.posted_at <= page.end,
        ledger_entry.c.amount.is_not(None),
        (ledger_entry.c.kind == "reversal") == (kind == "credit"),
        *(ledger_entry.c[name] == value for name, value in only.items()),
    )
    sums: Amounts = {}
    with history.database.read() as connection:
        for row in connection.execute(query).mappings():
            key = tuple(row[name] for name in by)
            sums[key] = sums.get(key, Decimal(0)) + (row["amount"] if kind == "charge" else -row["amount"])
    return sums


def run_costs(history: History, page: View, *by: str) -> dict[tuple[str, ...], list[Decimal]]:
    """What each run that ended within the range cost, by columns of the run; those of unknown cost are left out."""
    outcome = sa.func.coalesce(run.c.outcome, run.c.state).label("outcome")
    query = sa.select(run.c.run_id, run.c.model, outcome).where(run.c.ended_at > page.start, run.c.ended_at <= page.end)
    costs: dict[tuple[str, ...], list[Decimal]] = {}
    with history.database.read() as connection:
        for row in connection.execute(query).mappings().all():
            of_run = ledger_entry.c.run_id == row["run_id"]
            charges = sa.select(ledger_entry.c.amount).where(of_run, ledger_entry.c.kind != "reversal")
            amounts = connection.scalars(charges).all()
            if None not in amounts:
                whole = sum((amount for amount in amounts if amount is not None), Decimal(0))
                costs.setdefault(tuple(row[name] for name in by), []).append(whole)
    return costs


def named(amounts: Mapping[tuple[str, ...], Decimal]) -> dict[str, Any]:
    """Amounts by the name that a legend gives them, as numbers that may differ by 1e-9 of themselves."""
    return {" ".join(key): pytest.approx(float(amount), rel=1e-9) for key, amount in amounts.items()}


def without_zeros(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value}


def ranges(history: History) -> dict[str, View]:
    """The ranges that a reader may choose, and what is special about their start."""
    page = history.page
    return {
        "it was scraped": replace(page, start=history.begin + timedelta(days=2)),
        "a team came later": replace(page, start=history.before_second_team),
        # Between two scrapes: the second is the team's first, and has costs already.
        "a team came with the next scrape": replace(page, start=history.second_team - timedelta(minutes=10)),
        "nothing was scraped yet": page,
        "a past range": replace(page, start=history.begin + timedelta(days=1), end=history.before_second_team),
    }


START = pytest.mark.parametrize(
    "start",
    [
        "it was scraped",
        "a team came later",
        "a team came with the next scrape",
        "nothing was scraped yet",
        "a past range",
    ],
)
EACH_PANEL = pytest.mark.parametrize(
    ("board", "asked"), PANELS, ids=[f"{board.uid}: {each.title}" for board, each in PANELS]
)


@START
@pytest.mark.parametrize("by", [*OWNERS, "resource"])
def test_what_was_spent_is_what_the_ledger_says(prometheus: Prometheus, history: History, start: str, by: str) -> None:
    page = ranges(history)[start]
    expected = named(spent(history, page, by))
    assert expected
    assert without_zeros(shown(prometheus, COSTS, f"Spent by {by}", page)) == expected


@START
def test_totals_are_what_the_ledger_says(prometheus: Prometheus, history: History, start: str) -> None:
    page = ranges(history)[start]
    charged = spent(history, page).get((), Decimal(0))
    credited = spent(history, page, kind="credit").get((), Decimal(0))
    nobody = spent(history, page, team="__unattributed__").get((), Decimal(0))
    for title, expected in (
        ("Spent in this range", charged),
        ("Credits", credited),
        ("Spent, net of credits", charged - credited),
        ("Spent by nobody", nobody),
    ):
        (value,) = shown(prometheus, COSTS, title, page).values()
        assert value == pytest.approx(float(expected), rel=1e-9), title


def test_today_begins_at_midnight_utc_whatever_the_range(prometheus: Prometheus, history: History) -> None:
    today = replace(history.page, start=history.end.replace(hour=0, minute=0))
    expected = spent(history, today)[()]
    assert shown(prometheus, COSTS, "Spent today", history.page) == {"today": pytest.approx(float(expected), rel=1e-9)}
    assert expected < spent(history, history.page)[()]


def test_the_columns_add_up_to_the_range(prometheus: Prometheus, history: History) -> None:
    page = replace(history.page, start=history.begin + timedelta(days=1))
    columns = prometheus.answer(panel(COSTS, "Spent over time, by team"), page)
    added = {series.name: math.fsum(value for _, value in series.points) for series in columns}
    assert without_zeros(added) == named(spent(history, page, "team"))
    assert all(value >= 0 for series in columns for _, value in series.points)


def test_what_was_posted_while_nobody_looked_counts_where_it_was_first_seen(
    prometheus: Prometheus, history: History
) -> None:
    gap, last_seen = history.unreachable, history.unreachable.replace(hour=6)
    before, after = replace(history.page, end=gap), replace(history.page, start=gap)
    assert shown(prometheus, COSTS, "Spent in this range", before) == {}, "unknown, not 0"
    (value,) = shown(prometheus, COSTS, "Spent in this range", after).values()
    seen = spent(history, replace(after, start=last_seen))[()]
    assert seen > spent(history, after)[()], "the history must have posted something in the gap"
    assert value == pytest.approx(float(seen), rel=1e-9)


def test_the_total_of_each_model_is_its_ledger(prometheus: Prometheus, history: History) -> None:
    assert shown(prometheus, COSTS, "Spent in all, by model", history.page) == named(
        spent(history, history.page, "model")
    )


def test_a_chosen_team_is_all_that_counts(prometheus: Prometheus, history: History) -> None:
    page = replace(history.page, chosen={"team": "(ground-ops|nobody)"})
    expected = spent(history, page, team="ground-ops")[()]
    assert shown(prometheus, COSTS, "Spent in this range", page) == {"": pytest.approx(float(expected), rel=1e-9)}


@START
def test_run_costs_are_those_of_the_runs_entries(prometheus: Prometheus, history: History, start: str) -> None:
    page = ranges(history)[start]
    by_outcome = {key: sum(costs, Decimal(0)) for key, costs in run_costs(history, page, "outcome").items()}
    whole = sum(by_outcome.values())
    assert whole
    found = without_zeros(shown(prometheus, COSTS, "Spent on runs, by what came of them", page))
    assert found == {name: value for name, value in named(by_outcome).items() if by_outcome[name,]}
    rejected = shown(prometheus, COSTS, "Spent on candidates that were rejected", page)
    assert rejected == {"rejected": pytest.approx(float(by_outcome.get(("rejected",), 0)), rel=1e-9)}
    lost = 1 - by_outcome.get(("promoted",), Decimal(0)) / whole
    share = shown(prometheus, COSTS, "Share of run cost without a promotion", page)
    assert share == {"not promoted": pytest.approx(float(lost), rel=1e-9)}
    by_model = run_costs(history, page, "model").items()
    means = {key: sum(costs, Decimal(0)) / len(costs) for key, costs in by_model}
    assert shown(prometheus, COSTS, "Mean cost of a run, by model", page) == named(means)


def test_live_versions_cost_what_their_attempts_cost(prometheus: Prometheus, history: History) -> None:
    live: list[tuple[str, ...]] = [("arrival_delay", "1"), ("flight_delay", "1")]
    live.append(("arrival_delay", "2"))  # no champion, but on trial
    with history.database.read() as connection:
        costs = {key: version_cost(connection, key[0], key[1]).total.complete for key in live}
    known = {key: cost for key, cost in costs.items() if cost is not None}
    assert shown(prometheus, COSTS, "What the live versions cost to make", history.page) == named(known)


def test_the_soundness_of_the_ledger_is_told(prometheus: Prometheus, history: History) -> None:
    with history.database.read() as connection:
        newest = connection.scalar(
            sa.select(sa.func.max(ledger_entry.c.posted_at, type_=ledger_entry.c.posted_at.type))
        )
        unpriced = connection.scalar(
            sa.select(sa.func.count()).where(ledger_entry.c.amount.is_(None), ledger_entry.c.kind != "reversal")
        )
    page = history.page
    assert shown(prometheus, COSTS, "Reconciliation: largest difference", page) == {"difference": 0}
    assert shown(prometheus, COSTS, "Last reconciled", page) == {"ago": 0}
    age = (history.end - newest).total_seconds()
    assert shown(prometheus, COSTS, "Newest ledger entry", page) == {"ago": pytest.approx(age)}
    assert unpriced
    assert shown(prometheus, COSTS, "Entries in no amount above", page) == {"without a price": unpriced}
    assert shown(prometheus, COSTS, "Ended runs of unknown cost", page) == {"runs": 1}
    covered = shown(prometheus, COSTS, "Share of the range that was scraped", ranges(history)["it was scraped"])
    assert covered == {"scraped": pytest.approx(1 - 2 / 100, abs=0.01)}  # of about 100 hours


@START
def test_runs_are_counted_as_they_ended(prometheus: Prometheus, history: History, start: str) -> None:
    page = ranges(history)[start]
    with history.database.read() as connection:
        ended = connection.execute(sa.select(run).where(run.c.ended_at > page.start, run.c.ended_at <= page.end)).all()
    outcomes: dict[str, int] = {}
    seconds: dict[str, list[float]] = {}
    whole: dict[str, list[bool]] = {}
    for row in ended:
        outcomes[row.outcome or row.state] = outcomes.get(row.outcome or row.state, 0) + 1
        took = (row.ended_at - row.started_at).total_seconds() if row.started_at else 0.0
        seconds.setdefault(row.pipeline, []).append(took)
        whole.setdefault(row.pipeline, []).append(row.state == "succeeded")
    assert without_zeros(shown(prometheus, OPERATIONS, "Runs that ended in this range", page)) == outcomes
    shares = {name: pytest.approx(sum(each) / len(each)) for name, each in whole.items()}
    assert shown(prometheus, OPERATIONS, "Share of runs that succeeded", page) == shares
    means = {name: pytest.approx(sum(each) / len(each)) for name, each in seconds.items()}
    assert shown(prometheus, OPERATIONS, "Mean duration of a run", page) == means


@START
def test_attempts_are_counted_as_they_ended(prometheus: Prometheus, history: History, start: str) -> None:
    page = ranges(history)[start]
    query = sa.select(attempt, run.c.pipeline).join(step_run, step_run.c.step_run_id == attempt.c.step_run_id)
    query = query.join(run).where(attempt.c.ended_at > page.start, attempt.c.ended_at <= page.end)
    states: dict[str, int] = {}
    waited: dict[str, list[float]] = {}
    with history.database.read() as connection:
        for row in connection.execute(query):
            states[row.state] = states.get(row.state, 0) + 1
            waited.setdefault(row.pipeline, []).append(row.waited_seconds)
    assert without_zeros(shown(prometheus, OPERATIONS, "Attempts that ended in this range", page)) == states
    means = {name: pytest.approx(sum(each) / len(each)) for name, each in waited.items()}
    assert shown(prometheus, OPERATIONS, "Mean wait for a worker", page) == means
    slowest = shown(prometheus, OPERATIONS, "95 % of claims came within", page)
    assert slowest.keys() == waited.keys()
    for pipeline, seconds in waited.items():
        enough = 0.95 * len(seconds)
        last = next((bound for bound in BOUNDS if sum(each <= bound for each in seconds) >= enough), BOUNDS[-1])
        before = max((bound for bound in BOUNDS if bound < last), default=0.0)
        assert before <= slowest[pipeline] <= last


OPERATION_VALUES: dict[str, dict[str, float]] = {
    "Podium's server": {"server": 1},
    "Open runs": {"queued": 1, "running": 1},
    "Open step runs": {"held": 0, "ready": 1, "running": 1, "waiting": 2},
    "Failed collectors": {"failures": 1},
    "Workers": {"workers": 1},
    "Slots that are busy": {"elsewhere": 0.25},
    "The gate's verdicts": {"passed": 5, "failed": 2, "insufficient": 1},
    "Promotions and rollbacks": {"promote": 3, "rollback": 1, "refused or void": 0},
    "Champions": {"arrival_delay 1": 1, "flight_delay 1": 1},
    "Open canaries, by phase": {"pending": 0, "shadowing": 0, "ramping": 1},
    "Schedulers": {"schedulers": 1},
    "Schedules, by state": {"active": 1, "paused": 1},
    "Overdue schedules": {"flight_delay": 36_000},
    "Triggers, by state": {"waits": 1, "fires": 0, "unknown": 0, "blocked": 0},
    "Deliveries of alerts": {"pending": 2, "sent": 0, "withheld": 0, "given_up": 0},
    "Canaries that ended, by verdict": {"promoted": 1, "rolled_back": 1, "inconclusive": 0, "aborted": 0, "invalid": 0},
}


@pytest.mark.parametrize("title", OPERATION_VALUES)
def test_operation_is_told_as_it_was(prometheus: Prometheus, history: History, title: str) -> None:
    assert shown(prometheus, OPERATIONS, title, history.page) == OPERATION_VALUES[title]


def test_nothing_waits_for_a_worker_is_0_and_nobody_knows_is_not(prometheus: Prometheus, history: History) -> None:
    calm = replace(history.page, end=history.begin + timedelta(days=1, hours=12))
    assert shown(prometheus, OPERATIONS, "Open step runs", calm)["ready"] == 0
    assert shown(prometheus, OPERATIONS, "Longest wait for a worker", calm) == {"waiting": 0}
    unreachable = replace(history.page, end=history.unreachable)
    for title in ("Longest wait for a worker", "Open runs", "Open step runs", "Open canaries, by phase"):
        assert shown(prometheus, OPERATIONS, title, unreachable) == {}
        assert panel(OPERATIONS, title).none == "no data"
    (waiting,) = shown(prometheus, OPERATIONS, "Longest wait for a worker", history.page).values()
    assert waiting > 900


def test_canaries_show_their_counts_and_their_evidence(prometheus: Prometheus, history: History) -> None:
    page = history.page
    requests = shown(prometheus, OPERATIONS, "Requests to each variant", page)
    with history.database.read() as connection:
        positions = sum(connection.scalars(sa.select(canary.c.position)))
    assert sum(requests.values()) == positions
    rates = shown(prometheus, OPERATIONS, "Error rate of each variant", page)
    assert rates["flight_delay challenger"] > rates["flight_delay champion"] > 0.04
    evidence = shown(prometheus, OPERATIONS, panel_of_evidence().title, page)
    assert evidence["flight_delay error_rate"] >= evidence["acts"] == 1, "the last canary of the model was rolled back"
    assert evidence["arrival_delay error_rate"] < 1, "and this one goes on"


def panel_of_evidence() -> Panel:
    return next(each for each in OPERATIONS.panels if each.logarithmic)


@EACH_PANEL
def test_every_panel_answers_every_query(
    prometheus: Prometheus, history: History, board: Dashboard, asked: Panel
) -> None:
    for query in asked.queries:
        answer = prometheus.answer(replace(asked, queries=(query,)), history.page)
        if "podium_ledger_entries_in_other_currencies" in query.expr:
            assert answer == [], "the history knows dollars only"
            continue
        assert answer
        assert all(math.isfinite(value) for series in answer for _, value in series.points)
        assert "{" not in query.legend or all(series.name.strip() for series in answer)


@EACH_PANEL
def test_a_panel_knows_nothing_where_nobody_looked(
    prometheus: Prometheus, history: History, board: Dashboard, asked: Panel
) -> None:
    nobody_looked = View(history.begin - timedelta(days=9), history.begin - timedelta(days=8))
    known = [series for series in prometheus.answer(asked, nobody_looked) if series.name != "acts"]
    assert known == []


def test_recording_rules_agree_with_the_ledger(prometheus: Prometheus, history: History) -> None:
    rules = yaml.safe_load((RULES / "rules" / "recording.yml").read_text())
    recorded = {rule["record"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}

    def told(name: str, at: datetime, label: str) -> dict[str, float]:
        found = {series.labels[label]: series.value for series in prometheus.ask(recorded[name], at)}
        return without_zeros(found)

    day = replace(history.page, start=history.end - timedelta(days=1))
    assert told("team:podium_cost_usd:gain1d", history.end, "team") == named(spent(history, day, "team"))
    with history.database.read() as connection:
        broke = connection.scalars(sa.select(run.c.ended_at).where(run.c.state == "failed")).one()
        lost = connection.scalars(sa.select(attempt.c.ended_at).where(attempt.c.state == "lost")).one()
        ended = connection.scalars(sa.select(canary.c.ended_at).where(canary.c.state == "rolled_back")).one()
        returned = connection.scalars(
            sa.select(promotion_history.c.at).where(
                promotion_history.c.action == "rollback", promotion_history.c.state == "applied"
            )
        ).one()
    assert broke is not None
    assert ended is not None
    assert told("pipeline:podium_runs_failed:gain1h", next_scrape(broke), "pipeline") == {"flight_delay": 1}
    assert lost is not None
    assert told("pipeline:podium_attempts_lost:gain1h", next_scrape(lost), "pipeline") == {"arrival_delay": 1}
    assert told("model_verdict:podium_canaries_ended:gain1h", next_scrape(ended), "verdict") == {"rolled_back": 1}
    assert told("model:podium_rollbacks_applied:gain1h", next_scrape(returned), "model") == {"flight_delay": 1}
    assert set(recorded) == {
        "team:podium_cost_usd:gain1d",
        "pipeline:podium_runs_failed:gain1h",
        "pipeline:podium_attempts_lost:gain1h",
        "model_verdict:podium_canaries_ended:gain1h",
        "model:podium_rollbacks_applied:gain1h",
    }, "a new rule is checked here"


def test_every_alert_is_asked_of_prometheus(prometheus: Prometheus, history: History) -> None:
    rules = yaml.safe_load((RULES / "rules" / "alerts.yml").read_text())
    holds = {
        rule["alert"]
        for group in rules["groups"]
        for rule in group["rules"]
        if prometheus.ask(rule["expr"], history.end)
    }
    # At the end of the history a step waits, a tick was due at 6:00, and entries lack their price. A run has been
    # running for hours without an entry, which is a ticket after six of them; the rest is calm.
    assert holds == {"PodiumStepWaiting", "PodiumScheduleOverdue", "PodiumUnpricedEntries", "PodiumLedgerStale"}


def test_the_pictures_are_drawn(prometheus: Prometheus, history: History, tmp_path: Path) -> None:
    for board in DASHBOARDS:
        figure = picture(board, prometheus, history.page)
        figure.savefig(tmp_path / f"{board.uid}.png", dpi=80)
        said = " ".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
        for each in board.panels:
            assert each.title in said
            for series in prometheus.answer(each, history.page):
                number = dict(each.words).get(series.value) or as_text(series.value, each.unit)
                assert each.over_time or each.show_name or number in said
