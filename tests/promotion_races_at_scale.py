"""Eight promoters, processes of their own on a real MLflow, race for one champion, round after round.

In each round all of them register a candidate judged against the present champion, meet, and promote at once. In the
last round of each heat one is killed (`kill -9`) at a random moment after they met.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa

from podium.db.engine import Database
from podium.db.schema import model_version, promotion
from tests.registry_processes import Processes

PROMOTERS = 8
ROUNDS_OF_A_HEAT = 10
KILLED = -9

# Eight promotions, one after the other, take about this long.
_ROUND_SECONDS = 0.4


@dataclass
class Raced:
    """What became of the races: what is written down of them, and what was wrong."""

    counts: dict[str, int]
    problems: list[str] = field(default_factory=list)


def race(database: Database, processes: Processes, folder: Path, *, model: str, rounds: int, seed: int) -> Raced:
    """Race so many rounds for the champion of `model`; `folder` is where the promoters meet."""
    random = Random(f"{seed}/{database.engine.dialect.name}")  # noqa: S311 - a kill's moment is no secret
    processes.one(database, model, "share_an_upload")
    problems: list[str] = []
    killed = 0
    for heat in _heats(rounds):
        for number in heat:
            (folder / f"round-{number}").mkdir(parents=True)
        victim, moment = random.randrange(PROMOTERS), random.uniform(0, _ROUND_SECONDS)
        acts = [
            (
                "race",
                {
                    "who": who,
                    "rounds": heat,
                    "promoters": PROMOTERS,
                    "meeting": str(folder),
                    "dies_after": moment if who == victim else None,
                },
            )
            for who in range(PROMOTERS)
        ]
        ended = processes.run(database, model, *acts, faults=f"promotion.before_compare:barrier={PROMOTERS}")
        killed += ended.count(KILLED)
        problems += [
            f"promoter {who} ended with {code}" for who, code in enumerate(ended) if code not in (None, KILLED)
        ]
    found = processes.one(database, model, "settle")
    counts = {"rounds": rounds, "killed": killed, "moves": len(found["moves"])}
    return Raced(counts, [*problems, *_problems(database, model, folder, rounds, found)])


def _heats(rounds: int) -> Iterator[list[int]]:
    for first in range(0, rounds, ROUNDS_OF_A_HEAT):
        yield list(range(first, min(first + ROUNDS_OF_A_HEAT, rounds)))


def _problems(database: Database, model: str, folder: Path, rounds: int, found: dict[str, Any]) -> Iterator[str]:
    with database.read() as connection:
        rows = connection.execute(sa.select(promotion).where(promotion.c.model == model)).all()
        on_record = set(connection.scalars(sa.select(model_version.c.version).where(model_version.c.model == model)))
    applied = {row.to_version for row in rows if row.state == "applied"}
    winners = Counter(int(row.idempotency_key.split("/")[1]) for row in rows if row.state == "applied")
    yield from (f"round {n} has {winners[n]} winners" for n in range(rounds) if winners[n] != 1)
    yield from (
        f"promotion {row.promotion_id} is {row.state}" for row in rows if row.state not in ("applied", "refused")
    )
    told = [version for _, state, version in found["told"] if state == "applied"]
    if found["moves"] != told:
        yield f"the alias went by {found['moves']}, the history tells of {told}"
    if sorted(told) != sorted(applied):
        yield f"the history tells of {told}, applied are {sorted(applied)}"
    if not on_record.issuperset(found["moves"]):
        yield f"champion were {found['moves']}, on record are {sorted(on_record)}"
    if found["champion"] != found["moves"][-1]:
        yield f"the champion is {found['champion']}, moved there was {found['moves'][-1]}"
    if not found["verify"]["ok"]:
        yield f"the history does not verify: {found['verify']}"
    for number in range(rounds):
        yield from _told_wrongly(folder / f"round-{number}", told[number] if number < len(told) else "nobody")


def _told_wrongly(folder: Path, winner: str) -> Iterator[str]:
    """Check what the promoters of a round heard: the winner that it won, the others who did."""
    for file in sorted(folder.glob("*.json")):
        heard = json.loads(file.read_text())
        won = heard["to_version"] == winner
        as_it_was = (
            heard["state"] == "applied"
            if won
            else heard["lost_the_swap"]
            and heard["champion"] == winner
            and f"promoted version {winner}" in heard["reasons"][0]
        )
        if not as_it_was:
            yield f"{folder.name}: version {winner} won, but {file.stem} heard {heard}"
