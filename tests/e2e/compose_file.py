"""docker-compose.yml read as far as this project uses it; anything it does not use is an error, not ignored."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.command import ROOT

FILE = ROOT / "docker-compose.yml"

_KEYS = {
    "build",
    "command",
    "configs",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "ports",
    "pull_policy",
    "restart",
    "shm_size",
    "stop_grace_period",
    "volumes",
}
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
_LOOPBACK_PORT = re.compile(r"127\.0\.0\.1:(\d+):(\d+)")


@dataclass(frozen=True)
class Mount:
    """A folder that a container sees at `target`; `source` is a volume's name, or a path of this repository."""

    source: str
    target: str
    read_only: bool

    @property
    def is_volume(self) -> bool:
        """Whether it is a named volume, not a folder of the repository."""
        return not self.source.startswith(".")


@dataclass(frozen=True)
class Service:
    """One service, its variables filled in."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int | None  # what it listens on; the same one outside
    mounts: tuple[Mount, ...]
    files: Mapping[str, str]  # inline configs: what the container has at which path
    needs: Mapping[str, str]  # service -> condition
    health: tuple[str, ...]  # a command; empty without a healthcheck

    @property
    def repository(self) -> str:
        """The image without its tag."""
        return self.image.rpartition(":")[0]


def document(path: Path = FILE) -> dict[str, Any]:
    """Return the file as YAML has it."""
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def variables(path: Path = FILE) -> dict[str, str]:
    """Return every variable of the file with its default."""
    return dict(_VARIABLE.findall(_without_comments(path)))


def services(path: Path = FILE, environment: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Return the services in an order in which each comes after those it needs."""
    text = _VARIABLE.sub(lambda found: (environment or {}).get(found[1], found[2]), _without_comments(path))
    assert "$" not in text, "a variable without a default, or a form of one that is not read here"
    loaded = yaml.safe_load(text)
    unknown = set(loaded) - {"name", "x-podium", "services", "configs", "volumes"}
    assert not unknown, f"not read here: {unknown}"
    read = {name: _service(name, found, loaded["configs"]) for name, found in loaded["services"].items()}
    for each in read.values():
        undeclared = {mount.source for mount in each.mounts if mount.is_volume} - set(loaded["volumes"])
        assert not undeclared, f"{each.name} mounts undeclared volumes: {undeclared}"
    return {name: read[name] for name in _ordered(read)}


def _service(name: str, found: Mapping[str, Any], configs: Mapping[str, Any]) -> Service:
    unknown = set(found) - _KEYS
    assert not unknown, f"{name}: not read here: {unknown}"
    ports = [_LOOPBACK_PORT.fullmatch(port) for port in found.get("ports", ())]
    assert all(port and port[1] == port[2] for port in ports), f"{name}: not 127.0.0.1:PORT:PORT: {found['ports']}"
    assert len(ports) <= 1
    test = found.get("healthcheck", {}).get("test", ("CMD",))
    assert test[0] == "CMD", f"{name}: a healthcheck through a shell"
    return Service(
        name=name,
        image=found["image"],
        command=tuple(found.get("command", ())),
        environment=found.get("environment", {}),
        port=int(ports[0][1]) if ports and ports[0] else None,
        mounts=tuple(_mount(each) for each in found.get("volumes", ())),
        files={each["target"]: configs[each["source"]]["content"] for each in found.get("configs", ())},
        needs={other: each["condition"] for other, each in found.get("depends_on", {}).items()},
        health=tuple(test[1:]),
    )


def _mount(text: str) -> Mount:
    source, target, *mode = text.split(":")
    assert mode in ([], ["ro"]), text
    return Mount(source, target, bool(mode))


def _ordered(read: Mapping[str, Service]) -> Iterator[str]:
    done: set[str] = set()
    while len(done) < len(read):
        ready = [name for name, each in read.items() if name not in done and set(each.needs) <= done]
        assert ready, f"these wait for each other: {set(read) - done}"
        yield from ready
        done.update(ready)


def _without_comments(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))
