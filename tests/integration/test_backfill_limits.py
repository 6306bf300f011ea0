"""A backfill's limit where runs were taken up again: what goes on is found, and models are counted as they are kept."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from podium.db import migrate
from podium.db.engine import Database
from podium.db.schema import run
from podium.execution import claims
from podium.settings import Settings
from podium.wiring.project import open_project
from podium.wiring.stage_services import slot_configuration, slot_services
from tests.execution_world import CHAIN, HandWorker
from tests.integration.test_backfills import World


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'plain.db'}", tmp_path / "locks")
    migrate.ensure(database)
    yield World(HandWorker(database, tmp_path))
    database.close()


def test_what_goes_on_is_found_behind_any_number_that_are_queued_before_it(plain: World) -> None:
    found = plain.start(CHAIN, days=6, max_parallel=1)
    last = plain.run_of(found, 7)
    for day in range(2, 7):
        plain.do(plain.run_of(found, day), "failed")
    (claim,) = plain.hand.claim(last, limit=1)
    plain.backfills.resume(found.backfill_id, CHAIN, reason="the source is back")
    plain.hand.end(claim)
    with plain.hand.database.read() as connection:
        seen = claims.open_runs_of_backfill(connection, found.backfill_id, plain.hand.clock.now(), 4)
    assert [each.run_id for each in seen] == [last.run_id]


def test_the_limit_holds_when_the_pipeline_retrains_another_model_by_now(plain: World) -> None:
    found = plain.start(CHAIN, days=3, max_parallel=1)
    for day in (2, 3, 4):
        plain.do(plain.run_of(found, day), "failed")
    other = replace(CHAIN, model="other")
    plain.backfills.resume(found.backfill_id, other, reason="today's code")
    assert len(plain.hand.claim(plain.run_of(found, 2), limit=1)) == 1
    assert plain.hand.claim(plain.run_of(found, 3)) == []
    assert plain.hand.claim(plain.run_of(found, 4)) == []
    with plain.hand.database.read() as connection:
        running = connection.scalar(sa.select(sa.func.count()).where(run.c.state == "running"))
    assert running == 1


def test_a_slot_is_told_no_secret_and_opens_its_services_beside_alert_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "podium.toml").write_text('[alerts.channels]\noncall = "json://user:hidden@127.0.0.1/hook"\n')
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path / "home"))
    project = open_project(tmp_path)
    configuration = slot_configuration(project)
    assert "hidden" not in str(configuration)
    assert "***" not in str(configuration)
    assert Settings.model_validate(configuration["settings"]).alerts != project.settings.alerts
    assert slot_services(configuration, lambda *_: None) is not None
    project.close()
