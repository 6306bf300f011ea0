"""A version's provenance as a tree for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podium.cli import output

_SHOWN = 12
Branch = tuple[str, Sequence[str]]


def lines(document: Mapping[str, Any]) -> list[str]:
    """Return the tree of a provenance document, one branch for each thing that the version rests on."""
    names = ", ".join(document["aliases"]["names"]) or "no alias"
    origin = document["origin"]
    if document["copied_from"] is not None:
        origin += f" from {document['copied_from']['model']} version {document['copied_from']['version']}"
    said = [f"{document['model']} version {document['version']}: {origin}, {names}"]
    branches = [branch for branch in _branches(document) if branch[1]]
    for number, (name, leaves) in enumerate(branches, start=1):
        last = number == len(branches)
        said.append(f"{'└─' if last else '├─'} {name}")
        said += [f"{'  ' if last else '│ '}   {leaf}" for leaf in leaves]
    return said


def _branches(document: Mapping[str, Any]) -> Iterator[Branch]:
    yield "unknown", document["unknown"]
    yield "data", _data(document["data"])
    yield "code", _code(document["code"])
    yield "run", _run(document["run"])
    yield "evidence", _evidence(document["evidence"])
    yield "promotions and sign-off", [leaf for move in document["promotions"] for leaf in _move(move)]
    yield "canary", [leaf for canary in document["canaries"] for leaf in _canary(canary)]
    yield "model", _model(document)
    yield "champion", [_live(live) for live in document["history"]["live"]] or ["never"]
    yield "history", _history(document["history"])
    yield "cost", _cost(document["cost"])
    yield "document", [f"digest {document['document_digest']}"]


def _data(data: Mapping[str, Any] | None) -> list[str]:
    if data is None:
        return []
    interval = data["interval"]
    words = {"read": "read on the way", "candidate": "the estimator", "holdout": "judged on", "replayed": "tried on"}
    return [
        f"digest {data['digest'][:_SHOWN]}, interval {interval['start'][:10]} to {interval['end'][:10]}",
        *(
            f"{words[each['role']]}: {each['digest'][:_SHOWN]}"
            + (f" ({each['step']}.{each['output']}, {each['size_bytes']:,} bytes)" if each["step"] else "")
            + (", removed" if each["removed"] else "")
            for each in data["artifacts"]
        ),
    ]


def _code(code: Mapping[str, Any] | None) -> list[str]:
    if code is None:
        return []
    said = [f"digest {code['code_digest'][:_SHOWN]}"]
    if code["modules"] is not None:
        said.append(f"{code['file']}, {len(code['modules'])} modules, plan {code['plan_digest'][:_SHOWN]}")
    return said


def _run(run: Mapping[str, Any] | None) -> list[str]:
    if run is None:
        return []
    attempts = [attempt for step in run["steps"] for attempt in step["attempts"]]
    return [
        f"{run['run_id']} of {run['pipeline']} for {run['interval_name']}: {run['state']}, outcome {run['outcome']}",
        f"asked for by {_who(run)} ({run['trigger']}) at {output.when(run['created_at'])}",
        *(
            f"{step['name']}: {step['state']}{' from cache' if step['cached'] else ''}, "
            f"{len(step['attempts'])} attempts"
            for step in run["steps"]
            if step["map_index"] is None
        ),
        f"{len(attempts)} attempts, {sum(attempt['wall_seconds'] or 0 for attempt in attempts):.1f} s in all",
    ]


def _evidence(evidence: Mapping[str, Any] | None) -> list[str]:
    if evidence is None:
        return []
    return [
        f"{evidence['verdict']}, digest {evidence['digest'][:_SHOWN]}"
        + ("" if evidence["intact"] else ", but the stored document was changed"),
        *evidence["document"].get("reasons", []),
    ]


def _move(move: Mapping[str, Any]) -> list[str]:
    asked = f"asked for by {_who(move)} at {output.when(move['proposed_at'])} ({move['reason']})"
    return [
        f"{move['action']} {move['from_version'] or 'none'} → {move['to_version']}: {move['state']}, {asked}",
        *(f"  {reason}" for reason in move["reasons"]),
        *(
            f"  {'approved' if each['decision'] == 'approve' else 'rejected'} by {_who(each)} at "
            f"{output.when(each['at'])} ({each['reason']})"
            for each in move["approvals"]
        ),
    ]


def _canary(canary: Mapping[str, Any]) -> list[str]:
    looked = f"{canary['looks']} looks at {canary['position']:,} of {canary['horizon']:,} requests"
    return [
        f"{canary['canary_id']} against version {canary['champion']}: {canary['state']} after {looked}",
        *(f"  {reason}" for reason in canary["reasons"]),
    ]


def _model(document: Mapping[str, Any]) -> list[str]:
    files, environment = document["files"], document["environment"]
    said = [f"digest {files['recorded_digest'][:_SHOWN]} at {files['source']}"]
    if files["problem"] is not None:
        said.append(files["problem"])
    if files["sha256"] is not None:
        said.append(f"{len(files['sha256'])} files, {files['serialization'] or 'serialisation unknown'}")
    if environment is not None:
        requirements = ", ".join(environment["requirements"] or ["requirements unknown"])
        said.append(f"Python {environment['python'] or 'unknown'}; {requirements}")
    if document["inputs"] is not None:
        said.append(f"takes {', '.join(column['name'] for column in document['inputs'])}")
    return said


def _live(live: Mapping[str, Any]) -> str:
    until = "now" if live["until"] is None else output.when(live["until"])
    return f"{output.when(live['since'])} to {until}: {live['fact']} by {live['actor']} ({live['reason']})"


def _history(history: Mapping[str, Any]) -> list[str]:
    count = len(history["entries"])
    sound = "the chain is whole" if history["ok"] else f"the chain is broken: {history['problem']}"
    return [f"{count} {'entry' if count == 1 else 'entries'} about it; {sound}, head {history['head']}"]


def _cost(cost: Mapping[str, Any] | None) -> list[str]:
    if cost is None:
        return []
    unpriced = f", {cost['unpriced']} entries without a price" if cost["unpriced"] else ""
    return [
        f"{output.money(cost['total'], cost['currency'])} in {cost['attempts']} attempts{unpriced}",
        *(f"{step['step']}: {output.money(step['amount'], cost['currency'])}" for step in cost["steps"]),
    ]


def _who(said: Mapping[str, Any]) -> str:
    return f"{said['actor']}{'' if said['actor_verified'] else ' (not verified)'}"
