"""The page of a run: whole, safe, and in need of nothing from elsewhere."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from podium.cli.run_drawings import STATES
from podium.db.schema.execution import ATTEMPT_STATES, RUN_STATES, STEP_STATES
from tests.unit.cli.conftest import InProcess

TEMPLATE = Path(__file__).parents[3] / "platform" / "podium" / "cli" / "templates" / "run.html"
EVIL = "</script><script>alert(1)</script>"
FAN_OUT = """
from podium import Interval, pipeline, step, when

@step
def numbers(month: Interval, count: int) -> list[int]:
    return list(range(count))

@step
def fit(number: int) -> int:
    if number == 2:
        raise ValueError("no rows </script><script>alert(1)</script>")
    return number

@step
def total(fitted: list[int]) -> int:
    return sum(fitted)

@pipeline(model="counting", team="research", environment="dev", grain="month")
def counting(month: Interval, count: int = 3, label: str = "x") -> None:
    total(fit.map(numbers(month, count)))
"""
VOID = ("meta", "br", "link", "img", "input")


class Page(HTMLParser):
    """A page as it is read: every tag closed by its own, and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open[-1:] == ["script"] else self.words).append(data)

    def of(self, name: str) -> set[str]:
        """The values of an attribute."""
        return {str(attributes[name]) for _, attributes in self.tags if name in attributes}

    @property
    def data(self) -> Any:
        """What the page tells on demand."""
        return json.loads(self.scripts[0])


@pytest.fixture
def page(podium: InProcess) -> Page:
    """The page of a run of which an item failed, with a parameter that would end the page."""
    podium.pipeline(FAN_OUT)
    ran = podium("run", "counting", "--for", "2026-03", "--param", f"label={EVIL}", "--json")
    answer = podium("runs", "graph", ran.document["run_id"], "--html", "run.html")
    assert (answer.code, answer.out) == (0, "")
    return Page((podium.project / "run.html").read_text(encoding="utf-8"))


def test_it_shows_every_step_and_item_and_tells_more_of_each(page: Page) -> None:
    labels = {"numbers", "fit", "fit[0]", "fit[1]", "fit[2]", "total"}
    assert page.of("data-of") == set(page.data["steps"]) == labels
    failed = page.data["steps"]["fit[2]"]
    (attempt,) = failed["attempts"]
    assert attempt["error"].startswith("ValueError: no rows </script>")
    assert attempt["cost"].startswith("$")
    assert attempt["log"].endswith("fit[2]-1.log")
    assert page.data["steps"]["fit"]["items"] == "2 succeeded, 1 failed"
    assert page.data["steps"]["fit"]["troubled"] == ["fit[2]"]


def test_what_users_wrote_is_text_and_no_markup(page: Page) -> None:
    assert len(page.scripts) == 2
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert any(EVIL in word for word in page.words)


def test_why_it_failed_stands_on_it(page: Page) -> None:
    assert any(word.startswith("ValueError: no rows") for word in page.words)
    assert any("pipelines/counting.py:11" in word for word in page.words)


def test_it_needs_nothing_from_elsewhere(page: Page, podium: InProcess) -> None:
    text = (podium.project / "run.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|<link|<img", text)
    assert page.of("src") == set()
    assert page.of("href") == {"#"}
    assert page.of("content") >= {"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"}


def test_an_open_run_says_what_it_waits_for(podium: InProcess) -> None:
    run_id = podium("run", "counting", "--for", "2026-03", "--detach").out.strip()
    podium("runs", "graph", run_id, "--html", "run.html")
    open_ = Page((podium.project / "run.html").read_text(encoding="utf-8"))
    assert any("no worker is running" in word for word in open_.words)
    assert open_.data["steps"]["total"]["reason"] == "waits for numbers (ready)"


def test_a_file_that_cannot_be_written_is_named(podium: InProcess) -> None:
    run_id = podium("run", "counting", "--for", "2026-03", "--detach").out.strip()
    answer = podium("runs", "graph", run_id, "--html", "nowhere/run.html")
    assert (answer.code, answer.out) == (2, "")
    assert answer.complaint.startswith("The page cannot be written to nowhere/run.html")


@pytest.mark.parametrize("state", sorted({*STEP_STATES, *RUN_STATES, *ATTEMPT_STATES, "queue", "back_off", "snooze"}))
def test_every_state_has_a_colour_in_light_and_dark(state: str) -> None:
    style = TEMPLATE.read_text(encoding="utf-8")
    assert f".{state} {{ --c: var(--" in style
    if state in STATES:
        assert style.count(f"  --{state}: #") + style.count(f" --{state}: #") >= 2
