"""A run as one page of HTML: its graph, and its attempts over time; nothing is loaded from anywhere."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from podium.cli import output
from podium.cli.labels import label_of
from podium.cli.run_drawings import chart_of, graph_of, legend_of, shown_state
from podium.cli.timeline import rows_of
from podium.dag.plan import Plan
from podium.errors import UsageError

Document = Mapping[str, Any]

_TROUBLED = 50
"""So many items that did not simply succeed are named beside their step."""


def page_of(document: Document, plan: Plan, events: Sequence[Document], now: datetime) -> str:
    """Return the page of a run document with its plan and events, as they are at `now`."""
    rows = rows_of(document, events, now)
    template = resources.files("podium.cli") / "templates" / "run.html"
    facts = {label_of(step): _fact(document, step) for step in document["steps"]}
    return Template(template.read_text(encoding="utf-8")).substitute(
        title=escape(f"{document['pipeline']} {document['interval_name']} · {document['run_id']}"),
        pipeline=escape(document["pipeline"]),
        interval=escape(document["interval_name"]),
        state=escape(document["state"]),
        outcome=escape(_result(document)),
        facts=_facts(document, now),
        trouble=_trouble(document),
        graph=graph_of(document, plan),
        chart=chart_of(rows, document, now),
        legend=legend_of(rows, document),
        # "<" is all that could end the script: JSON may spell it differently.
        data=json.dumps({"run_id": document["run_id"], "steps": facts}, ensure_ascii=False).replace("<", "\\u003c"),
        drawn=f"{now:%Y-%m-%d %H:%M:%S} UTC",
    )


def write_page(path: Path, text: str) -> None:
    """Write a page; UsageError if it cannot be written there."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The page cannot be written to {path}: {error.strerror}. Name another file.") from None


def _result(document: Document) -> str:
    outcome = document["outcome"]
    return document["state"] if outcome in (None, "none") else f"{document['state']}, {outcome}"


def _facts(document: Document, now: datetime) -> str:
    """Return who, when, how long and how dear."""
    started, ended = document["started_at"], document["ended_at"]
    took = None
    if started is not None:
        until = now if ended is None else datetime.fromisoformat(ended)
        took = (until - datetime.fromisoformat(started)).total_seconds()
    attempts = sum(len(step["attempts"]) for step in document["steps"])
    facts = {
        "run": document["run_id"],
        "started": "–" if started is None else f"{datetime.fromisoformat(started):%Y-%m-%d %H:%M:%S} UTC",
        "took" if ended else "so far": output.seconds(took),
        "attempts": f"{attempts:,}",
        "cost": output.money(document["cost_usd"]),
        "asked by": f"{document['actor']} ({document['trigger']})",
        "team": f"{document['team']}, {document['environment']}",
        **{name: json.dumps(value, ensure_ascii=False) for name, value in document["parameters"].items()},
    }
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())


def _trouble(document: Document) -> str:
    """Return why the run failed, or what it waits for; nothing if neither."""
    failure = document["failure"]
    if failure is not None:
        label = label_of({"name": failure["step"], "map_index": failure["map_index"]})
        where = f" <span>at {escape(failure['where'])}</span>" if failure["where"] else ""
        others = f" <span>and {failure['others']:,} more</span>" if failure["others"] else ""
        return (
            f'<section class="trouble"><b><a href="#" data-of="{escape(label)}">{escape(label)}</a> '
            f"{escape(failure['state'].replace('_', ' '))} (attempt {failure['attempt']})</b>{others}"
            f"<pre>{escape(str(failure['error']))}</pre>{where}</section>"
        )
    reasons = Counter((each["step"], each["reason"]) for each in document["waiting"] if each["state"] != "running")
    lines = [
        f"<li><b>{escape(step)}</b>{f' ({count:,} items)' if count > 1 else ''} {escape(reason)}</li>"
        for (step, reason), count in reasons.items()
    ]
    return f'<section class="waits"><b>Waits for</b><ul>{"".join(lines)}</ul></section>' if lines else ""


def _fact(document: Document, step: Document) -> dict[str, Any]:
    """Return what the page tells of a step run on demand, in words."""
    waits = [
        each["reason"]
        for each in document["waiting"]
        if (each["step"], each["map_index"]) == (step["name"], step["map_index"])
    ]
    items = [each for each in document["steps"] if step["map_index"] is None and each["name"] == step["name"]][1:]
    counts = Counter(shown_state(item) for item in items)
    troubled = [label_of(item) for item in items if item["state"] == "failed" or len(item["attempts"]) > 1]
    return {
        "items": ", ".join(f"{count:,} {state}" for state, count in counts.items()),
        "troubled": troubled[:_TROUBLED],
        "state": step["state"],
        "cached": step["cached"],
        "reason": waits[0] if waits else step["reason"],
        "attempts": [
            {
                "number": attempt["number"],
                "state": attempt["state"],
                "started": f"{datetime.fromisoformat(attempt['started_at']):%H:%M:%S}",
                "wall": output.seconds(attempt["wall_seconds"]),
                "cpu": output.seconds(attempt["cpu_seconds"]),
                "memory": output.memory(attempt["peak_memory_bytes"]),
                "cost": output.money(attempt["cost_usd"]) if attempt["ended_at"] else "–",
                "error": attempt["error"],
                "log": attempt["log"],
            }
            for attempt in step["attempts"]
        ],
    }
