"""The pipelines of a project: every file traced in a child process of its own, so that none can harm another.

The child is `python -m podium.dag.catalogue ROOT FILE ANSWER SECONDS [PIPELINE TEXTS]`: it traces one file, or reads
texts for the run parameters of a pipeline in it, and writes its answer as JSON to a file, since what pipeline code
prints belongs to the code.
"""

import difflib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.dag.plan import Plan
from podium.errors import DefinitionError, NotFound, UsageError

_SHOWN_CHARACTERS = 600


@dataclass(frozen=True)
class FileProblem:
    """Why a pipeline file has no plans; `file` is relative to the project's root, and so are `others` in it.

    Where only some `pipelines` of the file have none, these are named.
    """

    file: str
    message: str
    others: tuple[str, ...] = ()
    pipelines: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Every file the problem is one of: a name defined twice is as much the original's problem as the copy's."""
        return self.file, *self.others


@dataclass(frozen=True)
class Loaded:
    """The plans of a project by pipeline name, and the files that have none."""

    folder: Path
    plans: Mapping[str, Plan]
    problems: tuple[FileProblem, ...]

    def plan(self, pipeline: str) -> Plan:
        """Return the plan of `pipeline`; NotFound if there is none, DefinitionError if its file is broken."""
        if pipeline in self.plans:
            return self.plans[pipeline]
        for problem in self.problems:
            named = problem.pipelines or {Path(file).stem for file in problem.files}
            if pipeline in named:
                raise DefinitionError(problem.message)
        close = difflib.get_close_matches(pipeline, self.plans, n=1)
        parts = [f"There is no pipeline {pipeline!r}{f'; did you mean {close[0]}?' if close else '.'}"]
        if self.plans:
            parts.append(f"The pipelines in {self.folder} are {', '.join(sorted(self.plans))}.")
        elif not self.problems:
            parts.append(f"No *.py file in {self.folder} defines one; `podium init` makes a project with an example.")
        parts += [f"{problem.file} did not load: {problem.message}" for problem in self.problems]
        raise NotFound(" ".join(parts))


def trace_project(root: Path, folder: Path, timeout_seconds: float, known: Sequence[Plan] = ()) -> Loaded:
    """Trace every pipeline file in `folder`, several at once; a broken one leaves the others loaded.

    A file that one of the `known` plans was traced from is taken to be as it was, and not traced again.
    """
    root = root.absolute()
    settled = {plan.file for plan in known}
    files = [path for path in pipeline_files(folder.absolute()) if _shown(path, root) not in settled]
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(lambda file: trace_file(root, file, timeout_seconds), files))
    problems = [result for result in results if isinstance(result, FileProblem)]
    traced = [plan for result in results if isinstance(result, list) for plan in result]
    plans, duplicates = _by_name((*known, *traced))
    return Loaded(folder, plans, (*problems, *duplicates))


def pipeline_files(folder: Path) -> list[Path]:
    """Return the `*.py` files of `folder`, sorted, but for those whose name begins with `_`."""
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith("_") and path.is_file())


def trace_file(root: Path, path: Path, timeout_seconds: float) -> list[Plan] | FileProblem:
    """Return the plans of one pipeline file, traced in a child process, or why it has none."""
    document = _ask_child(root, path, timeout_seconds)
    if isinstance(document, FileProblem):
        return document
    if document["problem"] is not None:
        return FileProblem(_shown(path, root), document["problem"])
    return [Plan.from_document(plan) for plan in document["plans"]]


def read_parameters(root: Path, plan: Plan, texts: Mapping[str, str], timeout_seconds: float) -> dict[str, Any]:
    """Return the values, encoded as JSON, of texts for run parameters, read in a child process by pydantic.

    UsageError for a text that is none; DefinitionError where the pipeline file does not load.
    """
    root = root.absolute()
    asked = [plan.pipeline, json.dumps(dict(texts))]
    document = _ask_child(root, root / plan.file, timeout_seconds, asked)
    if isinstance(document, FileProblem):
        raise DefinitionError(document.message)
    if document["problem"] is not None:
        raise (UsageError if document["wrong_text"] else DefinitionError)(document["problem"])
    found: dict[str, Any] = document["values"]
    return found


def _ask_child(
    root: Path, path: Path, timeout_seconds: float, asked: Sequence[str] = ()
) -> dict[str, Any] | FileProblem:
    """Return the answer of a child process about one file, or why there is none."""
    file = _shown(path, root)
    with tempfile.TemporaryDirectory(prefix="podium-trace-") as scratch:
        answer, output = Path(scratch, "answer.json"), Path(scratch, "output.txt")
        with output.open("wb") as stream:
            code = _run_child(
                [str(root), str(path), str(answer), str(timeout_seconds), *asked],
                root,
                stream.fileno(),
                timeout_seconds,
            )
        if code is None:
            return FileProblem(
                file,
                f"{file} did not finish importing in {timeout_seconds:g} s and was stopped; move slow work "
                "into a step, or raise trace_timeout_seconds.",
            )
        if not answer.exists():
            return FileProblem(file, f"{file} {_ending(code)} while it was imported; correct it.{_last(output)}")
        document: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return document


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _run_child(arguments: list[str], root: Path, output: int, timeout_seconds: float) -> int | None:
    """Run the tracing child and end all it left behind; return its exit code, None if it ran out of time."""
    process = subprocess.Popen(
        # -P keeps the current folder off sys.path: `load_file` alone decides what is on it.
        [sys.executable, "-P", "-m", "podium.dag.catalogue", *arguments],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        ended = _wait(process.pid, timeout_seconds)
    finally:
        # The child is not reaped yet, so its process group cannot be anybody else's.
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return code if ended else None


def _wait(pid: int, timeout_seconds: float) -> bool:
    """Wait until the child `pid` has ended, without reaping it; False when the time is up."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(timeout_seconds * 1000)))
    finally:
        os.close(descriptor)


def _by_name(plans: Iterable[Plan]) -> tuple[dict[str, Plan], list[FileProblem]]:
    found: dict[str, list[Plan]] = {}
    for plan in plans:
        found.setdefault(plan.pipeline, []).append(plan)
    duplicates = [
        FileProblem(
            same[-1].file,
            f"Pipeline {name} is defined in {' and in '.join(plan.file for plan in same)}; rename all but one of them.",
            tuple(plan.file for plan in same[:-1]),
        )
        for name, same in found.items()
        if len(same) > 1
    ]
    return {name: same[0] for name, same in found.items() if len(same) == 1}, duplicates


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended its process with exit code {code}"
    return f"ended its process by {signal.Signals(-code).name}"


def _last(output: Path) -> str:
    text = output.read_text(encoding="utf-8", errors="replace").strip()[-_SHOWN_CHARACTERS:]
    return f" It printed last: {text}" if text else ""


def _child(root: str, path: str, answer: str, timeout_seconds: str, *asked: str) -> None:
    """Write the answer about one file to `answer` and end this process, threads or not.

    It is `{"plans", "problem"}`, or `{"values", "problem", "wrong_text"}` where texts for a pipeline are asked about.
    """
    signal.alarm(math.ceil(float(timeout_seconds)) + 1)  # ends the child even if nobody is left to stop it
    from podium.dag.loading import read_texts_of, trace_loaded

    document: dict[str, object] = {"problem": None}
    try:
        if asked:
            pipeline, texts = asked
            document["values"] = read_texts_of(Path(root), Path(path), pipeline, json.loads(texts))
        else:
            document["plans"] = [plan.to_document() for plan in trace_loaded(Path(root), Path(path))]
    except (DefinitionError, UsageError) as error:
        document |= {"problem": str(error), "wrong_text": isinstance(error, UsageError)}
    draft = Path(answer + ".draft")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(answer)  # an answer is whole, or there is none
    os._exit(0)


if __name__ == "__main__":
    _child(*sys.argv[1:])
