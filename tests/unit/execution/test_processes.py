"""Process trees and meters, each in a process of its own: they change what the process is."""

import json
import subprocess
import sys
from typing import Any

HEADER = """\
import json, os, signal, sys, time
from podium.execution import meter
from podium.execution.processes import (
    adopt_orphans, children, descendants, end_descendants, end_tree, reap
)

def burn(seconds):
    while time.process_time() < seconds:
        pass

def tell(**facts):
    print(json.dumps(facts))
"""


def told(source: str) -> dict[str, Any]:
    """Run a script and return what it tells."""
    process = subprocess.run(
        [sys.executable, "-c", HEADER + source], capture_output=True, text=True, timeout=30, check=False
    )
    assert process.returncode == 0, process.stderr
    found: dict[str, Any] = json.loads(process.stdout)
    return found


def test_the_cpu_of_forty_short_grandchildren_is_counted() -> None:
    facts = told("""
measured = meter.Meter()
if os.fork() == 0:
    for _ in range(40):
        if os.fork() == 0:
            burn(0.01)
            os._exit(0)
        os.wait()
    os._exit(0)
os.wait()
usage = measured.stop()
tell(cpu=usage.cpu_seconds, wall=usage.wall_seconds, quality=usage.quality)
""")
    assert 0.4 <= facts["cpu"] <= 1.2
    assert facts["wall"] > 0
    assert facts["quality"] == "measured"


def test_a_double_forked_daemon_is_adopted_ended_and_reaped_and_its_cpu_counted() -> None:
    facts = told("""
adopt_orphans()
measured = meter.Meter()
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        burn(0.2)
        os.write(writing, b"x")
        signal.pause()
    os._exit(0)
os.wait()
os.read(reading, 1)
left = descendants(os.getpid())
ended = end_descendants(os.getpid())
reap(ended)
tell(left=len(left), same=ended == left, after=children(os.getpid()), cpu=measured.stop().cpu_seconds)
""")
    assert (facts["left"], facts["same"], facts["after"]) == (1, True, [])
    assert facts["cpu"] >= 0.2


def test_a_whole_tree_is_ended_and_reaped_nearest_first() -> None:
    facts = told("""
adopt_orphans()
reading, writing = os.pipe()
for _ in range(2):
    if os.fork() == 0:
        for _ in range(3):
            if os.fork() == 0:
                break
        os.write(writing, b"x")
        signal.pause()
for _ in range(8):
    os.read(reading, 1)
ended = end_descendants(os.getpid())
nearest = ended[:2]
reap(ended)
tell(count=len(ended), nearest=sorted(nearest) == sorted(nearest), after=children(os.getpid()))
""")
    assert (facts["count"], facts["after"]) == (8, [])


def test_reaping_does_not_wait_for_a_child_that_was_not_ended() -> None:
    facts = told("""
adopt_orphans()
if (killed := os.fork()) == 0:
    signal.pause()
ended = end_descendants(os.getpid())
if (living := os.fork()) == 0:
    signal.pause()
reap(ended)
tell(ended=ended == [killed], left=children(os.getpid()) == [living])
os.kill(living, signal.SIGKILL)
""")
    assert facts == {"ended": True, "left": True}


def test_a_process_that_replaces_its_dead_children_is_ended_too() -> None:
    facts = told("""
adopt_orphans()
reading, writing = os.pipe()
if (keeper := os.fork()) == 0:
    while True:
        if os.fork() == 0:
            os.write(writing, b"x")
            signal.pause()
        os.wait()
os.read(reading, 1)
end_tree(keeper)
os.waitpid(keeper, 0)
while children(os.getpid()):
    end_descendants(os.getpid())
    os.wait()
tell(left=children(os.getpid()))
""")
    assert facts == {"left": []}


def test_peak_memory_is_the_attempt_s_own() -> None:
    facts = told("""
peaks = []
for size in (200, 1, 50):
    measured = meter.Meter()
    block = bytearray(size * 2**20)
    del block
    peaks.append(measured.stop().peak_memory_bytes / 2**20)
tell(peaks=peaks)
""")
    large, small, medium = facts["peaks"]
    assert large >= 200
    assert small < 100
    assert 50 <= medium < 150


def test_a_sample_counts_a_page_that_forked_children_share_once() -> None:
    facts = told("""
block = os.urandom(60 * 2**20)
reading, writing = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.write(writing, b"x")
        signal.pause()
for _ in range(4):
    os.read(reading, 1)
seen = meter.sample(os.getpid())
end_descendants(os.getpid())
tell(memory=seen.memory_bytes / 2**20)
""")
    assert 60 <= facts["memory"] < 130


def test_a_sample_of_a_process_that_is_gone_is_unknown_and_not_zero() -> None:
    facts = told("""
if (child := os.fork()) == 0:
    os._exit(0)
os.wait()
tell(seen=meter.sample(child))
""")
    assert facts == {"seen": None}
