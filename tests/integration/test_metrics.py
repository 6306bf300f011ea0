"""The metrics of a known history: each value equals what is computed from the tables apart from the exporter."""

import subprocess
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium.db.engine import Database
from podium.db.schema import attempt_rollup, cost_rollup, ledger_entry, plan, price, run_rollup, worker
from podium.errors import ServiceUnavailable
from podium.execution import plans
from podium.exporter import scrape as scrape_module
from podium.finops.ledger import Ledger
from tests.execution_world import HandWorker, days, node, plan_of
from tests.metrics_world import DELAY, FARES, NOON, exporter_of, finish, judge, look, move, scrape, step, try_out
from tests.metrics_world import Scraped as Series

NETWORK_OPS = {"team": "network-ops", "model": "flight_delay", "environment": "prod"}
RETRIED = replace(plan_of(node("it", retries=1)), pipeline="retried", model="retried")
REVENUE = {"team": "revenue", "model": "fares", "environment": "staging"}


@pytest.fixture
def world(database: Database, tmp_path: Path) -> HandWorker:
    made = HandWorker(database, tmp_path)
    made.worker("w")
    return made


def store_plans(database: Database) -> None:
    with database.write() as connection:
        for each in (DELAY, FARES):
            plans.store(connection, each, NOON)


def amounts(database: Database, *conditions: sa.ColumnElement[bool]) -> dict[tuple[str, ...], Decimal]:
    """Sums of ledger entries by environment, kind, model, resource and team: no rollup, no SQL sum."""
    columns = ("environment", "kind", "model", "resource", "team", "amount")
    sums: dict[tuple[str, ...], Decimal] = {}
    with database.read() as connection:
        for *key, amount in connection.execute(
            sa.select(*(ledger_entry.c[name] for name in columns)).where(
                ledger_entry.c.amount.is_not(None), *conditions
            )
        ):
            sums[tuple(key)] = sums.get(tuple(key), Decimal(0)) + amount
    return sums


def reverse_one(world: HandWorker, resource: str = "cpu") -> Decimal:
    """Reverse one entry and return its amount."""
    with world.database.write() as connection:
        entry = connection.execute(
            sa.select(ledger_entry)
            .where(ledger_entry.c.resource == resource, ledger_entry.c.kind == "direct")
            .order_by(ledger_entry.c.entry_id)
        ).first()
        assert entry is not None
        assert entry.amount is not None
        Ledger(world.clock).reverse(connection, entry.entry_id, "paid elsewhere")
    return Decimal(entry.amount)


# Costs


def test_the_cost_of_every_owner_and_resource_is_the_ledgers(world: HandWorker) -> None:
    for plan_, day in ((DELAY, 0), (DELAY, 1), (FARES, 0)):
        finish(world, plan_, days(2)[day])
    finish(world, FARES, days(2)[1], last="failed")
    found = scrape(world.database).all("podium_cost_usd_total")
    expected = {key: float(amount) for key, amount in amounts(world.database).items()}
    assert len(expected) == 4
    assert {key: value for key, value in found.items() if value} == expected


def test_a_reversal_is_a_credit_and_no_cost_falls(world: HandWorker) -> None:
    finish(world, DELAY)
    before = scrape(world.database)
    taken_back = reverse_one(world)
    after = scrape(world.database)
    assert after.all("podium_cost_usd_total") == before.all("podium_cost_usd_total")
    credit = {**NETWORK_OPS, "reason": "correction"}
    assert before.value("podium_cost_credits_usd_total", **credit) == 0
    assert after.value("podium_cost_credits_usd_total", **credit) == float(taken_back) > 0


def test_entries_without_a_price_are_counted_and_in_no_cost(world: HandWorker) -> None:
    with world.database.write() as connection:
        known = [row._asdict() for row in connection.execute(sa.select(price))]
        connection.execute(price.delete())
    finish(world, DELAY)
    found = scrape(world.database)
    assert found.value("podium_ledger_unpriced_entries") == 4
    assert set(found.all("podium_cost_usd_total").values()) == {0.0}
    assert found.value("podium_runs_unpriced_total", pipeline="flight_delay") == 1
    assert found.value("podium_run_cost_usd_count", **NETWORK_OPS, outcome="none") == 0
    duration = {"pipeline": "flight_delay", "team": "network-ops", "environment": "prod", "outcome": "none"}
    assert found.value("podium_run_duration_seconds_sum", **duration) == 60
    with world.database.write() as connection:
        connection.execute(price.insert(), known)
        Ledger(world.clock).price_unpriced(connection)
    priced = scrape(world.database)
    assert priced.value("podium_ledger_unpriced_entries") == 0
    assert sum(priced.all("podium_cost_usd_total").values()) > 0
    assert set(priced.all("podium_cost_credits_usd_total").values()) == {0.0}


def test_what_belongs_to_no_team_is_seen(world: HandWorker) -> None:
    assert scrape(world.database).value("podium_cost_unattributed_usd_total", reason="no_team") == 0
    finish(world, DELAY)
    with world.database.write() as connection:
        connection.execute(cost_rollup.update().values(team="__unattributed__"))
    found = scrape(world.database)
    expected = float(sum(amounts(world.database).values()))
    assert found.value("podium_cost_unattributed_usd_total", reason="no_team") == expected > 0


def test_another_currency_is_added_to_no_dollars_but_seen(world: HandWorker) -> None:
    finish(world, DELAY)
    with world.database.write() as connection:
        connection.execute(cost_rollup.update().where(cost_rollup.c.resource == "cpu").values(currency="EUR"))
        connection.execute(run_rollup.update().values(currency="EUR"))
    found = scrape(world.database)
    assert found.value("podium_ledger_entries_in_other_currencies", currency="EUR") == 2
    assert found.value("podium_cost_usd_total", **NETWORK_OPS, kind="direct", resource="cpu") == 0
    assert found.value("podium_cost_usd_total", **NETWORK_OPS, kind="direct", resource="memory") > 0
    assert found.value("podium_run_cost_usd_count", **NETWORK_OPS, outcome="none") == 0


def test_the_newest_posting_is_told_and_that_of_an_empty_ledger_is_absent(world: HandWorker) -> None:
    assert scrape(world.database).all("podium_ledger_last_posting_timestamp_seconds") == {}
    finish(world, DELAY)
    found = scrape(world.database).value("podium_ledger_last_posting_timestamp_seconds")
    assert found == world.clock.now().timestamp()


def test_a_live_version_costs_what_its_attempts_did(world: HandWorker) -> None:
    made = {"1": finish(world, DELAY), "2": finish(world, DELAY, days(2)[1], last="failed")}
    with world.database.write() as connection:
        for version, run in made.items():
            attempts = connection.scalars(
                sa.select(ledger_entry.c.attempt_id).where(ledger_entry.c.run_id == run.run_id)
            ).all()
            Ledger(world.clock).record_lineage(connection, "flight_delay", version, [str(each) for each in attempts])
        move(connection, "flight_delay", "1")
    of_run = {
        version: float(sum(amounts(world.database, ledger_entry.c.run_id == run.run_id).values()))
        for version, run in made.items()
    }
    name = "podium_model_version_cost_usd"
    assert scrape(world.database).all(name) == {("flight_delay", "1"): of_run["1"]}
    with world.database.write() as connection:
        try_out(connection, "flight_delay", 1)
        move(connection, "fares", "7")  # made by no attempt on record: unknown, so absent
    assert scrape(world.database).all(name) == {("flight_delay", each): cost for each, cost in of_run.items()}


# Runs


def test_ended_runs_are_in_the_histogram_of_their_owner_and_outcome(world: HandWorker) -> None:
    for day in days(3):
        finish(world, DELAY, day)
    finish(world, FARES, last="failed")
    found = scrape(world.database)
    total = sum((amount for key, amount in amounts(world.database).items() if "prod" in key), Decimal(0))
    succeeded = {**NETWORK_OPS, "outcome": "none"}
    assert found.value("podium_run_cost_usd_sum", **succeeded) == float(total)
    assert found.value("podium_run_cost_usd_count", **succeeded) == 3
    each = total / 3
    for labels, count in found.all("podium_run_cost_usd_bucket").items():
        if "prod" in labels and "none" in labels:
            assert count == (3 if each <= Decimal(labels[1].replace("+Inf", "Infinity")) else 0), labels
    assert found.value("podium_run_cost_usd_count", **REVENUE, outcome="failed") == 1
    assert found.value("podium_run_cost_usd_count", **REVENUE, outcome="none") == 0


def test_the_duration_and_the_last_end_of_runs_are_told(world: HandWorker) -> None:
    finish(world, DELAY)
    finish(world, DELAY, days(2)[1])
    found = scrape(world.database)
    labels = {"pipeline": "flight_delay", "team": "network-ops", "environment": "prod", "outcome": "none"}
    assert found.value("podium_run_duration_seconds_sum", **labels) == 120
    assert found.value("podium_run_duration_seconds_count", **labels) == 2
    last = found.all("podium_run_last_ended_timestamp_seconds")
    assert last == {("none", "flight_delay"): world.clock.now().timestamp()}


def test_a_run_that_is_resumed_lets_no_counter_fall_and_its_money_is_counted_once(world: HandWorker) -> None:
    started = finish(world, DELAY, last="failed")
    before = scrape(world.database)
    world.service.resume(started.run_id, DELAY, reason="repaired")
    step(world, started)
    after = scrape(world.database)
    for key, value in before.series.items():
        if key[0].endswith(("_total", "_sum", "_count", "_bucket")):
            assert after.series[key] >= value, key
    assert sum(after.all("podium_run_cost_usd_sum").values()) == pytest.approx(
        float(sum(amounts(world.database).values())), rel=1e-15
    )
    assert after.value("podium_run_cost_usd_count", **NETWORK_OPS, outcome="failed") == 1
    assert after.value("podium_run_cost_usd_count", **NETWORK_OPS, outcome="none") == 1


def test_open_work_is_counted_by_state_and_the_oldest_wait_is_told(world: HandWorker) -> None:
    since = world.clock.now()
    first, second, third = (world.start(DELAY, day) for day in days(3))
    world.clock.advance(10)
    world.claim(first)
    found = scrape(world.database)
    assert found.value("podium_runs_open", pipeline="flight_delay", state="running") == 1
    assert found.value("podium_runs_open", pipeline="flight_delay", state="queued") == 2
    steps = {key[1]: count for key, count in found.all("podium_step_runs_open").items()}
    assert steps == {"running": 1, "ready": 2, "waiting": 3, "held": 0}
    oldest = "podium_oldest_ready_step_timestamp_seconds"
    assert found.all(oldest) == {("flight_delay",): since.timestamp()}
    for run in (second, third):
        world.claim(run)
    assert scrape(world.database).all(oldest) == {}


def test_steps_of_runs_that_ended_are_not_open(world: HandWorker) -> None:
    started = world.start(DELAY)
    world.service.cancel(started.run_id, reason="not needed")
    finish(world, DELAY, days(2)[1], last="failed")
    found = scrape(world.database)
    assert set(found.all("podium_step_runs_open").values()) == set(found.all("podium_runs_open").values()) == {0.0}


def test_a_step_whose_back_off_is_over_waits_for_a_worker_since_then(world: HandWorker) -> None:
    started = world.start(RETRIED)
    (claim,) = world.claim(started)
    oldest = "podium_oldest_ready_step_timestamp_seconds"
    world.end(claim, "failed")
    assert scrape(world.database).all(oldest) == {("retried",): world.clock.now().timestamp() + 1}  # ahead
    world.clock.advance(100)
    assert scrape(world.database).all(oldest) == {("retried",): world.clock.now().timestamp() - 99}


# Attempts and workers


def ends(database: Database) -> dict[str, float]:
    """How many attempts of flight_delay ended in each state that some did."""
    found = scrape(database).all("podium_attempts_total")
    return {state: count for (pipeline, state), count in found.items() if pipeline == "flight_delay" and count}


def test_attempts_are_counted_by_state_when_they_end_and_their_run_s_end_changes_nothing(world: HandWorker) -> None:
    started = world.start(DELAY)
    assert ends(world.database) == {}
    (first,) = world.claim(started)
    assert scrape(world.database).value("podium_attempts_running", pipeline="flight_delay") == 1
    world.end(first, "lost")
    step(world, started)
    assert ends(world.database) == {"lost": 1, "succeeded": 1}
    with world.database.read() as connection:
        assert connection.execute(sa.select(attempt_rollup)).all() == []
    step(world, started, "failed")
    assert ends(world.database) == {"lost": 1, "succeeded": 1, "failed": 1}
    with world.database.read() as connection:
        assert sum(connection.scalars(sa.select(attempt_rollup.c.attempts))) == 3
    assert scrape(world.database).value("podium_attempts_running", pipeline="flight_delay") == 0


def test_attempts_of_a_run_that_is_resumed_are_counted_once(world: HandWorker) -> None:
    started = finish(world, DELAY, last="failed")
    finish(world, DELAY, days(2)[1])
    before = ends(world.database)
    world.clock.advance(1)
    world.service.resume(started.run_id, DELAY, reason="repaired")
    assert ends(world.database) == before == {"succeeded": 3, "failed": 1}
    step(world, started)
    assert ends(world.database) == {"succeeded": 4, "failed": 1}
    with world.database.read() as connection:
        assert sum(connection.scalars(sa.select(attempt_rollup.c.attempts))) == 5


def test_the_latency_of_a_claim_counts_from_when_the_step_could_start(world: HandWorker) -> None:
    started = world.start(RETRIED)
    world.clock.advance(5)
    step(world, started, "failed")  # 5 s after it was ready
    world.clock.advance(1 + 70)
    step(world, started)  # 70 s after its back-off of 1 s was over
    found = scrape(world.database)
    name = "podium_claim_latency_seconds"
    assert found.value(f"{name}_sum", pipeline="retried") == 75
    assert found.value(f"{name}_count", pipeline="retried") == 2
    buckets = {le: found.value(f"{name}_bucket", pipeline="retried", le=le) for le in ("1.0", "10.0", "60.0", "600.0")}
    assert buckets == {"1.0": 0, "10.0": 1, "60.0": 1, "600.0": 2}


def test_what_was_made_before_latencies_were_noted_is_in_no_latency(world: HandWorker) -> None:
    started = finish(world, DELAY)
    with world.database.write() as connection:
        connection.execute(attempt_rollup.update().values(waited="unknown", waited_seconds=0))
    found = scrape(world.database)
    assert found.value("podium_claim_latency_seconds_count", pipeline=started.pipeline) == 0
    assert ends(world.database) == {"succeeded": 2}


def test_slots_are_those_of_living_workers_that_take_up_any_run(world: HandWorker) -> None:
    started = world.start(DELAY)
    world.worker("beside")
    world.worker("own")
    with world.database.write() as connection:
        connection.execute(worker.update().values(slots=4))
        connection.execute(worker.update().where(worker.c.worker_id == "own").values(for_any_run=False))
    world.claim(started)

    def told() -> dict[str, dict[tuple[str, ...], float]]:
        found = Series(exporter_of(world.database, world.clock)[0].render().decode())
        return {name: found.all(f"podium_{name}") for name in ("workers", "worker_slots", "worker_slots_busy")}

    host = ("elsewhere",)
    assert told() == {"workers": {host: 2}, "worker_slots": {host: 8}, "worker_slots_busy": {host: 1}}
    world.clock.advance(3600)  # no sign of life
    assert told() == {"workers": {}, "worker_slots": {}, "worker_slots_busy": {}}


# Gate, promotions, canaries


def test_verdicts_and_moves_are_counted_and_the_champion_is_the_last_that_applied(database: Database) -> None:
    store_plans(database)
    with database.write() as connection:
        for number, verdict in enumerate(("passed", "passed", "failed", "insufficient")):
            judge(connection, "flight_delay", number, verdict)
        move(connection, "flight_delay", "1")
        move(connection, "flight_delay", "2", NOON + timedelta(hours=1), from_version="1")
        move(connection, "flight_delay", "1", NOON + timedelta(hours=2), from_version="2", action="rollback")
        move(connection, "flight_delay", "2", NOON + timedelta(hours=2), action="block", state="blocked")
        move(connection, "flight_delay", "3", NOON + timedelta(hours=3), state="refused")
        outside = NOON + timedelta(hours=4)
        move(connection, "flight_delay", "3", outside, from_version="1", action="watch", state="noticed")
    found = scrape(database)
    verdicts = {
        key[1]: count for key, count in found.all("podium_gate_verdicts_total").items() if "flight_delay" in key
    }
    assert verdicts == {"passed": 2, "failed": 1, "insufficient": 1}
    moves = {key: count for key, count in found.all("podium_promotions_total").items() if count}
    assert moves == {
        ("promote", "flight_delay", "applied"): 2,
        ("rollback", "flight_delay", "applied"): 1,
        ("block", "flight_delay", "blocked"): 1,
        ("promote", "flight_delay", "refused"): 1,
        ("watch", "flight_delay", "noticed"): 1,
    }
    assert found.value("podium_foreign_alias_moves_total", model="flight_delay") == 1
    assert found.all("podium_champion_info") == {("flight_delay", "3"): 1}
    since = outside.timestamp()
    assert found.all("podium_champion_since_timestamp_seconds") == {("flight_delay",): since}


def test_canaries_are_counted_and_the_newest_look_is_told(database: Database) -> None:
    store_plans(database)
    ended = {"state": "rolled_back", "ended_at": NOON, "opened_at": NOON - timedelta(days=1)}
    with database.write() as connection:
        old = try_out(connection, "flight_delay", 1, **ended)
        look(connection, old, 300, error_rate=25.0)
        new = try_out(connection, "flight_delay", 2)
        look(connection, new, 50, error_rate=3.0, sample_ratio=1.0)
        look(connection, new, 100, error_rate=1.5, sample_ratio=None)
    found = scrape(database)
    assert found.value("podium_canaries_open", model="flight_delay", phase="ramping") == 1
    assert found.value("podium_canaries_open", model="flight_delay", phase="pending") == 0
    assert found.value("podium_canaries_ended_total", model="flight_delay", verdict="rolled_back") == 1
    challenger = {"model": "flight_delay", "variant": "challenger"}
    assert found.value("podium_canary_exposures_total", **challenger) == 2 * (10 + 50)
    assert found.value("podium_canary_errors_total", **challenger) == 2 * (1 + 3)
    champion = {"model": "flight_delay", "variant": "champion"}
    assert found.value("podium_canary_exposures_total", **champion) == 2 * (90 + 150)
    assert found.value("podium_canary_errors_total", **champion) == 2 * (4 + 6)
    assert found.all("podium_canary_e_value") == {("error_rate", "flight_delay"): 1.5}
    assert set(found.all("podium_canary_threshold").values()) == {20.0}
    assert len(found.all("podium_canary_threshold")) == 2


# All of it


def test_every_counter_is_born_at_zero_for_every_known_owner(database: Database) -> None:
    store_plans(database)
    found = scrape(database)
    for model in ("flight_delay", "fares"):
        of_model = {key: value for key, value in found.series.items() if ("model", model) in key[1]}
        assert set(of_model.values()) == {0.0}
        assert {name for name, _ in of_model} == {
            "podium_cost_usd_total",
            "podium_cost_credits_usd_total",
            "podium_avoided_cost_usd_total",
            "podium_run_cost_usd_bucket",
            "podium_run_cost_usd_sum",
            "podium_run_cost_usd_count",
            "podium_gate_verdicts_total",
            "podium_promotions_total",
            "podium_foreign_alias_moves_total",
            "podium_canaries_open",
            "podium_canaries_ended_total",
            "podium_canary_exposures_total",
            "podium_canary_errors_total",
        }
    assert found.value("podium_runs_unpriced_total", pipeline="fares") == 0
    assert len(found.all("podium_run_duration_seconds_count")) == 2 * 7
    assert len(found.all("podium_attempts_total")) == 2 * 6
    assert set(found.all("podium_attempts_total").values()) == {0.0}
    assert set(found.all("podium_claim_latency_seconds_count").values()) == {0.0}


def test_an_owner_is_the_one_its_newest_plan_names(world: HandWorker) -> None:
    finish(world, DELAY)
    with world.database.write() as connection:
        connection.execute(plan.update().values(stored_at=NOON - timedelta(days=1)))
        plans.store(connection, FARES, NOON)
    moved = scrape(world.database)
    assert moved.value("podium_cost_usd_total", **REVENUE, kind="direct", resource="cpu") == 0
    assert moved.value("podium_cost_usd_total", **NETWORK_OPS, kind="direct", resource="cpu") > 0


def test_no_run_is_a_label(world: HandWorker) -> None:
    started = finish(world, DELAY)
    assert started.run_id not in scrape(world.database).text


def test_the_text_is_clean_for_promtool(world: HandWorker) -> None:
    finish(world, DELAY)
    finish(world, FARES, last="failed")
    world.start(DELAY, days(2)[1])
    with world.database.write() as connection:
        judge(connection, "flight_delay", 1, "passed")
        move(connection, "flight_delay", "1")
        look(connection, try_out(connection, "flight_delay", 1), 50, error_rate=3.0)
    exporter, watch = exporter_of(world.database)
    watch.look()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=exporter.render(), capture_output=True, timeout=60, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_a_collector_that_fails_is_counted_and_the_others_answer(
    world: HandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(world, DELAY)
    exporter, _ = exporter_of(world.database)
    healthy = Series(exporter.render().decode())

    def fail(connection: sa.Connection, _: object) -> Any:
        connection.execute(sa.text("SELECT nothing FROM nowhere"))

    with monkeypatch.context() as patch:
        patch.setitem(scrape_module._COLLECTORS, "costs", fail)
        broken = Series(exporter.render().decode())
    assert broken.value("podium_scrape_errors_total", collector="costs") == 1
    assert broken.all("podium_cost_usd_total") == {}
    assert broken.all("podium_run_cost_usd_bucket") == healthy.all("podium_run_cost_usd_bucket")
    repaired = Series(exporter.render().decode())
    assert repaired.value("podium_scrape_errors_total", collector="costs") == 1
    assert repaired.all("podium_cost_usd_total") == healthy.all("podium_cost_usd_total")


def test_a_scrape_sees_one_state_of_the_database(world: HandWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(world, DELAY)
    exporter, _ = exporter_of(world.database)
    costs = scrape_module._COLLECTORS["costs"]

    def finish_another(*arguments: Any) -> Any:
        finish(world, DELAY, days(2)[1])  # another connection commits between two collectors
        return costs(*arguments)

    monkeypatch.setitem(scrape_module._COLLECTORS, "costs", finish_another)
    found = Series(exporter.render().decode())
    assert found.value("podium_run_cost_usd_count", **NETWORK_OPS, outcome="none") == 1
    assert sum(found.all("podium_run_cost_usd_sum").values()) == pytest.approx(
        sum(found.all("podium_cost_usd_total").values()), rel=1e-15
    )


def test_without_a_database_there_is_no_half_answer(database: Database) -> None:
    def gone() -> Database:
        raise ServiceUnavailable("The database does not answer.")

    exporter, _ = exporter_of(database)
    exporter._database = gone
    with pytest.raises(ServiceUnavailable):
        exporter.render()


# The books


def test_the_last_look_at_the_books_is_told_and_before_it_nothing(world: HandWorker) -> None:
    finish(world, DELAY)
    exporter, watch = exporter_of(world.database, world.clock)
    name = "podium_cost_reconciliation_difference_usd"
    assert Series(exporter.render().decode()).all(name) == {}
    watch.look()
    agreed = Series(exporter.render().decode())
    assert set(agreed.all(name).values()) == {0.0}
    assert agreed.value("podium_cost_reconciliation_timestamp_seconds") == world.clock.now().timestamp()
    with world.database.write() as connection:
        connection.execute(run_rollup.update().values(amount=Decimal(7)))
    watch.look()
    disagreeing = Series(exporter.render().decode())
    expected = 7 - float(sum(amounts(world.database).values()))
    assert disagreeing.value(name, check="counted cost = run rollup amount") == pytest.approx(expected)
