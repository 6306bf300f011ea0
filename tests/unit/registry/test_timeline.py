"""Who was live when: read off the history, and the same as a naive replay of it."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from podium.registry import timeline
from podium.registry.entities import HistoryEntry
from podium.registry.timeline import LIVE, Tenure, live_at, live_document, live_now, tenures

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)


def entry(number: int, state: str, to: str | None, hours: float, action: str = "promote") -> HistoryEntry:
    return HistoryEntry(
        model="flight_delay",
        id=number,
        at=NOON + timedelta(hours=hours),
        action=action,
        state=state,
        from_version=None,
        to_version=to,
        actor="ada",
        actor_verified=False,
        approvers=("grace",),
        reason="it is better",
        evidence_digest="e" * 64,
        promotion_id="p1",
        previous_hash="0" * 64,
        hash=str(number) * 64,
    )


STATES = st.sampled_from((*LIVE, "refused", "void", "blocked", "unblocked", "proposed", "approved", "rejected"))
FACTS = st.lists(
    st.tuples(STATES, st.none() | st.sampled_from("123"), st.integers(0, 6)),
    max_size=8,
)


@st.composite
def histories(draw: st.DrawFn) -> list[HistoryEntry]:
    """Histories in order, of hosts whose clocks may be behind."""
    return [entry(number, *fact) for number, fact in enumerate(draw(FACTS), start=1)]


def replayed(history: list[HistoryEntry], at: datetime) -> HistoryEntry | None:
    """The last word up to a moment, found the slow way."""
    found = None
    for fact in history:
        if fact.state in ("applied", "restored", "adopted", "noticed") and fact.at <= at:
            found = fact
    return found


@given(histories(), st.integers(-2, 14).map(lambda half: NOON + timedelta(hours=half / 2)))
def test_what_was_live_is_what_a_replay_up_to_then_says(history: list[HistoryEntry], at: datetime) -> None:
    found, expected = live_at(history, at), replayed(history, at)
    assert (found and found.fact) == expected
    if found is not None:
        assert found.since <= at
        assert found.until is None or at < found.until


@given(histories())
def test_tenures_follow_each_other_without_a_gap(history: list[HistoryEntry]) -> None:
    found = tenures(history)
    for one, after in itertools.pairwise(found):
        assert one.since < after.since == one.until
    assert [tenure.until for tenure in found[-1:]] == [None][: len(found)]
    assert live_now(history) == (found[-1].version if found else None)


def test_every_kind_of_fact_that_changes_the_champion_counts_and_no_other() -> None:
    history = [
        entry(1, "adopted", "4", 0, "adopt"),
        entry(2, "refused", "5", 1),
        entry(3, "applied", "6", 2),
        entry(4, "blocked", "6", 3, "block"),
        entry(5, "noticed", "2", 4, "watch"),
        entry(6, "restored", "6", 5, "watch"),
        entry(7, "applied", "4", 6, "rollback"),
        entry(8, "noticed", None, 7, "watch"),
    ]
    assert [(tenure.version, tenure.fact.state) for tenure in tenures(history)] == [
        ("4", "adopted"),
        ("6", "applied"),
        ("2", "noticed"),
        ("6", "restored"),
        ("4", "applied"),
        (None, "noticed"),
    ]
    assert live_now(history) is None


def test_a_moment_is_the_new_champions_from_its_first_microsecond_on() -> None:
    history = [entry(1, "applied", "1", 0), entry(2, "applied", "2", 1)]
    change = NOON + timedelta(hours=1)
    last, first = live_at(history, change - timedelta(microseconds=1)), live_at(history, change)
    assert last == Tenure("1", NOON, change, history[0])
    assert first == Tenure("2", change, None, history[1])


def test_before_the_first_champion_there_was_none_and_every_key_is_there() -> None:
    history = [entry(1, "applied", "1", 0)]
    before = live_document("flight_delay", history, NOON - timedelta(hours=1))
    now = live_document("flight_delay", history, None)
    assert before.keys() == now.keys()
    assert {value for name, value in before.items() if name not in ("model", "at")} == {None}
    assert now == {
        "model": "flight_delay",
        "at": None,
        "version": "1",
        "since": "2013-03-01T12:00:00.000000Z",
        "until": None,
        "fact": "applied",
        "action": "promote",
        "entry_id": 1,
        "actor": "ada",
        "actor_verified": False,
        "approvers": ["grace"],
        "reason": "it is better",
        "evidence_digest": "e" * 64,
        "promotion_id": "p1",
    }


def test_only_who_is_stood_for_is_accepted() -> None:
    applied, noticed = entry(1, "applied", "1", 0), entry(2, "noticed", "2", 1, "watch")
    assert timeline.is_accepted([], None)
    assert not timeline.is_accepted([], "1")
    assert timeline.is_accepted([applied], "1")
    assert not timeline.is_accepted([applied], "2")
    assert not timeline.is_accepted([applied, noticed], "2")
