"""The services of docker-compose.yml as processes of this machine, by an explicit translation of what the file says.

A container's name and port become 127.0.0.1 and a free port; a path below a mount becomes a folder of the test; a
program becomes this machine's. Whatever of the file is in none of these tables is an error: nothing is passed over.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa

from podium.settings import Settings
from tests.e2e import compose_file
from tests.e2e.command import ROOT
from tests.e2e.compose_file import Service
from tests.postgresql_on_tcp import TcpServer, free_port, tcp_server

SCRIPTS = Path(sys.executable).parent

# What an image runs, and listens on, when the file does not say so.
IMAGE_PORTS = {"postgres": 5432, "prom/prometheus": 9090, "grafana/grafana": 3000}
PROMETHEUS = ("prometheus", "--web.listen-address=127.0.0.1:{port}")
NOT_HERE = {"grafana/grafana"}  # neither a package of Debian nor of a language has its server

_DEVICES = {"/dev/null"}
_URL = re.compile(r"[a-z+]+://[^\s'\"]+")
_ADDRESS = re.compile(r"(?<![\w./-])([a-z][\w-]*|[\d.]+):(\d+)(?![\w.])")
_PATH = re.compile(r"(?<![\w:/.])/[\w./-]+")
_PATIENCE_SECONDS = 60.0
_POSTGRES_VARIABLES = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}


class Untranslatable(AssertionError):
    """The file says something that this translation does not know."""


@dataclass(frozen=True)
class Translation:
    """What each name, port and path of the file is on this machine."""

    ports: Mapping[str, tuple[int, int]]  # service -> (in the file, here)
    folders: Mapping[str, Path]  # a mount's source -> folder here
    app: Path  # what the image holds at its WORKDIR
    programs: Path  # of PostgreSQL

    def text(self, service: Service, text: str) -> str:
        """Translate one argument or value of `service`: its URLs, its addresses, its paths."""
        kept: list[str] = []

        def keep(part: str) -> str:
            kept.append(part)
            return f"\0{len(kept) - 1}\0"

        text = _URL.sub(lambda found: keep(self._url(service, found[0])), text)
        text = _ADDRESS.sub(lambda found: keep(self._address(service, found[1], int(found[2]))), text)
        text = _PATH.sub(lambda found: keep(str(self._path(service, found[0]))), text)
        return re.sub(r"\0(\d+)\0", lambda found: kept[int(found[1])], text)

    def arguments(self, service: Service, words: tuple[str, ...]) -> list[str]:
        """Translate a command; its first word must be a program that is known here."""
        translated = [self._program(words[0])]
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name == "--port":
                translated.append(f"{name}={self._own_port(service, int(value))}")
            elif name == "--host":
                if value not in ("0.0.0.0", "127.0.0.1"):  # noqa: S104 - compared, not bound
                    raise Untranslatable(f"{service.name}: {word}")
                translated.append(f"{name}=127.0.0.1")
            else:
                translated.append(self.text(service, word))
        return translated

    def environment(self, service: Service) -> dict[str, str]:
        """Translate the variables; one that nobody reads is an error."""
        unread = set(service.environment) - _variables_read_by(service)
        if unread:
            raise Untranslatable(f"{service.name} sets variables that nobody reads: {sorted(unread)}")
        inherited = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        own = {name: self.text(service, value) for name, value in service.environment.items()}
        return {**inherited, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", **own}

    def here(self, service: str) -> str:
        """Return the address at which a service answers on this machine."""
        return f"127.0.0.1:{self.ports[service][1]}"

    def _url(self, service: Service, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme == "file":
            return f"file://{self._path(service, parts.path)}"
        login, at, _ = parts.netloc.rpartition("@")
        if parts.hostname is None or parts.port is None:
            raise Untranslatable(f"{service.name}: a URL without host or port: {url}")
        return parts._replace(netloc=login + at + self._address(service, parts.hostname, parts.port)).geturl()

    def _address(self, service: Service, host: str, port: int) -> str:
        if host in ("127.0.0.1", "localhost"):
            return f"{host}:{self._own_port(service, port)}"
        if host not in self.ports or self.ports[host][0] != port:
            raise Untranslatable(f"{service.name} names {host}:{port}, which no service listens on")
        return self.here(host)

    def _own_port(self, service: Service, port: int) -> int:
        if service.name not in self.ports or self.ports[service.name][0] != port:
            raise Untranslatable(f"{service.name} uses port {port}, which is not its own")
        return self.ports[service.name][1]

    def _path(self, service: Service, path: str) -> Path:
        if path in _DEVICES:
            return Path(path)
        for mount in service.mounts:
            if path == mount.target or path.startswith(f"{mount.target}/"):
                return self.folders[mount.source] / path[len(mount.target) :].lstrip("/")
        raise Untranslatable(f"{service.name} names {path}, which is below none of its volumes")

    def _program(self, name: str) -> str:
        if name == "python":
            return sys.executable
        if name in ("podium", "mlflow"):
            return str(SCRIPTS / name)
        if name in ("wget", "pg_isready", PROMETHEUS[0]):
            found = shutil.which(name, path=f"{os.environ['PATH']}:{self.programs}")
            if found:
                return found
        raise Untranslatable(f"{name} is no program of this machine")


def _variables_read_by(service: Service) -> set[str]:
    if service.repository == "postgres":
        return _POSTGRES_VARIABLES
    if service.command[:1] == ("mlflow",):
        from mlflow import environment_variables

        options = {"MLFLOW_BACKEND_STORE_URI"}  # in place of its --backend-store-uri
        return options | {name for name in vars(environment_variables) if name.startswith("MLFLOW_")}
    return {f"PODIUM_{name.upper()}" for name in Settings.model_fields if name != "root"}


@dataclass
class Deployment:
    """The processes, started one by one; `log` of each is a file in `folder`."""

    folder: Path
    translation: Translation
    postgres: TcpServer
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    healthy: set[str] = field(default_factory=set)

    def start(self, service: Service) -> None:
        """Start a service once all that it needs is there, and wait until it is healthy where it can tell."""
        for other, condition in service.needs.items():
            self._require(other, condition)
        words = service.command
        if service.repository == "prom/prometheus":
            words = tuple(word.format(port=self.translation.ports[service.name][0]) for word in PROMETHEUS) + words
        with (self.folder / f"{service.name}.log").open("wb") as log:
            self.processes[service.name] = subprocess.Popen(
                self.translation.arguments(service, words),
                cwd=self.translation.app,
                env=self.translation.environment(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if service.health:
            self.wait(service.name, lambda: self.is_healthy(service))
            self.healthy.add(service.name)

    def is_healthy(self, service: Service) -> bool:
        """Whether the service's own healthcheck says so."""
        command = self.translation.arguments(service, service.health)
        done = subprocess.run(
            command, env=self.translation.environment(service), capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0

    def wait(self, name: str, reached: Callable[[], bool]) -> None:
        """Wait until something is reached; the service `name` must be alive meanwhile."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not reached():
            process = self.processes.get(name)
            assert process is None or process.poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < deadline, f"{name} did not get there:\n{self.log(name)}"
            time.sleep(0.1)

    def log(self, name: str) -> str:
        """Return the end of what a service wrote."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self, name: str) -> int:
        """Stop one service as `docker compose stop` does; return its exit code."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            return process.wait(30)
        finally:
            _kill_group(process)

    def stop_all(self) -> None:
        """End every process, the last started first, whatever state it is in."""
        for name in reversed(list(self.processes)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop(name)

    def _require(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            code = self.processes[name].wait(_PATIENCE_SECONDS)
            assert code == 0, self.log(name)
        else:
            assert condition == "service_healthy", condition
            assert name in self.healthy, f"{name} has no healthcheck, or is not started yet"


@contextmanager
def deployed(folder: Path) -> Iterator[tuple[dict[str, Service], Deployment]]:
    """Start every service of the file that this machine has a program for; end them all at the end of the block."""
    services = compose_file.services()
    ports = {}
    for service in services.values():
        port = IMAGE_PORTS.get(service.repository, service.port)
        assert service.port in (port, None), f"{service.image} listens on {port}, not on {service.port}"
        if port is not None:
            ports[service.name] = (port, free_port())
    with ExitStack() as stack:
        postgres = services["postgres"]
        server = stack.enter_context(_postgres_image(postgres, ports[postgres.name][1]))
        translation = Translation(ports, _folders(services, folder), image_files(folder / "app"), server.binaries)
        _point_prometheus_at(translation, services["prometheus"])
        deployment = Deployment(folder, translation, server)
        stack.callback(deployment.stop_all)
        for service in services.values():
            if service is postgres:
                deployment.wait(service.name, lambda: deployment.is_healthy(postgres))
                deployment.healthy.add(service.name)
            elif service.repository not in NOT_HERE:
                deployment.start(service)
        yield services, deployment


def image_files(app: Path) -> Path:
    """Make the folder that the image holds at its WORKDIR, as the Dockerfile's last stage copies it."""
    stage = (ROOT / "Dockerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    copies = re.findall(r"^COPY (\S+) (\S+)$", stage, re.MULTILINE)
    assert copies
    for source, target in copies:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (app / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, app / target)
    return app


@contextmanager
def _postgres_image(service: Service, port: int) -> Iterator[TcpServer]:
    """Do what the image does at its first start: user, database, then the scripts laid into its folder."""
    unknown = set(service.environment) - _POSTGRES_VARIABLES
    assert not unknown, f"{service.name} sets variables that nobody reads: {unknown}"
    assert [mount.target for mount in service.mounts] == ["/var/lib/postgresql"], "where 18 and newer keep their data"
    assert service.command == ()
    environment = service.environment
    major = int(service.image.rpartition(":")[2].partition(".")[0])
    with tcp_server(
        major=major, port=port, user=environment["POSTGRES_USER"], password=environment["POSTGRES_PASSWORD"]
    ) as server:
        engine = sa.create_engine(
            sa.make_url(server.create(environment["POSTGRES_DB"])).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
        )
        for path, script in service.files.items():
            assert path.startswith("/docker-entrypoint-initdb.d/"), path
            assert path.endswith(".sql"), path
            with engine.connect() as connection:
                connection.exec_driver_sql(script)
        engine.dispose()
        yield server


def _folders(services: Mapping[str, Service], folder: Path) -> dict[str, Path]:
    """Make a folder for every volume; a folder of the repository is copied, so that nothing can write there."""
    folders = {}
    for mount in (mount for service in services.values() for mount in service.mounts):
        folders[mount.source] = folder / "mounts" / mount.source
        if mount.is_volume:
            folders[mount.source].mkdir(parents=True, exist_ok=True)
        else:
            assert mount.read_only, f"{mount.source} is mounted for writing"
            shutil.copytree(ROOT / mount.source, folders[mount.source], dirs_exist_ok=True)
    return folders


def _point_prometheus_at(translation: Translation, service: Service) -> None:
    """Translate the targets in Prometheus's own configuration, and let it look each second instead of each quarter."""
    (mount,) = (mount for mount in service.mounts if not mount.is_volume)
    file = translation.folders[mount.source] / "prometheus.yml"
    text = translation.text(service, file.read_text(encoding="utf-8"))
    assert text.count("scrape_interval: 15s") == 1
    file.write_text(text.replace("scrape_interval: 15s", "scrape_interval: 1s"), encoding="utf-8")


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
