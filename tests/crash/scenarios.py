"""Ways in which a run dies, each followed by running it again to its end and by the checker's verdict."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from tests.crash import kills
from tests.crash.checker import EndedAttempt, ended_attempts, problems
from tests.crash.projects import CrashProject

# Each in the order in which a run comes to them. A point that no pipeline comes to fails its test.
RUN_POINTS = (
    "run.before_create",
    "run.after_create",
    "worker.before_start",
    "worker.after_start",
    "attempt.before_start",
    "attempt.after_start",
    "rescue.before_commit",
    "rescue.after_commit",
    "heartbeat.before_commit",
    "heartbeat.after_commit",
    "slot.before_execute",
    "artifact.before_rename",
    "artifact.after_rename",
    "slot.before_result",
    "attempt.before_end",
    "fan_out.before_commit",
    "attempt.after_end",
)
# What a person, or a deadline, sets in motion in a run: test_act_crashes.py dies at them.
ACT_POINTS = ("act.before_commit", "act.after_commit", "deadline.before_commit", "deadline.after_commit")
CANCEL_POINTS = (
    "cancel at act.before_commit",
    "cancel at act.after_commit",
    "resume at act.before_commit",
    "resume at act.after_commit",
)
STOP_POINTS = ("interrupt.before_commit", "interrupt.after_commit", "worker.before_end", "worker.after_end")
MODEL_POINTS = (
    "registry.before_log_model",
    "registry.after_log_model",
    "registry.before_attach",
    "registry.after_attach",
    "registry.before_create_version",
    "registry.after_create_version",
    "registry.after_record_version",
    "promotion.before_compare",
    "promotion.after_intent",
    "promotion.after_alias",
    "promotion.after_applied",
)
CANARY_POINTS = (
    "canary.before_open",
    "canary.after_open",
    "canary.after_alias",
    "canary.after_look",
    "canary.after_promotion",
    "canary.before_end",
    "canary.after_end",
)

# No run comes to these: tests/integration/test_collection_command.py kills `podium gc` there.
COLLECTION_POINTS = ("gc.before_delete", "gc.after_delete")

# Nor to these: what goes on beside runs dies there in tests/integration/test_schedules.py, test_triggers.py,
# test_alerts.py and test_backfills.py; and the guard, who approves, adopts or advances, in
# tests/crash/test_promotion_crashes.py.
BESIDE_RUNS = (
    "promotion.after_proposal",
    "promotion.before_decision",
    "promotion.after_decision",
    "adopt.after_version",
    "adopt.after_alias",
    "advance.after_evidence",
    "advance.after_copy",
    "guard.after_noticed",
    "guard.after_restore",
    "tick.before_commit",
    "tick.after_commit",
    "trigger.before_commit",
    "trigger.after_commit",
    "alert.before_collect",
    "alert.after_collect",
    "alert.before_send",
    "alert.after_send",
    "backfill.before_admit",
    "backfill.after_admit",
    "backfill.before_cancel",
    "backfill.after_cancel",
    "backfill.after_cancel_run",
)


class Crashes:
    """One project's story: what had ended at each kill, and what did not go as it must."""

    def __init__(self, project: CrashProject) -> None:
        self.project = project
        self.problems: list[str] = []
        self._before: list[frozenset[EndedAttempt]] = []

    def at_point(self, point: str) -> None:
        """Go on with a point armed; where a slot dies of it and its step would be tried again, kill the tree there.

        So a step that is tried again dies of the point once, and the kill comes while it waits for its next attempt.
        """
        with self.project.go_on(faults=f"{point}:kill") as process:
            if kills.wait_for_line(process, "tried again"):
                kills.kill(process.pid, "tree")
        if process.returncode == 0:
            self.problems.append(f"nothing died: the point {point} was not reached")
        self.look_around()

    def at_a_random_moment(self, random: Random, part: kills.Victims = "tree") -> bool:
        """Kill a part between the start of the first step and the end of the run; False if the run was faster."""
        with self.project.go_on() as process:
            if not kills.wait_for_line(process, " started"):
                self.problems.append(f"the run ended (exit {process.wait()}) before its first step started")
            elif kills.ended_within(process, random.uniform(0.0, self.project.template.seconds)):
                return False
            else:
                kills.kill(process.pid, part)
        self.look_around()
        return True

    def inside_a_step(self, part: kills.Part) -> None:
        """Kill a part of a run while a step of it, and a process that the step started, are at work."""
        with kills.held(self.project.root) as hold, self.project.go_on() as process:
            hold.wait()
            kills.kill(process.pid, part)
        self.look_around()

    def of_a_slot_at(self, point: str) -> None:
        """Kill the slots of a run while its supervisor is at a point; the run goes on by itself."""
        armed = f"{point}:barrier=2"
        with self.project.go_on(faults=armed) as process, kills.at_barrier(self.project.home, point):
            kills.kill(process.pid, "slots")
        self.look_around()

    def of_a_worker(self) -> None:
        """Leave a run to a `podium worker`, kill all of that inside a step, and let another worker end the run."""
        project = self.project
        run_id = project.leave_to_a_worker()
        with kills.held(project.root) as hold, project.podium("worker") as worker:
            hold.wait()
            kills.kill(worker.pid, "tree")
        self.look_around()
        with self.working() as worker:
            self.expect(worker, f"{run_id} succeeded")

    def of_a_worker_that_is_stopped(self, point: str) -> None:
        """Tell a worker inside a step to stop, and kill it at a point of its stopping."""
        self.project.leave_to_a_worker()
        with kills.held(self.project.root) as hold, self.project.podium("worker", faults=f"{point}:kill") as worker:
            hold.wait()
            worker.terminate()
        if worker.returncode == 0:
            self.problems.append(f"nothing died: the point {point} was not reached")
        self.look_around()

    def of_a_cancel_and_its_resume(self, points: Sequence[str]) -> None:
        """Cancel a run that nobody executes yet and go on with it; both die at each of their points in turn."""
        run_id = self.project.leave_to_a_worker()
        for point in points:
            act, _, place = point.partition(" at ")
            armed, cancels = f"{place}:kill", act == "cancel"
            cancel = ("runs", "cancel", run_id, "--reason", "not now")
            with self.project.podium(*cancel, faults=armed) if cancels else self.project.go_on(faults=armed) as process:
                pass
            if process.returncode == 0:
                self.problems.append(f"nothing died: the point {point} was not reached")
            self.look_around()

    @contextmanager
    def working(self, **options: Any) -> Iterator["subprocess.Popen[str]"]:
        """Have a `podium worker` during the block, and stop it then; it must end well."""
        with self.project.podium("worker", **options) as worker:
            yield worker
            worker.terminate()
            _, said = worker.communicate()
        if worker.returncode != 0:
            self.problems.append(f"the worker exited {worker.returncode} when it was stopped: {said}")

    def expect(self, process: "subprocess.Popen[str]", words: str) -> None:
        """Wait until a process says this."""
        if not kills.wait_for_line(process, words):
            self.problems.append(f"a process ended (exit {process.wait()}) without saying {words!r}")

    def end(self) -> list[str]:
        """Run it again to its end, undisturbed, and return everything that is wrong."""
        self.project.finish()
        self.look_around(kill=False)
        undisturbed = self.project.template.undisturbed
        assert undisturbed is not None
        with self.project.opened() as opened:
            self.problems += problems(opened, undisturbed=undisturbed, before=self._before)
        return self.problems

    def look_around(self, *, kill: bool = True) -> None:
        """Right after a kill or an end: nothing of it is alive soon, and what had ended is remembered."""
        left = kills.survivors(self.project.home)
        if left:
            self.problems.append(f"alive {kills.GONE_WITHIN_SECONDS:g} s later: {left}")
            kills.end_survivors(self.project.home)
        if kill:
            self.look_at_what_had_ended()

    def look_at_what_had_ended(self) -> None:
        """Remember what had ended by now; nothing that happens from now on may change it."""
        with self.project.opened() as opened:
            self._before.append(ended_attempts(opened))


def one_after_the_other(project: CrashProject, points: Sequence[str]) -> list[str]:
    """Let one run die at each point in turn."""
    crashes = Crashes(project)
    for point in points:
        crashes.at_point(point)
    return crashes.end()


RANDOM_PARTS: tuple[kills.Victims, ...] = ("tree", "supervisor", "host", "slots")


def random_kill(project: CrashProject, random: Random, part: kills.Victims = "tree") -> list[str] | None:
    """Kill a whole run, or a part of it, once at a random moment; None if it had ended before that."""
    crashes = Crashes(project)
    return crashes.end() if crashes.at_a_random_moment(random, part) else None


def part_killed(project: CrashProject, part: kills.Part) -> list[str]:
    """Kill one part of a run inside a step."""
    crashes = Crashes(project)
    crashes.inside_a_step(part)
    return crashes.end()


def slot_killed(project: CrashProject, point: str) -> list[str]:
    """Kill what a step runs in while its supervisor is at a point."""
    crashes = Crashes(project)
    crashes.of_a_slot_at(point)
    return crashes.end()


def worker_killed(project: CrashProject) -> list[str]:
    """Kill a whole worker inside a step of a run that was left to it; another one ends the run."""
    crashes = Crashes(project)
    crashes.of_a_worker()
    return crashes.end()


def worker_stopped(project: CrashProject, points: Sequence[str]) -> list[str]:
    """Kill workers that were told to stop at each point in turn."""
    crashes = Crashes(project)
    for point in points:
        crashes.of_a_worker_that_is_stopped(point)
    return crashes.end()


def cancelled(project: CrashProject, points: Sequence[str]) -> list[str]:
    """Cancel and resume one run, dying at each point of both."""
    crashes = Crashes(project)
    crashes.of_a_cancel_and_its_resume(points)
    return crashes.end()
