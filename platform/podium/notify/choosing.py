"""Which of what waits for a channel is sent next, with what folded into it; pure.

A message that is sent stands for several: of a group (the same event, pipeline and step) the first is told at once,
what repeats it within a while is told together when that is over, and where a rate limit leaves one message for many,
that one sums them up. So nothing is left untold, and nothing is told more often than was asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podium.notify.entities import Pending, Told
from podium.notify.rules import Limit


@dataclass(frozen=True)
class Choice:
    """The delivery to send, those it stands for besides, and until when others are put off."""

    lead: Pending | None = None
    folded: tuple[Pending, ...] = ()
    put_off: Mapping[str, datetime] = field(default_factory=dict)


def choose(
    waiting: Sequence[Pending],
    told: Sequence[Told],
    limits: Sequence[Limit],
    repeat_after: timedelta,
    now: datetime,
) -> Choice:
    """Choose among what waits for one channel, the oldest first; `told` is what it took lately, the oldest first.

    Nothing is chosen while a message is on its way there, which another sender may have taken, or while the channel
    rests after one that failed.
    """
    due = [each for each in waiting if each.next_try_at <= now]
    tried = [each for each in waiting if each.tries and each.next_try_at > now]
    if not due or any(each.error is None for each in tried):
        return Choice()
    if tried:
        rests_until = max(each.next_try_at for each in tried)
        return Choice(put_off={each.alert_id: rests_until for each in due})
    again_at = {each.group: each.at + repeat_after for each in told}
    put_off: dict[str, datetime] = {}
    leads: dict[object, list[Pending]] = {}
    for each in due:
        until = again_at.get(each.group) if each.repeats and not each.tries else None
        if until is not None and until > now:
            put_off[each.alert_id] = until
        else:
            leads.setdefault(each.group if each.repeats else each.alert_id, []).append(each)
    if not leads:
        return Choice(put_off=put_off)
    room, free_at = _room(told, limits, now)
    if room <= 0:
        return Choice(put_off=put_off | {each.alert_id: free_at for group in leads.values() for each in group})
    first = next(iter(leads.values()))
    chosen = [each for group in leads.values() for each in group] if room == 1 else first
    return Choice(chosen[0], tuple(chosen[1:]), put_off)


def _room(told: Sequence[Told], limits: Sequence[Limit], now: datetime) -> tuple[float, datetime]:
    """Return how many messages the limits leave, and when they leave one again."""
    room, free_at = float("inf"), now
    for limit in limits:
        lately = [each.at for each in told if each.at > now - limit.per]
        room = min(room, limit.count - len(lately))
        if len(lately) >= limit.count:
            free_at = max(free_at, lately[-limit.count] + limit.per)
    return room, free_at
