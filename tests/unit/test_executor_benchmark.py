"""What the executor's benchmark compares with is what it says: floors that are durable, copies that are runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.executor.chain import Peers
from benchmarks.executor.figures import Bar
from benchmarks.executor.floors import Chain, FanOut, Message, Processes, Run, Supervisor, Threads, floor
from benchmarks.executor.history import copy_run
from benchmarks.executor.peer_environments import PEERS, VENVS_VARIABLE, PeerFailed, milliseconds_per_step
from podium.clock import FakeClock
from podium.db import migrate
from podium.db.engine import Database
from podium.execution import claims, queries
from podium.wiring.documents import run_document, run_documents
from tests.execution_world import CHAIN, HandWorker


@pytest.mark.parametrize("workers", [Processes, Threads])
def test_a_floor_executes_every_step_and_journals_its_result(
    tmp_path: Path, workers: type[Processes] | type[Threads]
) -> None:
    runs: list[Run] = [Chain(1, 5), FanOut(2, 20), Chain(3, 5)]
    with floor(tmp_path, workers) as supervisor:
        supervisor.record(runs)
        supervisor.execute(runs)
    (path,) = tmp_path.glob("*.db")
    with closing(sqlite3.connect(path)) as journal:
        assert journal.execute("SELECT DISTINCT state FROM run WHERE ended_at IS NOT NULL").fetchall() == [
            ("succeeded",)
        ]
        steps = journal.execute("SELECT run_id, name, result FROM step WHERE state = 'succeeded'").fetchall()
    for run_id in (1, 3):
        assert {name: result for each, name, result in steps if each == run_id} == {
            str(n): str(n + 1) for n in range(5)
        }
    of_fan_out = {name: result for each, name, result in steps if each == 2}
    assert len(of_fan_out) == 22
    assert of_fan_out["collect"] == str(sum(range(1, 21)))


class Witness:
    """A worker that looks into the journal, as another process would, before it executes what it was sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[str] = []
        self._sent: list[tuple[int, Message]] = []

    def send(self, number: int, message: Message) -> None:
        with closing(sqlite3.connect(self.path)) as journal:
            rows = journal.execute("SELECT name, state FROM step ORDER BY CAST(name AS INTEGER)").fetchall()
        self.seen.append(" ".join(f"{name}:{state}" for name, state in rows))
        self._sent.append((number, {"result": message["argument"] + 1}))

    def results(self) -> list[tuple[int, Message]]:
        arrived, self._sent = self._sent, []
        return arrived


def test_a_floor_commits_a_result_together_with_what_starts_next_and_only_then_sends_it(tmp_path: Path) -> None:
    witness = Witness(tmp_path / "journal.db")
    supervisor = Supervisor(witness.path, witness, 1)
    supervisor.record([Chain(1, 3)])
    supervisor.execute([Chain(1, 3)])
    supervisor.close()
    assert witness.seen == ["0:running", "0:succeeded 1:running", "0:succeeded 1:succeeded 2:running"]


@pytest.mark.parametrize(
    ("bar", "is_met", "text"),
    [
        (Bar("a ÷ b", 2.0, 2.0), True, "a ÷ b: 2.00 ≤ 2 allowed"),
        (Bar("a ÷ b", 2.0, 2.1), False, "a ÷ b: 2.10 > 2 allowed"),
        (Bar("a ÷ b", 30.0, 30.0, at_least=True), True, "a ÷ b: 30.00 ≥ 30 demanded"),
        (Bar("a ÷ b", 30.0, 29.5, at_least=True), False, "a ÷ b: 29.50 < 30 demanded"),
        (Bar("a ÷ b", 1.0, None, at_least=True, why_not="not measured: x"), False, "at least 1; not measured: x"),
    ],
)
def test_a_bar_shows_its_inequality_and_is_missed_where_nothing_was_measured(bar: Bar, is_met: bool, text: str) -> None:
    assert bar.is_met is is_met
    assert text in bar.text


def test_copies_of_a_run_are_runs(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'podium.db'}", tmp_path)
    migrate.ensure(database)
    by_hand = HandWorker(database, tmp_path, FakeClock())
    run = by_hand.start(CHAIN)
    by_hand.worker("w")
    while claimed := by_hand.claim(run):
        by_hand.end(claimed[0])
    copy_run(tmp_path / "podium.db", run.run_id, 60)
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
        listed = queries.list_runs(connection, limit=100)
        documents = run_documents(connection, listed)
        now = by_hand.clock.now()
        original, oldest = (run_document(connection, run_id, now) for run_id in (listed[0], listed[-1]))
        assert claims.open_runs(connection, by_hand.clock.now(), 10) == []
        events = [len(queries.event_rows(connection, run_id)) for run_id in listed]
    assert listed == [run.run_id, *(f"{run.run_id}-{number}" for number in range(1, 61))]
    assert {(each["state"], each["cost_usd"]) for each in documents} == {("succeeded", original["cost_usd"])}
    assert len({each["interval"]["start"] for each in documents}) == 61
    assert [len(step["attempts"]) for step in oldest["steps"]] == [len(step["attempts"]) for step in original["steps"]]
    assert set(events) == {events[0]}


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("echo no wheel for this platform >&2; exit 3", r"exit code 3\): no wheel for this platform"),
        ("echo 42 runs", "printed no measurement"),
    ],
)
def test_a_peer_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, why: str) -> None:
    _peer_installed(tmp_path, program)
    monkeypatch.setenv(VENVS_VARIABLE, str(tmp_path))
    with pytest.raises(PeerFailed, match=why):
        milliseconds_per_step("dbos")


def test_a_peer_sees_no_variable_that_names_somebodys_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _peer_installed(tmp_path, 'echo "{\\"milliseconds_per_step\\": {\\"one by one\\": ${PREFECT_API_URL:-2.5}}}"')
    monkeypatch.setenv(VENVS_VARIABLE, str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "1000")
    assert milliseconds_per_step("dbos") == {"one by one": 2.5}


def _peer_installed(venvs: Path, program: str) -> None:
    """Stand a shell script in for the peer's Python."""
    python = venvs / "dbos" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    (venvs / "dbos" / "holds.txt").write_text(f"dbos=={PEERS['dbos']}")


def test_a_bar_on_a_peer_that_fails_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _peer_installed(tmp_path, "echo no wheel >&2; exit 1")
    monkeypatch.setenv(VENVS_VARIABLE, str(tmp_path))
    peers = Peers(["dbos"])
    peers.measure()
    peers.measure()
    (bar,) = peers.bars(own=1.0)
    assert (bar.is_met, peers.fastest("one by one")) == (False, {})
    assert bar.text.endswith("not measured: run_dbos.py failed (exit code 1): no wheel")


def test_a_peer_is_compared_in_its_fastest_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = """echo '{"milliseconds_per_step": {"one by one": 3.0, "two at a time": 2.0}}'"""
    _peer_installed(tmp_path, program)
    monkeypatch.setenv(VENVS_VARIABLE, str(tmp_path))
    peers = Peers(["dbos"])
    peers.measure()
    (bar,) = peers.bars(own=4.0)
    assert (bar.measured, bar.is_met) == (0.5, False)
    (shown,) = peers.fastest("one by one").values()
    assert shown == 3.0
