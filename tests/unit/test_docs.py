"""The documents say what is so: their examples run, their commands exist, their links lead somewhere."""

import doctest
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from podium import faults
from podium.cli.main import app
from podium.db.schema.execution import ATTEMPT_ENDED
from podium.execution.progress import Progress
from podium.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *(ROOT / "docs").glob("*.md")]
)
WITH_EXAMPLES = [path for path in DOCUMENTS if ">>>" in path.read_text(encoding="utf-8")]
MODULES = sorted(path for path in (ROOT / "platform").rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))
REFERENCE = ROOT / "docs" / "reference.md"

_KIND = re.compile(r'"((?:run|step)\.[a-z_]+|attempt\.started)"')
EVENTS = sorted(
    {
        *(f"attempt.{state}" for state in ATTEMPT_ENDED),
        *(f"{subject}.{state}" for subject in ("run", "step") for state in ("succeeded", "failed")),
        *(
            kind
            for path in (ROOT / "platform" / "podium" / "execution").glob("*.py")
            for kind in _KIND.findall(path.read_text(encoding="utf-8"))
            if kind not in faults.POINTS
        ),
    }
)
"""The kinds of events that execution records."""

_CODE = re.compile(r"```.*?```", re.DOTALL)
_SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_INLINE = re.compile(r"`(podium [^`]+)`")
_LINE = re.compile(r"^(podium [^#\n]*)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def commands(document: Path) -> list[str]:
    text = read(document)
    fenced = [line.strip() for block in _SHELL.findall(text) for line in _LINE.findall(block)]
    return fenced + _INLINE.findall(_CODE.sub("", text))


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = _HEADING.findall(_CODE.sub("", read(document)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def refusal(command: str) -> str | None:
    """Return why the words of `command` are no command, or not its arguments and options; None if they are."""
    words = shlex.split(command)[1:]
    found: Any = typer.main.get_command(app)
    while isinstance(found, TyperGroup) and words:
        if words[0] not in found.commands:
            return f"there is no {words[0]!r}"
        found, words = found.commands[words[0]], words[1:]
    if not words:
        return None  # only named, not written out
    # N stands for a number, [DIR] for an argument that may be left out.
    given = ["1" if word == "N" else word.strip("[]") for word in words]
    try:
        found.make_context("podium", given).close()
    except typer.TyperException as error:
        return str(error)
    return None


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_example_in_a_module_runs(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT / "platform").with_suffix("").parts).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("document", WITH_EXAMPLES, ids=named)
def test_every_example_in_a_document_runs(document: Path) -> None:
    result = doctest.testfile(str(document), module_relative=False, encoding="utf-8")
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    assert {command: why for command in commands(document) if (why := refusal(command))} == {}


@pytest.mark.parametrize("command", ["podium runs shwo 1", "podium run digits --fro 2013-03", "podium runs cancel 1"])
def test_a_command_that_does_not_exist_would_be_found(command: str) -> None:
    assert refusal(command) is not None


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    broken = []
    for target in _LINK.findall(_CODE.sub("", read(document))):
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if "://" not in target and (not path.exists() or (anchor and anchor not in anchors(path))):
            broken.append(target)
    assert broken == []


def test_the_reference_names_every_command() -> None:
    def leaves(command: Any, path: str) -> Iterator[str]:
        if isinstance(command, TyperGroup):
            for name, inner in command.commands.items():
                yield from leaves(inner, f"{path} {name}")
        else:
            yield path

    told = [f"{command} " for command in commands(REFERENCE)]
    everything = leaves(typer.main.get_command(app), "podium")
    assert [path for path in everything if not any(command.startswith(f"{path} ") for command in told)] == []


def test_the_reference_names_every_setting() -> None:
    told = set(re.findall(r"^\| `(\w+)` \| `PODIUM_\w+` \|", read(REFERENCE), re.MULTILINE))
    assert told == set(Settings.model_fields) - {"root", "home"}


def test_the_reference_names_every_fault_point() -> None:
    told = read(REFERENCE).partition("## Fault points")[2]
    assert set(re.findall(r"`(\w+\.\w+)`", told)) == faults.POINTS


def test_the_executor_s_moves_are_named_as_in_the_code() -> None:
    told = read(ROOT / "docs" / "executor.md").partition("## The state machine")[2]
    named = set(re.findall(r"`(\w+)\.(\w+)`", told))
    functions = {each for each in named if each[0] not in ("Progress", "run", "step", "step_run", "attempt")}
    assert len(functions) > 6
    missing = [
        each for each in functions if not hasattr(importlib.import_module(f"podium.execution.{each[0]}"), each[1])
    ]
    assert missing == []
    assert [method for owner, method in named if owner == "Progress" and not hasattr(Progress, method)] == []


@pytest.mark.parametrize("event", EVENTS)
def test_the_executor_s_events_are_told(event: str) -> None:
    assert f"`{event}`" in read(ROOT / "docs" / "executor.md")


def test_the_readme_shows_the_demo_pipeline_as_it_is() -> None:
    head = "def flight_delay(month: Interval) -> None:\n"
    _, _, body = read(ROOT / "pipelines" / "flight_delay.py").partition(head)
    _, _, shown = read(ROOT / "README.md").partition(head)
    body = body.partition('"""\n')[2].replace("label=LABEL", 'label="late"')
    assert shown.startswith(body.rstrip("\n"))
