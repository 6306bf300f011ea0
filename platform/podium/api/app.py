"""The HTTP application: what it answers on which route."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from podium import __version__
from podium.db import migrate
from podium.errors import ConfigurationError, PodiumError, ServiceUnavailable
from podium.exporter.books import BooksWatch
from podium.exporter.failures import Failures
from podium.exporter.scrape import CONTENT_TYPE, Exporter, known_collectors
from podium.wiring.project import Project


def create_app(project: Project) -> FastAPI:
    """Return the application of a project; while it runs it watches the books.

    A database that does not answer, or is not upgraded yet, makes answers of 503, and is asked anew each time.
    Raises ConfigurationError where the settings name no database.
    """
    database = project.unchecked_database
    failures = Failures(known_collectors())
    watch = BooksWatch(lambda: project.database, project.clock, failures)
    exporter = Exporter(lambda: project.database, project.clock, watch, failures)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        with watch:
            yield

    app = FastAPI(title="Podium", version=__version__, lifespan=running, openapi_url=None)

    @app.get("/")
    def index() -> dict[str, object]:
        return {
            "podium": __version__,
            "routes": {"/metrics": "metrics in Prometheus' text format", "/healthz": "whether this server can work"},
        }

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(exporter.render(), media_type=CONTENT_TYPE)

    @app.get("/healthz")
    def healthz() -> JSONResponse:
        try:
            migrate.ensure(database)
        except PodiumError as error:
            return JSONResponse({"ok": False, "problem": str(error)}, status_code=503)
        return JSONResponse({"ok": True, "revision": migrate.HEAD})

    @app.exception_handler(PodiumError)
    def explain(_: Request, error: Exception) -> PlainTextResponse:
        waits = isinstance(error, ServiceUnavailable | ConfigurationError)  # for a database, or its upgrade
        return PlainTextResponse(f"{error}\n", status_code=503 if waits else 500)

    return app
