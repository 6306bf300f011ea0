"""The project's pipelines, taken up anew when a file of them changed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podium.dag.catalogue import pipeline_files
from podium.dag.plan import Plan
from podium.errors import ConfigurationError
from podium.scheduling.scheduler import Fired
from podium.wiring.plans import load_plans
from podium.wiring.project import Project

_LOOK_SECONDS = 2.0
_LOOKS_UNTIL_REPAIR = 30

TakeUp = Callable[[Sequence[Plan], Sequence[str]], Sequence[Fired]]
"""Takes up what plans say; the pipelines of the broken files that are named beside stay as they are."""

_Stamp = tuple[int, int]


@dataclass
class CodeWatch:
    """Looks every two seconds whether a file was edited, by its time and size, and every minute in any case."""

    project: Project
    take_up: Sequence[TakeUp]
    observe: Callable[[Fired], None]
    _seen: dict[Path, _Stamp | None] = field(default_factory=dict)
    _modules: dict[str, set[Path]] = field(default_factory=dict)
    _looks: int = _LOOKS_UNTIL_REPAIR  # the first one loads
    _told: set[str] = field(default_factory=set)

    def advance(self) -> float:
        """Look once; return after how many seconds the next look is due."""
        self._looks += 1
        if self._looks >= _LOOKS_UNTIL_REPAIR or self._stamps(self._seen) != self._seen:
            self._load()
            self._looks = 0  # only now: a load that the database kept from its end is made up for at the next look
        return _LOOK_SECONDS

    def _load(self) -> None:
        root, folder = self.project.settings.root, self.project.settings.pipelines_folder
        always = [folder, *pipeline_files(folder)]
        before = self._stamps({*always, *self._seen})
        loaded = load_plans(self.project)
        problems = {problem.message for problem in loaded.problems}
        payable = self._payable(list(loaded.plans.values()), problems)
        broken = [file for problem in loaded.problems for file in problem.files]
        unpriced = [plan.file for plan in loaded.plans.values() if plan not in payable]
        for take_up in self.take_up:
            for each in take_up(payable, [*broken, *unpriced]):
                self.observe(each)
        for message in sorted(problems - self._told):
            self.observe(Fired("", "problem", message))
        self._told = problems
        # What a broken file imports is not known, and what it imported before may be what is broken.
        self._modules = {file: modules for file, modules in self._modules.items() if file in broken}
        for plan in loaded.plans.values():
            self._modules.setdefault(plan.file, set()).update(root / file for file in plan.modules)
        watched = {*always, *(path for modules in self._modules.values() for path in modules)}
        # Files as they were before they were read, where known: what changed meanwhile is seen at the next look.
        self._seen = {path: before[path] if path in before else _stamp(path) for path in watched}

    def _payable(self, plans: list[Plan], problems: set[str]) -> list[Plan]:
        """Return the plans whose runs could be paid for; why others could not is added to `problems`."""
        try:
            self.project.require_runnable(*plans)
        except ConfigurationError:
            pass
        else:
            return plans
        found = []
        for plan in plans:
            try:
                self.project.require_runnable(plan)
                found.append(plan)
            except ConfigurationError as error:
                problems.add(f"The schedule of {plan.pipeline} is not taken up: {error}")
        return found

    @staticmethod
    def _stamps(paths: Iterable[Path]) -> dict[Path, _Stamp | None]:
        return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> _Stamp | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size
