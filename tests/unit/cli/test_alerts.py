"""`podium alerts`: what it shows, what it refuses, and that it needs no more than it says."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from podium.wiring.notify import notifier
from podium.wiring.project import open_project
from tests.unit.cli.conftest import InProcess

RULE = '[[alerts.rules]]\non = "run_failed"\nchannels = "oncall"\n'
FAILING = """
from podium import Interval, pipeline, step

@step
def total(month: Interval) -> int:
    raise ValueError("no [rows]")

@pipeline(model="counting", team="research", environment="dev", grain="month")
def failing(month: Interval) -> None:
    total(month)
"""


@pytest.fixture
def port() -> Iterator[int]:
    """Where a web hook takes messages."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def settings(podium: InProcess, text: str) -> None:
    (podium.project / "podium.toml").write_text(f'project = "tests"\nslots = 1\n[alerts.channels]\n{text}\n')


def test_a_test_says_of_each_channel_whether_it_took_the_message(podium: InProcess, port: int) -> None:
    settings(podium, f'oncall = "json://127.0.0.1:{port}/good"\nmail = "json://127.0.0.1:{port}/secret"')
    answer = podium("alerts", "test", "oncall")
    assert (answer.code, answer.out) == (0, "oncall (json): taken\n")
    both = podium("alerts", "test")
    assert both.code == 1
    assert "oncall (json): taken\nmail (json): failed: Failed to send JSON POST notification" in both.out
    assert "secret" not in both.out + both.err
    document = podium("alerts", "test", "--json").document
    assert [(each["channel"], each["ok"]) for each in document] == [("oncall", True), ("mail", False)]
    assert not (podium.project / ".podium" / "podium.db").exists()


def test_without_channels_that_is_said(podium: InProcess) -> None:
    answer = podium("alerts", "test")
    assert (answer.code, answer.out) == (0, "")
    assert "No alert channel is set; name one in podium.toml under [alerts.channels]." in " ".join(answer.err.split())


def test_what_there_is_not_is_refused(podium: InProcess) -> None:
    settings(podium, 'oncall = "json://host"')
    unknown = podium("alerts", "test", "oncal")
    assert (unknown.code, unknown.complaint) == (2, "There is no alert channel 'oncal'. The channels are oncall.")
    state = podium("alerts", "list", "--state", "lost")
    assert state.code == 2
    assert "'lost' is no state of a delivery; they are pending, sent, withheld, given_up." in state.complaint


def test_a_rule_with_a_typo_is_refused_by_every_command(podium: InProcess) -> None:
    settings(podium, f'oncall = "json://host"\n{RULE.replace("oncall", "oncal")}')
    for command in (("runs", "list"), ("alerts", "list"), ("alerts", "test")):
        answer = podium(*command)
        assert answer.code == 2
        assert "rule 1 tells the channel oncal, which is none; did you mean oncall?" in answer.complaint


def test_the_list_shows_what_became_of_each_alert(
    podium: InProcess, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(podium, f'oncall = "json://127.0.0.1:{port}/secret"\n{RULE}')
    empty = podium("alerts", "list")
    assert (empty.out, empty.err) == ("", "No alerts.\n")
    monkeypatch.chdir(podium.project)
    told: list[str] = []
    telling = notifier(open_project(), lambda happening: told.append(f"{happening.kind} {happening.reason}"))
    telling.advance()
    podium.pipeline(FAILING, "failing")
    assert podium("run", "failing", "--for", "2026-03").code == 1
    telling.advance()
    telling.close()
    assert len(told) == 1
    assert told[0].startswith("alert.failed oncall: run_failed: failing 2026-03: Failed to send JSON POST notification")
    listed = podium("alerts", "list")
    assert "run_failed: failing" in listed.out
    assert "pending" in listed.out
    (document,) = podium("alerts", "list", "--state", "pending", "--json").document
    assert (document["event"], document["team"], document["facts"]["step"]) == ("run_failed", "research", "total")
    assert "Why: ValueError: no [rows]" in document["body"]
    (delivery,) = document["deliveries"]
    assert (delivery["channel"], delivery["tries"], delivery["ended_at"]) == ("oncall", 1, None)
    assert podium("alerts", "list", "--state", "sent", "--json").document == []
    for file in (podium.project / ".podium").glob("podium.db*"):
        assert b"/secret" not in file.read_bytes()
