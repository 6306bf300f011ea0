"""What this machine has to give."""

import os
from pathlib import Path

import pytest

from podium.execution.capacity import memory_limits, of_this_machine


def test_cores_are_those_that_this_process_may_use_and_memory_is_there() -> None:
    here = of_this_machine(slots=3)
    assert (here.cpu, here.slots) == (len(os.sched_getaffinity(0)), 3)
    assert 0 < here.memory_bytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


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
