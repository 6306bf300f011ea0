"""The rules by which `champion` moves, and by which it does not: facts in, a ruling out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from podium.registry.entities import HistoryEntry, ModelVersion, Promotion, RecordedEvidence, instant_text
from podium.registry.environments import Entrance, entrance_objection
from podium.registry.timeline import LIVE, MOVED

Move = Literal["confirm", "set_alias", "void"]


@dataclass(frozen=True)
class Objection:
    """Why a promotion does not apply: `refused` by a rule, or `void` because what it rests on is gone."""

    state: Literal["refused", "void"]
    text: str


@dataclass(frozen=True)
class Situation:
    """What holds for a model at the moment of decision, under its lock."""

    model: str
    champion: str | None
    champion_version: ModelVersion | None
    history: Sequence[HistoryEntry]


def blocked_versions(history: Sequence[HistoryEntry]) -> set[str]:
    """Return the versions whose last word in the history is `blocked`."""
    words = {entry.to_version: entry.state for entry in history if entry.state in ("blocked", "unblocked")}
    return {version for version, state in words.items() if version is not None and state == "blocked"}


def champions(history: Sequence[HistoryEntry]) -> list[str]:
    """Return every version that was made champion or accepted as it, oldest first, as often as it was.

    One that somebody else made champion and nobody accepted is none of them: no rollback leads back to it.
    """
    return [entry.to_version for entry in history if entry.state in MOVED and entry.to_version is not None]


def swap_objection(situation: Situation, expected: str | None) -> Objection | None:
    """Object when the champion is not the expected version; tell which one it is and who moved it."""
    if situation.champion == expected:
        return None
    return Objection(
        "refused",
        f"The champion of {situation.model} is {_named(situation.champion)}, not {_named(expected)} as "
        f"expected: {_who_moved(situation)} Look at the present champion, then ask again expecting it.",
    )


def promotion_objection(
    situation: Situation,
    version: str,
    candidate: ModelVersion | None,
    evidence: RecordedEvidence | None,
    *,
    by_run: bool,
    entrance: Entrance | None = None,
) -> Objection | None:
    """Object unless `version` may become champion; `by_run` tells a pipeline's run from a person.

    `entrance` is the environment before the model's; None where there is none.
    """
    model = situation.model
    if version == situation.champion:
        return _already_champion(situation)
    if version in blocked_versions(situation.history):
        return _is_blocked(situation, version)
    if candidate is None or evidence is None:
        how = "it was adopted, not judged" if candidate is not None else "Podium did not register it"
        return Objection(
            "refused",
            f"No evidence is stored for version {version} of {model}: {how}. "
            "Train, judge and register it in a pipeline.",
        )
    if evidence.altered is not None:
        return Objection("refused", evidence.altered)
    not_entered = None if entrance is None else entrance_objection(entrance, candidate)
    if not_entered is not None:
        return Objection("refused", not_entered)
    if evidence.verdict != "passed":
        return Objection(
            "refused",
            f"The gate's verdict on version {version} of {model} is {evidence.verdict}: {' '.join(evidence.reasons)}",
        )
    if evidence.champion_version != situation.champion:
        return Objection(
            "void",
            f"Version {version} of {model} was judged against {_named(evidence.champion_version)}, but the "
            f"champion is {_named(situation.champion)}: {_who_moved(situation)} Judge it again.",
        )
    return _interval_objection(situation, candidate) if by_run else None


def _interval_objection(situation: Situation, candidate: ModelVersion) -> Objection | None:
    if situation.champion is None:
        return None
    model, champion, version = situation.model, situation.champion, candidate.version
    remedy = f"`podium promote {model} --version {version} --reason TEXT` lets a person decide."
    own = candidate.lineage
    of_champion = None if situation.champion_version is None else situation.champion_version.lineage
    if own is None or of_champion is None:
        how = "was adopted" if situation.champion_version is not None else "was not registered by Podium"
        return Objection(
            "refused",
            f"The champion of {model}, version {champion}, {how}, so nobody knows whether its data is newer than "
            f"version {version}'s. {remedy}",
        )
    ends, champion_ends = own.interval_end, of_champion.interval_end
    if ends >= champion_ends:
        return None
    return Objection(
        "refused",
        f"The interval of version {version} of {model} ends {instant_text(ends)} < "
        f"{instant_text(champion_ends)}, the end of champion {champion}'s: a run brings back no older data. "
        f"{remedy}",
    )


def rollback_targets(situation: Situation) -> list[str]:
    """Return the champions before the present one's first time that are not blocked, the most recent first.

    Counting from the first time keeps a second rollback from leading forth again: after 1, 2, 3 and a rollback
    to 1, version 2 is the most recent other champion, but a newer one. Before a champion that the history
    does not know come all that it does.
    """
    served, blocked = champions(situation.history), blocked_versions(situation.history)
    first = served.index(situation.champion) if situation.champion in served else len(served)
    return [version for version in dict.fromkeys(reversed(served[:first])) if version not in blocked]


def rollback_target(situation: Situation) -> str | None:
    """Return the version that a rollback without one leads to, None where there is none."""
    return next(iter(rollback_targets(situation)), None)


def no_rollback_target(situation: Situation) -> str:
    """Return why a rollback that names no version finds none."""
    model = situation.model
    before = "" if situation.champion is None else f" before version {situation.champion}"
    return (
        f"Model {model} has no champion{before} to roll back to that is not blocked. "
        f"`podium models history {model}` shows what there was; `--to` names any former champion."
    )


def rollback_objection(situation: Situation, version: str) -> Objection | None:
    """Object unless `version` was champion before and is not blocked."""
    model = situation.model
    if version == situation.champion:
        return _already_champion(situation)
    if version not in champions(situation.history):
        served = ", ".join(dict.fromkeys(champions(situation.history))) or "none"
        return Objection(
            "refused",
            f"Version {version} of {model} was never champion (these were: {served}), and a rollback leads "
            f"back to one that was. `podium promote {model} --version {version} --reason TEXT` goes through the gate.",
        )
    if version in blocked_versions(situation.history):
        return _is_blocked(situation, version)
    return None


def next_move(promotion: Promotion, alias: str | None) -> Move:
    """Say how an `applying` promotion goes on, from where the alias is found.

    At the target: confirm. Still at the start: set it. Every check had passed when the intent was written,
    and no writer of Podium has moved anything since, so the promotion of a dead process is completed, not
    dropped: the same request made again finds it applied, as if nothing had happened. At a third version:
    void. (So it is when the alias cannot be set because the target was deleted: `target_gone`.)
    """
    if alias == promotion.to_version:
        return "confirm"
    return "set_alias" if alias == promotion.from_version else "void"


def overtaken(promotion: Promotion, alias: str | None) -> str:
    """Return why a promotion is void whose alias was found at a third version."""
    return (
        f"The champion of {promotion.model} was moved to {_named(alias)} outside Podium while on its way "
        f"from {_named(promotion.from_version)} to {_named(promotion.to_version)}. Judge and promote again."
    )


def rolled_back_meanwhile(rollback: Promotion) -> str:
    """Return why a promotion that awaited approval is void: a rollback does not wait for it."""
    return (
        f"{rollback.actor} rolled {rollback.model} back to version {rollback.to_version} while it awaited approval "
        f"({rollback.reason}). Judge the candidate again."
    )


def run_gone(promotion: Promotion) -> str:
    """Return why a promotion that awaited approval is void: nobody wants it any more."""
    return (
        f"Run {promotion.run_id}, which asked for it, has ended without it. "
        f"`podium promote {promotion.model} --version {promotion.to_version} --reason TEXT` asks for it anew."
    )


def not_completed(promotion: Promotion, actor: str) -> str:
    """Return why a promotion is void that a dead process left before it had moved the alias."""
    return (
        f"Its process died before the champion of {promotion.model} moved, and {actor} asked for a rollback then. "
        "Judge and promote again."
    )


def target_gone(promotion: Promotion) -> str:
    """Return why a promotion is void whose target was deleted before the alias reached it."""
    return (
        f"Version {promotion.to_version} of {promotion.model}, the target version, is gone from the registry; the "
        f"champion stays {_named(promotion.from_version)}. Choose another version."
    )


def _already_champion(situation: Situation) -> Objection:
    return Objection(
        "refused",
        f"Version {situation.champion} is champion of {situation.model} already; there is nothing to move.",
    )


def _is_blocked(situation: Situation, version: str) -> Objection:
    told = [entry for entry in situation.history if entry.state == "blocked" and entry.to_version == version]
    return Objection(
        "refused",
        f"Version {version} of {situation.model} is blocked since {instant_text(told[-1].at)} by {told[-1].actor} "
        f"({told[-1].reason}). "
        f"`podium models unblock {situation.model} --version {version} --reason TEXT` lifts that.",
    )


def _who_moved(situation: Situation) -> str:
    moves = [entry for entry in situation.history if entry.state in LIVE]
    if not moves or moves[-1].to_version != situation.champion or moves[-1].state == "noticed":
        return "somebody moved it in the registry itself, outside Podium."
    last = moves[-1]
    verb = {"restored": "restored", "adopted": "adopted"}.get(
        last.state, "rolled back to" if last.action == "rollback" else "promoted"
    )
    return f"{last.actor} {verb} {_named(last.to_version)} at {instant_text(last.at)} ({last.reason})."


def _named(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"
