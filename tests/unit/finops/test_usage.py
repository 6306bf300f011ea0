from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from podium.errors import InternalError
from podium.finops.usage import UsageRecord, billed

Build = Callable[..., UsageRecord]


def test_the_reservation_is_billed_whatever_was_used(usage: Build) -> None:
    idle, busy = usage(cpu_seconds=0.0), usage(cpu_seconds=4800.0, peak_memory_bytes=2**40)
    assert billed(idle) == billed(busy)
    assert [(part.resource.name, part.amount) for part in billed(idle)] == [
        ("cpu", Decimal("1200.000000")),
        ("memory", Decimal("1800.000000")),
    ]


def test_use_beyond_the_reservation_shows_as_efficiency_above_one(usage: Build) -> None:
    assert usage().cpu_efficiency == 1.25
    assert usage().memory_efficiency == pytest.approx(1 / 3)


def test_use_that_no_meter_saw_is_unknown_not_zero(usage: Build) -> None:
    unmetered = usage(cpu_seconds=None, peak_memory_bytes=None, meter_quality="missing")
    assert unmetered.cpu_efficiency is None
    assert unmetered.memory_efficiency is None


def test_a_gpu_is_billed_where_one_is_reserved(usage: Build) -> None:
    assert [part.resource.sku for part in billed(usage(gpu=2))][-1] == "gpu.standard"
    assert billed(usage(gpu=2))[-1].amount == Decimal(1200)


def test_a_quantity_is_rounded_once_half_to_even(usage: Build) -> None:
    # 0.5 cores for 0.000001 s is half a unit of the sixth decimal.
    assert billed(usage(cpu=0.5, wall_seconds=0.000001))[0].amount == Decimal("0.000000")
    assert billed(usage(cpu=1.5, wall_seconds=0.000001))[0].amount == Decimal("0.000002")


@pytest.mark.parametrize("wall_seconds", [float("nan"), float("inf"), -0.001])
def test_a_wall_time_that_cannot_be_billed_is_a_bug_that_is_named(usage: Build, wall_seconds: float) -> None:
    with pytest.raises(InternalError, match=r"attempt-1 .*wall_seconds"):
        usage(wall_seconds=wall_seconds, ended_at=usage().ended_at)


def test_a_clock_set_back_does_not_turn_the_charge_period_round(usage: Build) -> None:
    set_back = usage(ended_at=usage().started_at - timedelta(seconds=5))
    assert set_back.charge_end == set_back.started_at
    assert billed(set_back) == billed(usage())
