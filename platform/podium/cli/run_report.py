"""Runs as people read them: a list, one in full, and what `podium run` says at its end."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from podium.cli import output
from podium.cli.labels import label_of
from podium.cli.tables import Column, print_reasons, print_table

Document = dict[str, Any]

_ITEMS_IN_FULL = 20
"""Of a step mapped over more items, those that succeeded at their first attempt are counted and not listed."""


def print_list(documents: Sequence[Document]) -> None:
    """Print one line per run."""
    print_table(
        [
            Column("run"),
            Column("pipeline"),
            Column("interval"),
            Column("result"),
            Column("version"),
            Column("started", spare=True),
            Column("cost", right=True),
        ],
        [
            (
                document["run_id"],
                document["pipeline"],
                document["interval_name"],
                output.state(result(document)),
                output.safe(document["model"]["version"]),
                output.when(document["started_at"]),
                output.money(document["cost_usd"]),
            )
            for document in documents
        ],
    )


def print_results(documents: Sequence[Document]) -> None:
    """Print what became of runs: verdict, result, champion's move and cost, and below that the reasons."""
    print_table(
        [
            Column("interval"),
            Column("run"),
            Column("verdict"),
            Column("result"),
            Column("champion"),
            Column("cost", right=True),
        ],
        [
            (
                document["interval_name"],
                document["run_id"],
                output.state(document["verdict"]["result"] if document["verdict"] else None),
                output.state(result(document)),
                _champion(document),
                output.money(document["cost_usd"]),
            )
            for document in documents
        ],
    )
    output.print_lines([""])
    print_reasons((document["interval_name"], _reasons(document)) for document in documents)


def print_run(document: Document) -> None:
    """Print one run: who asked, what was decided and why, and each attempt with what it used and cost."""
    model, verdict = document["model"], document["verdict"]
    print_reasons(
        [
            ("run", [f"{document['run_id']} of {document['pipeline']} for {document['interval_name']}"]),
            ("result", [document["state"] + (f", {document['outcome']}" if document["outcome"] else "")]),
            ("held", [f"for a decision on {' and '.join(document['held'])}"] if document["held"] else []),
            ("awaits", [f"podium approve {each} --reason …" for each in document["awaits_approval"]]),
            *_failure(document),
            ("asked by", [f"{document['actor']} ({document['trigger']}) at {output.when(document['created_at'])}"]),
            ("because of", [document["cause"]] if document["cause"] else []),
            ("backfilled", ["registers, and promotes nothing"] if document["backfill_id"] else []),
            ("rerun of", [document["rerun_of"]] if document["rerun_of"] else []),
            ("deadline", [output.when(document["deadline_at"])] if document["deadline_at"] else []),
            ("parameters", [f"{name} = {value}" for name, value in document["parameters"].items()]),
            ("owner", [f"team {document['team']}, environment {document['environment']}"]),
            ("model", [f"{model['name']}, version {model['version'] or '–'}"]),
            ("champion", [_champion(document, markup=False)]),
            ("verdict", [verdict["result"]] if verdict else []),
            ("why", _reasons(document if document["failure"] is None else {**document, "reason": None})),
        ]
    )
    output.print_lines([""])
    if document["waiting"]:
        _print_waiting(document["waiting"])
        output.print_lines([""])
    if verdict:
        _print_metrics(verdict)
        output.print_lines([""])
    print_table(
        [
            Column("step"),
            Column("attempt", right=True),
            Column("state"),
            Column("wall", right=True),
            Column("CPU", right=True, spare=True),
            Column("peak memory", right=True, spare=True),
            Column("cost", right=True),
        ],
        [cells for step in _told(document["steps"]) for cells in _step_rows(step)],
        total=("total", *[""] * 5, output.money(document["cost_usd"])),
    )
    troubles = [trouble for step in _told(document["steps"]) for trouble in _troubles(step)]
    if troubles:
        output.print_lines([""])
        print_reasons(troubles)


def _print_metrics(verdict: Document) -> None:
    models = ("candidate", "champion", "baseline")
    print_table(
        [Column("metric"), *(Column(model, right=True) for model in models)],
        [(each["metric"], *(output.measured(each[model]) for model in models)) for each in verdict["metrics"]],
    )


def result(document: Document) -> str:
    """Return what a run came to in one word: its outcome if it has one to speak of, `held`, else its state."""
    outcome = document["outcome"]
    if document["state"] == "running" and (document["held"] or document["awaits_approval"]):
        return "held"
    return str(document["state"] if outcome in (None, "none") else outcome)


def _champion(document: Document, *, markup: bool = True) -> str:
    """Return the champion before and after a run; – for one that ended before it looked."""
    if not (document["verdict"] or document["promotion"]):
        return "–"
    model = document["model"]
    before, after = model["champion_before"] or "none", model["champion_after"] or "none"
    if before == after:
        return after
    return f"{before} → [bold green]{after}[/]" if markup else f"{before} → {after}"


def _failure(document: Document) -> Iterator[tuple[str, list[str]]]:
    """Yield why a run failed: which attempt, its error and its place, and the commands to go on with."""
    failure = document["failure"]
    if failure is None:
        return
    label, run_id = _named(failure), document["run_id"]
    others = failure["others"]
    more = f"; {others:,} other {'step run' if others == 1 else 'step runs'} failed too" if others else ""
    attempt = f"attempt {failure['attempt']} {failure['state'].replace('_', ' ')}"
    yield "failed", [f"{label}, {attempt}: {failure['error']}{more}"]
    yield "where", [failure["where"]] if failure["where"] else []
    yield "read more", [f"podium runs logs {run_id} --step {shlex.quote(label)}"]
    if document["state"] == "failed":
        yield "go on", [f"podium runs resume {run_id}"]


def _print_waiting(waiting: Sequence[Document]) -> None:
    """Print what an open run waits for; items next to each other that wait for the same are told once."""
    told = [
        list(group) for _, group in groupby(waiting, key=lambda each: (each["step"], each["state"], each["reason"]))
    ]
    print_table(
        [Column("waits for"), Column("state"), Column("", wraps=True), Column("since", spare=True)],
        [
            (
                output.safe(_together(group)),
                output.state(group[0]["state"]),
                output.safe(group[0]["reason"]),
                output.when(min((each["since"] for each in group if each["since"]), default=None)),
            )
            for group in told
        ],
    )


def _together(group: Sequence[Document]) -> str:
    first, last = (_named(each) for each in (group[0], group[-1]))
    return first if len(group) == 1 else f"{first} … {last} ({len(group):,} items)"


def _named(about: Document) -> str:
    """Return the name of the step run that a failure or a wait is about."""
    return label_of({"name": about["step"], "map_index": about["map_index"]})


def _reasons(document: Document) -> list[str]:
    """Return what ended the run, what the gate said, what the canary showed, and why a promotion did not apply."""
    verdict, canary, promotion = document["verdict"], document["canary"], document["promotion"]
    return [
        *([document["reason"]] if document["reason"] else []),
        *(verdict["reasons"] if verdict else []),
        *(f"Canary: {reason}" for reason in (canary["reasons"] if canary else [])),
        *(promotion["reasons"] if promotion else []),
    ]


def _told(steps: Sequence[Document]) -> Iterator[Document]:
    """Yield steps and items, each with its `label`; of very many items only those that did not simply succeed."""
    counts = Counter(step["name"] for step in steps if step["map_index"] is not None)
    for step in steps:
        count = counts[step["name"]]
        if step["map_index"] is not None:
            if count <= _ITEMS_IN_FULL or step["state"] != "succeeded" or len(step["attempts"]) > 1:
                yield {**step, "label": label_of(step)}
        else:
            yield {**step, "label": f"{step['name']} ({count:,} items)" if count else step["name"]}


def _step_rows(step: Document) -> Iterator[tuple[str, ...]]:
    if not step["attempts"]:
        yield (step["label"], "–", output.state(step["state"]), "–", "–", "–", "–")
    for attempt in step["attempts"]:
        yield (
            step["label"] if attempt is step["attempts"][0] else "",
            str(attempt["number"]),
            output.state(attempt["state"]),
            output.seconds(attempt["wall_seconds"]),
            output.seconds(attempt["cpu_seconds"]),
            output.memory(attempt["peak_memory_bytes"]),
            output.money(attempt["cost_usd"]) if attempt["ended_at"] else "–",
        )


def _troubles(step: Document) -> Iterator[tuple[str, list[str]]]:
    if step["state"] == "held":
        until = f"{datetime.fromisoformat(step['decide_by']):%Y-%m-%d %H:%M:%S} UTC"
        yield step["label"], [f"held until {until}: {step['reason']}"]
    elif step["decided_by"]:
        yield step["label"], [f"{step['decided_by']}: {step['reason']}"]
    elif not step["attempts"] and step["reason"]:
        yield step["label"], [step["reason"]]
    for attempt in step["attempts"]:
        if attempt["error"]:
            yield f"{step['label']} attempt {attempt['number']}", [attempt["error"]]
