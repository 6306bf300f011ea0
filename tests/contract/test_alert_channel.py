"""The port of alert channels: Apprise against a server of its own, and the fake that other tests use."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from podium.errors import ConfigurationError, UsageError
from podium.notify import channels
from podium.notify.apprise_channel import AppriseChannel
from podium.notify.port import Channel
from podium.notify.trial import try_channels
from podium.settings import AlertSettings
from tests.alerting_world import Recorder

SECRET = "pathOfS3cret"  # noqa: S105 - of nobody
PASSWORD = "hunter2%21"  # noqa: S105 - decoded, it ends in an exclamation mark


@dataclass
class Hook:
    """A web hook: how it answers, and what it was sent."""

    status: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)
    hangs: bool = False
    let_go: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"json://ada:{PASSWORD}@127.0.0.1:{self.port}/{SECRET}?rto=0.2&cto=0.2"


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if made.hangs:
                made.let_go.wait(20)
            if made.status == 200:
                made.taken.append(json.loads(body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.let_go.set()
        server.shutdown()
        thread.join()


@pytest.fixture(params=["apprise", "recorder"])
def subject(request: pytest.FixtureRequest, hook: Hook) -> tuple[Channel, Hook | Recorder]:
    """A channel, and what is behind it."""
    if request.param == "recorder":
        recorder = Recorder()
        return recorder, recorder
    return AppriseChannel("oncall", hook.url), hook


def test_a_message_that_is_taken_arrives_as_it_is(subject: tuple[Channel, Hook | Recorder]) -> None:
    channel, behind = subject
    title, body = "run_failed: flight_delay 2013-04", "Why: <b> & [x]: 5 > 4\n*not* _marked_ up – ünïcode"
    assert channel.send(title, body) is None
    taken = behind.taken[0]
    assert (taken if isinstance(taken, tuple) else (taken["title"], taken["message"])) == (title, body)


def test_one_that_is_refused_says_why_and_the_next_may_be_taken(subject: tuple[Channel, Hook | Recorder]) -> None:
    channel, behind = subject
    if isinstance(behind, Hook):
        behind.status = 500
    else:
        behind.down = "error=500"
    assert "error=500" in str(channel.send("title", "body"))
    if isinstance(behind, Hook):
        behind.status = 200
    else:
        behind.down = None
    assert channel.send("title", "body") is None
    assert len(behind.taken) == 1


class TestApprise:
    def test_a_server_that_hangs_is_not_waited_for(self, hook: Hook) -> None:
        hook.hangs = True
        error = AppriseChannel("oncall", hook.url).send("title", "body")
        assert error == "A Connection error occurred sending JSON notification to …."

    def test_a_server_that_is_gone_is_said(self) -> None:
        error = AppriseChannel("oncall", f"json://127.0.0.1:9/{SECRET}?cto=0.2").send("title", "body")
        assert "Connection error" in str(error)

    def test_channels_that_send_at_once_hear_what_is_said_of_themselves(self, hook: Hook) -> None:
        hook.status = 503
        made = {"up": AppriseChannel("up", hook.url), "gone": AppriseChannel("gone", "json://127.0.0.1:9")}
        told = {answer.channel: str(answer.error) for answer in try_channels(made, "demo", "ada")}
        assert "error=503" in told["up"]
        assert "error=503" not in told["gone"]

    def test_nothing_secret_is_said_printed_or_logged(
        self, hook: Hook, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        logged = io.StringIO()
        root = logging.getLogger()
        monkeypatch.setattr(root, "handlers", [logging.StreamHandler(logged)])  # pytest's hear also what is for nobody
        monkeypatch.setattr(root, "level", logging.DEBUG)
        root.debug("this would be seen")
        said = []
        for status in (200, 404, 500):
            hook.status = status
            said.append(str(AppriseChannel("oncall", hook.url).send("title", "body")))
        for url in (f"slack://{SECRET}", f"slak://{SECRET}/{PASSWORD}", f"mailto://{SECRET}:{PASSWORD}"):
            with pytest.raises(ConfigurationError) as caught:
                AppriseChannel("oncall", url)
            said.append(str(caught.value))
        everything = "\n".join([*said, *capfd.readouterr()])
        assert logged.getvalue() == "this would be seen\n"
        for secret in (SECRET, PASSWORD, "hunter2", "127.0.0.1:"):
            assert secret not in everything

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            (f"slak://{SECRET}", "begins with slak://, which is no service of Apprise; did you mean slack://?"),
            (f"qqqqqqq://{SECRET}", "begins with qqqqqqq://, which is no service of Apprise. https://appriseit.com"),
            (f"slack://{SECRET}", "Apprise cannot read the slack URL of the alert channel oncall: "),
        ],
    )
    def test_a_url_that_cannot_be_read_is_refused_with_its_channel(self, url: str, said: str) -> None:
        with pytest.raises(ConfigurationError, match="alert channel oncall") as caught:
            AppriseChannel("oncall", url)
        assert said in str(caught.value)

    def test_without_apprise_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "apprise", None)
        with pytest.raises(ConfigurationError, match=r"oncall needs Apprise.*pip install 'podium\[alerts\]'"):
            AppriseChannel("oncall", "json://host")


class TestChannelsOfSettings:
    SETTINGS = AlertSettings.model_validate({"channels": {"oncall": "$ONCALL", "mail": ["json://a", "json://b"]}})

    def test_each_url_is_a_target_and_variables_are_looked_up(self) -> None:
        made = channels.build(self.SETTINGS, {"ONCALL": " slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/ "})
        assert {name: channel.scheme for name, channel in made.items()} == {
            "oncall": "slack",
            "mail.1": "json",
            "mail.2": "json",
        }
        assert list(channels.named(made, self.SETTINGS, ["mail"])) == ["mail.1", "mail.2"]
        assert list(channels.named(made, self.SETTINGS, ["mail.2"])) == ["mail.2"]
        assert channels.named(made, self.SETTINGS, []) == made
        with pytest.raises(UsageError, match=r"There is no alert channel 'oncal'. The channels are oncall, mail\."):
            channels.named(made, self.SETTINGS, ["oncal"])

    @pytest.mark.parametrize(
        ("environment", "said"), [({}, "is not set"), ({"ONCALL": SECRET}, "holds no Apprise URL, as slack://…")]
    )
    def test_a_variable_that_holds_no_url_is_named(self, environment: dict[str, str], said: str) -> None:
        with pytest.raises(
            ConfigurationError, match=r"channel oncall .* environment variable ONCALL, which "
        ) as caught:
            channels.build(self.SETTINGS, environment)
        assert said in str(caught.value)
        assert SECRET not in str(caught.value)
