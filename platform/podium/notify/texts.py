"""What messages say, in plain text: what happened, why, when, and the commands that show more; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_LONGEST_REASON = 1500
_LISTED = 10
_LATE = timedelta(minutes=5)


@dataclass(frozen=True)
class RunFacts:
    """A run, as messages call it."""

    run_id: str
    pipeline: str
    interval: str

    @property
    def name(self) -> str:
        """The pipeline and its interval."""
        return f"{self.pipeline} {self.interval}"


@dataclass(frozen=True)
class Failure:
    """The first step run of a run that failed, its last attempt's error, and how many failed besides."""

    step: str
    error: str
    others: int


def run_failed(run: RunFacts, failure: Failure | None, reason: str | None, at: datetime) -> tuple[str, str]:
    """Return title and body for a run that failed."""
    if failure is None:
        why = [f"Why: {_cut(reason or 'no reason is on record')}"]
    else:
        others = f" ({failure.others} more failed)" if failure.others else ""
        why = [f"Step: {failure.step}{others}", f"Why: {_cut(failure.error)}"]
    head = f"The run of {run.name} failed at {when(at)}."
    return f"run_failed: {run.name}", _lines(
        head, *why, *_run(run), f"Go on: podium runs resume {run.run_id} --reason …"
    )


def deadline_missed(run: RunFacts, reason: str | None, at: datetime) -> tuple[str, str]:
    """Return title and body for a run that is stopped because its deadline passed."""
    head = f"The run of {run.name} was not done by its deadline and is being stopped, at {when(at)}."
    return f"deadline_missed: {run.name}", _lines(head, *_why(reason), *_run(run))


def held(
    run: RunFacts, step: str, question: str | None, decide_by: datetime | None, default: str, at: datetime
) -> tuple[str, str]:
    """Return title and body for a step that waits for a person; one without `decide_by` was decided about meanwhile."""
    until = (
        f"Until {when(decide_by)}; then it is {'approved' if default == 'approve' else 'rejected'}."
        if decide_by
        else "It was decided meanwhile."
    )
    return f"held: {run.name} waits for approval of {step}", _lines(
        f"The run of {run.name} waits since {when(at)} for a decision about {step}.",
        f"Asked: {_cut(question or '–')}",
        until,
        f"podium runs approve {run.run_id} --step {step} --reason …",
        f"podium runs reject {run.run_id} --step {step} --reason …",
        *_run(run),
    )


@dataclass(frozen=True)
class Asked:
    """A promotion that so many people have to approve; one without `until` was decided about meanwhile."""

    promotion_id: str
    approvals: int
    until: datetime | None


def awaits_approval(
    model: str, versions: tuple[str | None, str | None], actor: str, reason: str, asked: Asked, at: datetime
) -> tuple[str, str]:
    """Return title and body for a promotion that waits for people; `versions` are those from and to."""
    before, after = versions
    people = "1 person" if asked.approvals == 1 else f"{asked.approvals} people"
    serves = f"version {before} serves" if before else "no version serves yet"
    until = f"Until {when(asked.until)}; then it is void." if asked.until else "It was decided meanwhile."
    return f"held: {model} version {after} awaits approval", _lines(
        f"{actor} asked at {when(at)} that version {after} of {model} become champion ({serves}). "
        f"{people} other than {actor} must approve it.",
        *_why(reason),
        until,
        f"podium approve {asked.promotion_id} --reason …",
        f"podium reject {asked.promotion_id} --reason …",
        f"More: podium promotions show {asked.promotion_id}",
    )


def moved(
    model: str, action: str, versions: tuple[str | None, str | None], actor: str, reason: str, at: datetime
) -> tuple[str, str]:
    """Return title and body for a champion that moved; `action` is promotion or rollback, `versions` from and to."""
    before, after = versions
    way = f"from version {before} to version {after}" if before else f"to version {after}, the first champion"
    title = f"{action}: {model} version {after}" if before is None else f"{action}: {model} version {before} → {after}"
    return title, _lines(
        f"{actor} moved the champion of {model} {way}, at {when(at)}.",
        *_why(reason),
        f"More: podium models history {model}",
    )


def moved_outside(
    model: str, state: str, versions: tuple[str | None, str | None], actor: str, reason: str, at: datetime
) -> tuple[str, str]:
    """Return title and body for a champion that somebody moved outside Podium: `noticed`, `restored` or `adopted`."""
    before, after = (f"version {version}" if version else "no version" for version in versions)
    if state == "adopted":
        return f"champion_moved: {model} at {after} was adopted", _lines(
            f"{actor} accepted {after} as champion of {model}, as it is in the registry, at {when(at)}.",
            *_why(reason),
            f"More: podium models history {model}",
        )
    if state == "restored":
        head = f"Podium brought the champion of {model} back to {after}, at {when(at)}."
        return f"champion_moved: {model} is back at {after}", _lines(
            head, *_why(reason), f"More: podium models history {model}"
        )
    head = f"Somebody moved the champion of {model} from {before} to {after} outside Podium; noticed at {when(at)}."
    return f"champion_moved: {model} {before} → {after}, outside Podium", _lines(
        head, *_why(reason), f"What to do: podium models doctor {model}", f"More: podium models history {model}"
    )


def not_run(pipeline: str, due_at: datetime, within: str, fact: str, run_id: str | None) -> tuple[str, str]:
    """Return title and body for a tick that no run succeeded for in time; `fact` says what there is instead."""
    return f"not_run: {pipeline}, due {when(due_at)}", _lines(
        f"{pipeline} was due at {when(due_at)} and has not run successfully within {within}.",
        f"Why: {_cut(fact)}",
        f"More: podium runs show {run_id}" if run_id else f"More: podium runs list --pipeline {pipeline}",
    )


@dataclass(frozen=True)
class Folded:
    """What a message tells besides: when it happened, and its title."""

    at: datetime
    title: str


def message(title: str, body: str, happened_at: datetime, folded: Sequence[Folded], now: datetime) -> tuple[str, str]:
    """Return what is sent: with what was folded into it, the oldest first, and how late it is."""
    late = now - happened_at
    told = [body]
    if late >= _LATE:
        told.append(f"This is told {_length(late)} after it happened.")
    if not folded:
        return title, "\n\n".join(told)
    since = min(each.at for each in folded)
    at = f"{since:%H:%M}" if since.date() == now.date() else f"{since:%Y-%m-%d %H:%M}"
    more = f"and {len(folded):,} more since {at} UTC"
    rest = [f"… {len(folded) - _LISTED:,} others: podium alerts list"] if len(folded) > _LISTED else []
    listed = [f"- {each.title} ({when(each.at)})" for each in folded[:_LISTED]]
    told.append("\n".join([f"{more[0].upper()}{more[1:]}:", *listed, *rest]))
    return f"{title} ({more})", "\n\n".join(told)


def when(at: datetime) -> str:
    """Return an instant for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _length(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _run(run: RunFacts) -> tuple[str, str]:
    return f"Run: {run.run_id}", f"More: podium runs show {run.run_id}"


def _why(reason: str | None) -> tuple[str, ...]:
    return (f"Why: {_cut(reason)}",) if reason else ()


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


def _lines(*lines: str) -> str:
    return "\n".join(lines)
