"""The list of a model's files that lies among them: it names what was changed, once the digest says that something was.

`SHA256SUMS` has the form that `sha256sum --check` reads, so that people without Podium can look as well. The digest on
record covers the list, so a list that still fits the record is the one that was stored.
"""

from collections.abc import Mapping

from podium.ids import digest_json

SUMS = "SHA256SUMS"


def sums_of(digests: Mapping[str, str]) -> bytes:
    """Return the list for `{relative path: SHA-256}`."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()) if name != SUMS).encode()


def what_changed(found: Mapping[str, str], sums: bytes | None, recorded: str) -> str:
    """Say which files differ from those stored under the digest `recorded`; empty where the list itself was changed.

    >>> stored = {"MLmodel": "a" * 64, "model.skops": "b" * 64}
    >>> listed = {**stored, SUMS: "c" * 64}
    >>> what_changed({**listed, "model.skops": "0" * 64}, sums_of(stored), digest_json(sorted(listed.items())))
    'model.skops was changed'
    """
    stored = _parsed(sums)
    if SUMS in found:
        stored[SUMS] = found[SUMS]
    if digest_json(sorted(stored.items())) != recorded:
        return f"{SUMS} itself was changed" if sums is not None else ""
    told = [f"{name} was changed" for name in sorted(stored) if name in found and found[name] != stored[name]]
    told += [f"{name} is missing" for name in sorted(set(stored) - set(found))]
    told += [f"{name} was added" for name in sorted(set(found) - set(stored))]
    return ", ".join(told)


def _parsed(sums: bytes | None) -> dict[str, str]:
    lines = (sums or b"").decode(errors="replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}
