"""Backfills as people read them: a list, one in full, and what one would do."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from podium.cli import output
from podium.cli.backfill_progress import done
from podium.cli.tables import Column, print_reasons, print_table

Document = dict[str, Any]

_SHOWN = 60
"""Of more intervals, those that are done as they should be are counted and not listed."""


def print_list(documents: Sequence[Document]) -> None:
    """Print one line per backfill."""
    print_table(
        [
            Column("backfill"),
            Column("pipeline"),
            Column("range"),
            Column("state"),
            Column("done", right=True),
            Column("failed", right=True),
            Column("asked by", spare=True),
            Column("cost", right=True),
        ],
        [
            (
                each["backfill_id"],
                each["pipeline"],
                each["range"],
                output.state(each["state"]),
                f"{done(each['counts']):,} of {each['counts']['total']:,}",
                f"{each['counts']['failed']:,}",
                output.safe(each["actor"]),
                output.money(each["cost_usd"]),
            )
            for each in documents
        ],
    )


def print_backfill(document: Document) -> None:
    """Print one backfill: who asked for what, how far it is, and its intervals."""
    counts = document["counts"]
    told = [f"{counts[state]:,} {state}" for state in counts if state != "total" and counts[state]]
    print_reasons(
        [
            ("backfill", [f"{document['backfill_id']} of {document['pipeline']} for {document['range']}"]),
            ("state", [f"{document['state']}: {', '.join(told) or 'no intervals'}"]),
            ("asked by", [f"{document['actor']} at {output.when(document['created_at'])}"]),
            ("why", [document["reason"]] if document["reason"] else []),
            ("cancelled", _cancelled(document)),
            ("how", [_how(document)]),
            ("parameters", [f"{name} = {value}" for name, value in document["parameters"].items()]),
            ("cost", [output.money(document["cost_usd"])]),
            ("left", [_expected(document["estimate"])] if document["estimate"] else []),
        ]
    )
    output.print_lines([""])
    _print_intervals(document["intervals"])


def print_preview(document: Document) -> None:
    """Print what a backfill would do, and what that is expected to take."""
    actions = Counter(each["action"] for each in document["intervals"])
    estimate = document["estimate"]
    known = [step for step in estimate["steps"] if step["history_runs"]]
    print_reasons(
        [
            ("backfill", [f"of {document['pipeline']} for {document['range']}"]),
            ("would", [", ".join(f"{count:,} {action}" for action, count in actions.items()) or "do nothing"]),
            ("how", [_how(document)]),
            ("expected", [_expected(estimate)]),
            ("rests on", [f"{step['name']}: {step['history_runs']} runs" for step in known]),
        ]
    )
    output.print_lines([""])
    _print_intervals(document["intervals"])


def _print_intervals(intervals: Sequence[Document]) -> None:
    shown = list(intervals)
    if len(shown) > _SHOWN:
        shown = [each for each in intervals if each["state"] in ("running", "failed", "cancelled")][:_SHOWN]
        shown = shown or list(intervals[:_SHOWN])
    print_table(
        [Column("interval"), Column("action"), Column("run"), Column("state"), Column("outcome", spare=True)],
        [
            (
                each["interval_name"],
                each["action"],
                output.safe(each["run_id"]),
                output.state(each["state"]),
                output.safe(each["outcome"]),
            )
            for each in shown
        ],
    )
    if len(shown) < len(intervals):
        output.note(f"{len(intervals) - len(shown):,} more intervals are not listed; --json has them all.")


def _how(document: Document) -> str:
    words = [f"{document['order']} first", f"{document['max_parallel']} at once"]
    words += ["those that failed only"] if document["failed_only"] else []
    words += ["those that succeeded again"] if document["reprocess"] else []
    return ", ".join(words)


def _cancelled(document: Document) -> list[str]:
    if document["cancelled_at"] is None:
        return []
    by, at = document["cancelled_by"], output.when(document["cancelled_at"])
    return [f"by {by} at {at}: {document['cancelled_reason']}"]


def _expected(estimate: Document) -> str:
    """Return what runs are expected to take; of what is not known, that it is not."""
    runs = f"{estimate['runs']:,} run{'' if estimate['runs'] == 1 else 's'}"
    if estimate["unknown_steps"]:
        return f"{runs}; time and cost unknown, as there is no history of {', '.join(estimate['unknown_steps'])}"
    cost = "cost unknown, as a part of its history has no price"
    if estimate["cost_usd"] is not None:
        cost = f"about {output.money(estimate['cost_usd'])}"
    return f"{runs}, about {output.seconds(estimate['seconds'])}, {cost}"
