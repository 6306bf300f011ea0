"""What this machine has to give."""

import os
from pathlib import Path

import pytest

from podium.dag.plan import Resources
from podium.execution.capacity import Capacity, Machine, memory_limits, this_machine


def test_cores_are_those_that_this_process_may_use_and_memory_is_there() -> None:
    here = this_machine().capacity(slots=3)
    assert (here.cpu, here.slots) == (len(os.sched_getaffinity(0)), 3)
    assert 0 < here.memory_bytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_what_podium_is_told_of_a_machine_counts() -> None:
    assert this_machine(cpu=0.5, memory_bytes=7, gpu=2) == Machine(0.5, 7, ("0", "1"))
    assert this_machine(gpu=0).gpus == ()


def test_of_the_gpus_that_a_process_may_see_none_other_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, 3")
    assert this_machine().gpus == ("GPU-a", "3")
    assert this_machine(gpu=1).gpus == ("GPU-a",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine().gpus == ()


@pytest.mark.parametrize(
    ("needed", "lacking"),
    [
        (Resources(2.0, 2**30, 1), None),
        (Resources(2.5, 1, 0), "reserves 2.5 cores > 2 there are"),
        (Resources(1.0, 3 * 2**30, 0), "reserves 3.0 GiB > 1.0 GiB there are"),
        (Resources(1.0, 1, 2), "reserves 2 GPU > 1 there are"),
    ],
)
def test_what_is_lacking_is_said_as_an_inequality(needed: Resources, lacking: str | None) -> None:
    capacity = Capacity(2.0, 2**30, 1, 1)
    assert capacity.lacks(needed) == lacking
    assert capacity.holds(needed) == (lacking is None)


def test_tenths_of_cores_fill_a_core() -> None:
    left = Capacity(1.0, 2**30, 0, 20)
    for _ in range(10):
        assert left.holds(Resources(0.1, 1, 0))
        left = left.without(Resources(0.1, 1, 0))
    assert not left.holds(Resources(0.1, 1, 0))


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/a/b\n", {"a/memory.max": "4096", "a/b/memory.max": "max"}, [4096]),
        ("0::/a\n", {"a/memory.max": "2048", "memory.max": "4096"}, [2048, 4096]),
        ("0::/named/outside\n", {"memory.max": "1024"}, [1024]),
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "512", "a/memory.max": "1"}, [512]),
        ("3:cpu:/a\n", {"a/memory.max": "1"}, []),
    ],
    ids=["its group's parent", "both", "a container", "version 1", "no memory controller"],
)
def test_memory_is_limited_by_each_control_group_above_the_process(
    tmp_path: Path, membership: str, files: dict[str, str], limits: list[int]
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert list(memory_limits(membership, tmp_path)) == limits
