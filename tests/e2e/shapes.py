"""The JSON shapes that scripts rely on: which keys there are, and how money, times and versions are written."""

import re
from datetime import datetime, timedelta
from typing import Any

ATTEMPT = {
    "number", "state", "started_at", "ended_at", "wall_seconds", "cpu_seconds", "peak_memory_bytes", "cost_usd",
    "unpriced_entries", "error",
}  # fmt: skip
ENTRY = {
    "id", "at", "action", "from_version", "to_version", "actor", "actor_verified", "approvers", "reason",
    "evidence_digest", "state", "previous_hash", "hash",
}  # fmt: skip
LISTED_RUN = {
    "run_id", "pipeline", "interval", "trigger", "state", "outcome", "cost_usd", "unpriced_entries", "model",
    "verdict",
}  # fmt: skip
PROMOTION = {"promotion_id", "state", "model", "from_version", "to_version", "champion", "reasons"}


def is_money(text: Any) -> bool:
    """Whether it is a decimal as a string, without an exponent."""
    return isinstance(text, str) and re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


def is_instant(text: Any) -> bool:
    """Whether it is an ISO 8601 instant in UTC."""
    return isinstance(text, str) and datetime.fromisoformat(text).utcoffset() == timedelta(0)


def is_version(text: Any) -> bool:
    """Whether it is a model's version, a string, or none."""
    return text is None or (isinstance(text, str) and text.isdecimal())


def check_listed_run(run: dict[str, Any]) -> None:
    assert run.keys() >= LISTED_RUN
    assert run["interval"].keys() == {"start", "end"}
    assert is_instant(run["interval"]["start"])
    assert is_instant(run["interval"]["end"])
    assert is_money(run["cost_usd"])
    assert run["unpriced_entries"] == 0
    assert run["model"].keys() >= {"name", "version", "champion_before", "champion_after"}
    assert all(is_version(run["model"][key]) for key in ("version", "champion_before", "champion_after"))
    if run["verdict"] is not None:
        check_verdict(run["verdict"])


def check_verdict(verdict: dict[str, Any]) -> None:
    assert verdict.keys() >= {"result", "reasons", "metrics", "rows", "holdout_uses", "evidence_digest"}
    assert verdict["reasons"]
    for measurement in verdict["metrics"]:
        assert measurement.keys() == {"metric", "candidate", "champion", "baseline"}
        assert all(value is None or isinstance(value, float) for name, value in measurement.items() if name != "metric")
    assert isinstance(verdict["rows"], int)
    assert isinstance(verdict["holdout_uses"], int)
    assert re.fullmatch(r"[0-9a-f]{64}", verdict["evidence_digest"])


def check_run(run: dict[str, Any]) -> None:
    check_listed_run(run)
    assert run["steps"]
    for step in run["steps"]:
        assert step.keys() >= {"name", "map_index", "state", "cached", "attempts"}
        for attempt in step["attempts"]:
            assert attempt.keys() >= ATTEMPT
            assert is_instant(attempt["started_at"])
            assert is_instant(attempt["ended_at"])
            assert is_money(attempt["cost_usd"])


def check_entry(entry: dict[str, Any]) -> None:
    assert entry.keys() >= ENTRY
    assert is_instant(entry["at"])
    assert is_version(entry["from_version"])
    assert is_version(entry["to_version"])
    assert entry["actor_verified"] is False
    assert entry["approvers"] == []
    assert re.fullmatch(r"[0-9a-f]{64}", entry["hash"])


def check_promotion(promotion: dict[str, Any]) -> None:
    assert promotion.keys() >= PROMOTION
    assert is_version(promotion["from_version"])
    assert is_version(promotion["to_version"])
    assert is_version(promotion["champion"])
    assert isinstance(promotion["reasons"], list)
