"""Six days whose every fact is known: what the dashboards are tested on and drawn from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from dashboards.evaluation import View
from podium.clock import FakeClock
from podium.dag.triggers import RunEnded, Trigger, read_triggers
from podium.db import migrate
from podium.db.engine import Database
from tests.promotion_world import World
from tests.scraped_platform import ARRIVALS, BEGIN, FLIGHTS, NOBODYS, SCRAPE_INTERVAL, ScrapedPlatform, next_scrape


@dataclass(frozen=True)
class History:
    """What is left of six days: the database, the samples, and moments at which somebody may look.

    `begin` is before the first scrape, `end` a scrape; `unreachable` lies where nothing was scraped for two hours, and
    `before_second_team` on a scrape when one team was alone, and `second_team` on the first scrape that shows another.
    """

    database: Database
    openmetrics: Path
    begin: datetime
    unreachable: datetime
    before_second_team: datetime
    second_team: datetime
    end: datetime

    @property
    def page(self) -> View:
        """The whole of it."""
        return View(self.begin, self.end)


@contextmanager
def known_history(folder: Path) -> Iterator[History]:
    """The six days, on a fresh SQLite in `folder`."""
    database = Database(f"sqlite:///{folder / 'podium.db'}", folder / "locks")
    migrate.ensure(database)
    platform = ScrapedPlatform(database, folder, FakeClock(BEGIN))
    _six_days(platform)
    openmetrics = folder / "platform.om"
    platform.write(openmetrics)
    midnight = BEGIN.replace(second=0)
    yield History(
        database,
        openmetrics,
        begin=midnight - timedelta(hours=12),
        unreachable=midnight + timedelta(days=2, hours=7),
        before_second_team=midnight + timedelta(days=3),
        second_team=midnight + timedelta(days=3, hours=10, minutes=15),
        end=next_scrape(platform.clock.now()) - SCRAPE_INTERVAL,
    )
    database.close()


def _six_days(platform: ScrapedPlatform) -> None:
    """Let everything happen that a panel shows."""
    day = platform.advance

    day(to="0 09:00")  # the first model
    first = platform.retrain(FLIGHTS, train_minutes=50)
    version = platform.judge(first, "flight_delay")
    assert version is not None
    platform.promote(first, "flight_delay", version)
    platform.work(first, "judge", minutes=4)

    day(to="1 09:00")  # a candidate that is no better
    second = platform.retrain(FLIGHTS, train_minutes=55)
    platform.judge(second, "flight_delay", "failed")
    platform.work(second, "judge", minutes=4)

    day(to="1 20:00")  # a training that breaks
    platform.alert(platform.retrain(FLIGHTS, train_minutes=20, fails=True), "mail", "oncall")

    day(to="2 06:10")  # nobody can look while this one goes on
    platform.reachable = False
    third = platform.retrain(FLIGHTS, train_minutes=60)
    version = platform.judge(third, "flight_delay")
    assert version is not None
    day(to="2 08:00")
    platform.reachable = True
    assert platform.try_out(third, "flight_delay", version, error_rate=0.05).promoted
    platform.work(third, "judge", minutes=4)

    day(to="3 00:00")  # another team comes
    day(to="3 10:00")
    arrivals = platform.retrain(ARRIVALS, train_minutes=2)
    version = platform.judge(arrivals, "arrival_delay")
    assert version is not None
    platform.promote(arrivals, "arrival_delay", version)
    platform.work(arrivals, "judge", minutes=1)
    platform.reverse_one(second)

    day(to="4 09:00")  # a candidate that is worse on traffic than on the holdout
    fourth = platform.retrain(FLIGHTS, train_minutes=70)
    version = platform.judge(fourth, "flight_delay")
    assert version is not None
    assert platform.try_out(fourth, "flight_delay", version, error_rate=0.11).state == "rolled_back"
    platform.work(fourth, "judge", minutes=4)
    day(to="4 20:00")
    assert World(platform.database, platform.registry, platform.clock, "flight_delay").rollback().applied
    day(to="4 22:00")
    unclear = platform.begin(ARRIVALS)  # its worker dies, and another validates
    platform.work(unclear, "validate", minutes=1, state="lost")
    platform.work(unclear, "validate", minutes=3)
    platform.work(unclear, "train", minutes=3)
    platform.judge(unclear, "arrival_delay", "insufficient")
    platform.work(unclear, "judge", minutes=1)

    day(to="5 01:00")  # what goes on by itself: one schedule is paused, and on the other nobody acts
    after_flights = read_triggers([Trigger("flights", any_of=[RunEnded("flight_delay")])], pipeline="arrival_delay")
    hourly = replace(ARRIVALS, schedule="0 * * * *", triggers=after_flights)
    platform.take_up(replace(FLIGHTS, schedule="0 6 * * *"), hourly)
    platform.schedules.pause("arrival_delay", reason="its source is being rebuilt", actor="tester")

    day(to="5 02:00")
    platform.failures.count("canaries", RuntimeError("one scrape lacked the canaries"))
    nobodys = platform.retrain(NOBODYS, train_minutes=30)
    platform.work(nobodys, "judge", minutes=1)
    day(to="5 06:20")
    unpriced = platform.retrain(ARRIVALS, train_minutes=5)
    platform.judge(unpriced, "arrival_delay", "failed")
    platform.work(unpriced, "judge", minutes=1)
    day(to="5 09:00")
    platform.service.cancel(platform.begin(FLIGHTS).run_id, reason="wrong month")

    day(to="5 12:00")  # what is still open at the end
    trial = platform.retrain(ARRIVALS, train_minutes=2)
    version = platform.judge(trial, "arrival_delay")
    assert version is not None
    platform.claim(trial)
    assert not platform.try_out(trial, "arrival_delay", version, error_rate=0.05, looks=4).ended
    platform.begin(FLIGHTS)
    day(to="5 16:00")
