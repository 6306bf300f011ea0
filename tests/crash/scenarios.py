"""Ways in which a run dies, each followed by running it again to its end and by the checker's verdict."""

from collections.abc import Sequence
from random import Random

from podium import faults
from tests.crash import kills
from tests.crash.checker import EndedAttempt, ended_attempts, problems
from tests.crash.projects import CrashProject

# In the order in which a run comes to them. A point that neither pipeline comes to fails its test.
MODEL_POINTS = (
    "registry.before_log_model",
    "registry.after_log_model",
    "registry.before_create_version",
    "registry.after_create_version",
    "registry.after_record_version",
    "promotion.before_compare",
    "promotion.after_intent",
    "promotion.after_alias",
    "promotion.after_applied",
)
RUN_POINTS = tuple(sorted(faults.POINTS - set(MODEL_POINTS)))


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
        self._look_around()

    def at_a_random_moment(self, random: Random) -> bool:
        """Kill everything between the start of the first step and the end of the run; False if the run was faster."""
        with self.project.go_on() as process:
            if not kills.wait_for_line(process, " started"):
                self.problems.append(f"the run ended (exit {process.wait()}) before its first step started")
            elif kills.ended_within(process, random.uniform(0.0, self.project.template.seconds)):
                return False
            else:
                kills.kill(process.pid, "tree")
        self._look_around()
        return True

    def inside_a_step(self, part: kills.Part) -> None:
        """Kill a part of a run while a step of it, and a process that the step started, are at work."""
        with kills.held(self.project.root) as hold, self.project.go_on() as process:
            hold.wait()
            kills.kill(process.pid, part)
        self._look_around()

    def end(self) -> list[str]:
        """Run it again to its end, undisturbed, and return everything that is wrong."""
        self.project.finish()
        self._look_around(kill=False)
        template = self.project.template
        with self.project.opened() as opened:
            self.problems += problems(
                opened, undisturbed=template.charged, registers=template.registers, before=self._before
            )
        return self.problems

    def _look_around(self, *, kill: bool = True) -> None:
        """Right after a kill or an end: nothing of it is alive soon, and what had ended is remembered."""
        left = kills.survivors(self.project.home)
        if left:
            self.problems.append(f"alive {kills.GONE_WITHIN_SECONDS:g} s later: {left}")
            kills.end_survivors(self.project.home)
        if kill:
            with self.project.opened() as opened:
                self._before.append(ended_attempts(opened))


def one_after_the_other(project: CrashProject, points: Sequence[str]) -> list[str]:
    """Let one run die at each point in turn."""
    crashes = Crashes(project)
    for point in points:
        crashes.at_point(point)
    return crashes.end()


def random_kill(project: CrashProject, random: Random) -> list[str] | None:
    """Kill a whole run once at a random moment; None if it had ended before that."""
    crashes = Crashes(project)
    return crashes.end() if crashes.at_a_random_moment(random) else None


def part_killed(project: CrashProject, part: kills.Part) -> list[str]:
    """Kill one part of a run inside a step."""
    crashes = Crashes(project)
    crashes.inside_a_step(part)
    return crashes.end()
