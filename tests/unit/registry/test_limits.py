"""What a candidate may need: time for a row, bytes, money; each known, within its limit, over it, or unknown."""

import pickle
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from podium.errors import EvaluationError
from podium.registry.evidence import Evidence
from podium.registry.latency import LONGEST_SECONDS
from podium.registry.limits import serialized_bytes
from podium.registry.policy import GatePolicy, Limits
from tests.judging_world import Scripted, good, judged, weak


class Stopwatch:
    """A clock that only a model moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Timed(Scripted):
    """Answers as `good` does, and takes a time for each single row that depends on how often it was asked."""

    def __init__(self, watch: Stopwatch, seconds: Callable[[int], float]) -> None:
        self.watch, self.seconds, self.asked, self.model = watch, seconds, 0, good()
        self.feature_names_in_ = self.model.feature_names_in_

    def predict(self, features: pd.DataFrame) -> Any:
        if len(features) > 1:
            return self.model.predict(features)
        self.asked += 1
        self.watch.seconds += self.seconds(self.asked)
        return self.classes_[:1]

    def predict_proba(self, features: pd.DataFrame) -> Any:
        return self.model.predict_proba(features)


def timed(
    limits: Limits, candidate: Callable[[int], float], champion: Callable[[int], float] | None = None
) -> Evidence:
    """Judge a model that is better than its champion, if it has one, and as slow as it is told."""
    watch = Stopwatch()
    against: Any = None
    if champion is not None:
        against = Timed(watch, champion)
        against.model = weak()
    return judged(Timed(watch, candidate), against, policy=GatePolicy(limits=limits), timer=watch)


def test_the_latency_is_the_95th_percentile_of_the_least_times_of_single_rows() -> None:
    """5 calls warm up; then row n of 100 takes n/2 ms, but 150 ms in the second round: a pause of the machine."""

    def pauses(call: int) -> float:
        turn = call - 6
        return 0.2 if turn < 0 else 0.15 if 100 <= turn < 200 else (turn % 100 + 1) / 2000

    over = timed(Limits(latency_milliseconds=47), pauses)
    (limit,) = over.limits
    assert (limit.value, limit.allowed, limit.rows, limit.unknown) == (Decimal("47.5"), Decimal(47), 100, None)
    assert over.verdict == "failed"
    assert over.reasons[1] == "The p95 latency of a single row is 47.500 ms > 47.000 ms allowed (100 rows)."
    within = timed(Limits(latency_milliseconds=47.5), pauses)
    assert within.verdict == "passed"
    assert "The p95 latency of a single row is 47.500 ms ≤ 47.500 ms allowed (100 rows)." in within.reasons


def test_a_model_has_one_thread_while_it_is_timed() -> None:
    pools: list[int] = []

    def threads(call: int) -> float:
        pools.extend(pool["num_threads"] for pool in (threadpool_info() if call == 9 else []))
        return 0.0

    timed(Limits(latency_milliseconds=5), threads)
    assert set(pools) == {1}


def test_the_ratio_is_of_latencies_measured_in_turns() -> None:
    order: list[str] = []

    def noting(who: str, milliseconds: float) -> Callable[[int], float]:
        def seconds(_: int) -> float:
            order.append(who)
            return milliseconds / 1000

        return seconds

    evidence = timed(Limits(latency_ratio=1.5), noting("candidate", 3.0), noting("champion", 2.5))
    assert evidence.verdict == "passed", evidence.reasons
    (limit,) = evidence.limits
    assert (limit.value, limit.candidate, limit.champion) == (Decimal("1.2"), Decimal(3), Decimal("2.5"))
    assert (
        "The p95 latency of a single row over the champion's is 1.200 ≤ 1.500 allowed (3 ms / 2.5 ms, 100 rows)."
        in evidence.reasons
    )
    pairs = list(zip(order[::2], order[1::2], strict=True))
    assert all(set(pair) == {"candidate", "champion"} for pair in pairs)
    assert {pair[0] for pair in pairs} == {"candidate", "champion"}, "the same one is first every time"
    slower = timed(Limits(latency_ratio=1.1), noting("", 3.0), noting("", 2.5))
    assert slower.verdict == "failed"
    assert slower.reasons[0].startswith("The p95 latency of a single row over the champion's is 1.200 > 1.100 allowed")


def test_without_a_champion_there_is_no_ratio_and_without_time_it_is_unknown() -> None:
    first = timed(Limits(latency_ratio=1.5), lambda _: 0.001)
    assert (first.verdict, first.limits) == ("passed", ())
    unknown = timed(Limits(latency_ratio=1.5), lambda _: 0.001, lambda _: 0.0)
    assert unknown.verdict == "insufficient"
    assert "is unknown, 1.5 are allowed: the champion answers a row faster than" in unknown.reasons[0]


def test_a_model_too_slow_to_be_asked_often_fails_its_limit_or_proves_nothing() -> None:
    slow = LONGEST_SECONDS / 4
    over = timed(Limits(latency_milliseconds=20), lambda _: slow)
    assert over.verdict == "failed"
    assert over.limits[0].rows == 1
    within = timed(Limits(latency_milliseconds=10_000), lambda _: slow)
    assert within.verdict == "insufficient"
    assert within.reasons[1].endswith("No more rows were answered in time; 20 are needed.")


def test_the_same_rows_are_timed_and_no_interval_depends_on_it() -> None:
    policy = {"guards": ({"metric": "log_loss"},)}
    plain = judged(good(), weak(), policy=GatePolicy.from_document(policy))
    limited = judged(
        good(), weak(), policy=GatePolicy.from_document({**policy, "limits": {"latency_milliseconds": 1e6}})
    )
    assert limited.guards == plain.guards
    assert limited.limits[0].value is not None
    assert limited.limits[0].value > 0


def test_a_model_that_cannot_answer_one_row_is_named() -> None:
    class InBulk(Scripted):
        def predict(self, features: pd.DataFrame) -> Any:
            if len(features) == 1:
                raise RuntimeError("batch norm of one")
            return good().predict(features[["first", "second"]])

    candidate = InBulk(lambda features: good().predict_proba(features[["first", "second"]]))
    with pytest.raises(EvaluationError, match=r"candidate failed on a single row .*RuntimeError: batch norm of one"):
        judged(candidate, policy=GatePolicy(limits=Limits(latency_milliseconds=5)))


def test_the_size_is_what_cloudpickle_writes() -> None:
    candidate = good()
    size = serialized_bytes(candidate)
    assert size == pytest.approx(len(pickle.dumps(candidate, protocol=5)), rel=0.05)
    within = judged(candidate, policy=GatePolicy(limits=Limits(size_bytes=size)))
    assert within.verdict == "passed"
    assert f"The size of the candidate is {size:,} bytes ≤ {size:,} bytes allowed." in within.reasons
    over = judged(candidate, policy=GatePolicy(limits=Limits(size_bytes=size - 1)))
    assert over.verdict == "failed"
    assert f"The size of the candidate is {size:,} bytes > {size - 1:,} bytes allowed." in over.reasons
    assert serialized_bytes(np.zeros(1_000_000)) > 8_000_000


def test_a_candidate_that_cannot_be_written_has_an_unknown_size() -> None:
    candidate = good()
    candidate.lock = threading.Lock()
    evidence = judged(candidate, policy=GatePolicy(limits=Limits(size_bytes=10)))
    assert evidence.verdict == "insufficient"
    assert "is unknown, 10 bytes are allowed: cloudpickle cannot write the candidate (TypeError" in evidence.reasons[1]


@pytest.mark.parametrize(
    ("cost", "verdict", "reason"),
    [
        ("0.5", "passed", "The cost of the run so far is 0.50 USD ≤ 0.50 USD allowed."),
        ("0.500000000000000001", "failed", "is 0.500000000000000001 USD > 0.5 USD allowed."),
        ("0.512", "failed", "The cost of the run so far is 0.512 USD > 0.50 USD allowed."),
        ("0.0000604", "passed", "The cost of the run so far is 0.0000604 USD ≤ 0.50 USD allowed."),
        ("12.5", "failed", "The cost of the run so far is 12.50 USD > 0.50 USD allowed."),
        ("0", "passed", "The cost of the run so far is 0.00 USD ≤ 0.50 USD allowed."),
        (
            None,
            "insufficient",
            "The cost of the run so far is unknown, 0.5 USD are allowed: a part of what the run used",
        ),
    ],
)
def test_the_cost_is_exact_and_an_unknown_one_is_not_zero(cost: str | None, verdict: str, reason: str) -> None:
    policy = GatePolicy(limits=Limits(cost_usd=Decimal("0.50")))
    evidence = judged(good(), policy=policy, cost_usd=None if cost is None else Decimal(cost))
    assert evidence.verdict == verdict
    assert any(reason in each for each in evidence.reasons), evidence.reasons
    (limit,) = evidence.limits
    assert limit.value == (None if cost is None else Decimal(cost))
    assert Evidence.model_validate_json(evidence.model_dump_json()).digest == evidence.digest


def test_a_policy_without_limits_measures_none() -> None:
    watch = Stopwatch()
    candidate = Timed(watch, lambda _: 1.0)
    assert judged(candidate, timer=watch).limits == ()
    assert candidate.asked == 0
