"""Every command's `--help`: it names what it takes, and it has an example that the command itself understands."""

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from typer.main import get_command

from podium.cli.main import app
from tests.unit.cli.conftest import InProcess

ROOT = get_command(app)


def _commands(words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    command = _find(words)
    yield words
    for name in getattr(command, "commands", {}):
        yield from _commands((*words, name))


def _find(words: tuple[str, ...]) -> typer.core.TyperCommand:
    command = ROOT
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]  # a group, or the test fails
    return command  # type: ignore[return-value]


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
def test_help_has_an_example_that_parses(podium: InProcess, words: tuple[str, ...]) -> None:
    answer = podium(*words, "--help")
    assert answer.code == 0
    assert answer.err == ""
    example = re.search(r"Example: podium (.*?)\n\n", answer.out, re.DOTALL)
    assert example is not None, answer.out
    given = shlex.split(" ".join(example[1].split()))
    assert tuple(given[: len(words)]) == words
    named = tuple(_named(given))
    _find(named).make_context("podium", given[len(named) :], resilient_parsing=False)


def _named(given: list[str]) -> Iterator[str]:
    command = ROOT
    for word in given:
        command = getattr(command, "commands", {}).get(word)  # type: ignore[assignment]
        if command is None:
            return
        yield word


def test_the_list_of_commands_is_not_cut_at_eighty_columns(podium: InProcess) -> None:
    for words in _commands():
        answer = podium(*words, "--help", COLUMNS="80")
        assert "..." not in re.sub(r"\[[A-Z]+\]\.\.\.", "", answer.out), answer.out


def test_the_version_is_printed(podium: InProcess) -> None:
    assert re.fullmatch(r"podium \d+\.\d+\.\d+\n", podium("--version").out)
