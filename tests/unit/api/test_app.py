"""What the server answers, asked as an ASGI server asks; no socket."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from podium.api.app import create_app
from podium.db import migrate
from podium.errors import ConfigurationError
from podium.wiring.project import Project, open_project


@dataclass(frozen=True)
class Answer:
    status: int
    content_type: str
    body: str


def get(app: FastAPI, path: str) -> Answer:
    """Ask for one path."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "http_version": "1.1"}
    asyncio.run(app(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], headers["content-type"], body.decode())


def project_in(root: Path, settings: str = "") -> Project:
    (root / "podium.toml").write_text(f'project = "served"\n{settings}')
    return open_project(root)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = project_in(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Project]:
    """A project whose database nobody listens for."""
    url = "postgresql+psycopg://nobody:secret@127.0.0.1:1/podium"
    opened = project_in(tmp_path, f'database_url = "{url}"\n')
    yield opened
    opened.close()


def test_metrics_are_text_for_prometheus(project: Project) -> None:
    answer = get(create_app(project), "/metrics")
    assert (answer.status, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "# TYPE podium_cost_usd_total counter\n" in answer.body


def test_a_healthy_server_names_the_revision_it_works_on(project: Project) -> None:
    answer = get(create_app(project), "/healthz")
    assert (answer.status, json.loads(answer.body)) == (200, {"ok": True, "revision": migrate.HEAD})


def test_the_index_names_every_route(project: Project) -> None:
    app = create_app(project)
    answer = get(app, "/")
    assert set(json.loads(answer.body)["routes"]) == {"/metrics", "/healthz"}
    assert all(get(app, route).status == 200 for route in json.loads(answer.body)["routes"])


@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_without_its_database_the_server_says_so_in_one_paragraph(away: Project, path: str) -> None:
    answer = get(create_app(away), path)
    assert answer.status == 503
    assert "127.0.0.1:1" in answer.body
    assert "Traceback" not in answer.body
    assert "secret" not in answer.body
    assert len(answer.body.strip().splitlines()) == 1


def test_a_database_that_comes_back_is_used_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def behind(_: object) -> None:
        raise ConfigurationError("The database is at revision 0001; run `podium db upgrade`.")

    app = create_app(project)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "ensure", behind)
        for path in ("/metrics", "/healthz"):
            answer = get(app, path)
            assert (answer.status, "podium db upgrade" in answer.body) == (503, True)
    assert get(app, "/metrics").status == get(app, "/healthz").status == 200


def test_a_url_that_names_no_database_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="mysql"):
        create_app(project_in(tmp_path, 'database_url = "mysql://somewhere/podium"\n'))
