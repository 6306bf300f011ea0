"""Identifiers: sortable by creation time, short enough to type; and content digests."""

import hashlib
import json
import secrets
from datetime import datetime
from typing import Any

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def new_id(at: datetime) -> str:
    """Return a new identifier of 18 characters: 10 of milliseconds since 1970, 8 random (40 bits).

    Identifiers made at different milliseconds sort by time.

    >>> from datetime import UTC
    >>> early, late = (new_id(datetime(year, 1, 1, tzinfo=UTC)) for year in (2013, 2014))
    >>> early < late, len(early)
    (True, 18)
    """
    return _encode(int(at.timestamp() * 1000), 10) + _encode(secrets.randbits(40), 8)


def _encode(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, remainder = divmod(number, 32)
        characters.append(_ALPHABET[remainder])
    return "".join(reversed(characters))


def canonical_json(document: Any) -> str:
    """Return `document` as JSON with sorted keys and no white space: equal documents, equal text.

    NaN and infinities raise ValueError: they have no JSON.

    >>> canonical_json({"b": 1, "a": [1.5, None]})
    '{"a":[1.5,null],"b":1}'
    """
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def digest_json(document: Any) -> str:
    """Return the SHA-256 of `document` in canonical JSON."""
    return digest_bytes(canonical_json(document).encode())
