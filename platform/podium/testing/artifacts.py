"""Where the values of a run in process lie: in memory, through the codecs of a real run or as they are."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podium.execution.artifacts import Artifact
from podium.execution.codecs import Codecs, decode_json
from podium.ids import digest_bytes
from podium.settings import REVIEWED_TYPES


class StoredValues:
    """Turns each value into bytes and back, as a real run does: who reads it gets a copy of its own."""

    def __init__(self) -> None:
        self._codecs = Codecs(REVIEWED_TYPES)
        self._bytes: dict[str, bytes] = {}

    def put(self, value: Any) -> Artifact:
        """Store a value; NoCodec for one that no codec takes."""
        sink = io.BytesIO()
        codec = self._codecs.write(value, sink)
        data = sink.getvalue()
        digest = digest_bytes(data)
        if codec == "json":
            return Artifact(digest, codec, len(data), data)
        self._bytes[digest] = data
        return Artifact(digest, codec, len(data))

    def get(self, artifact: Artifact) -> Any:
        """Read a value that was stored."""
        if artifact.inline is not None:
            return decode_json(artifact.inline)
        with _file_in_memory(self._bytes[artifact.digest]) as path:
            return self._codecs.read(artifact.codec, path)


class ValuesAsTheyAre:
    """Hands each value on as the object it is; its digest names the object, whatever it holds."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}  # keeps each object alive, so that no other gets its id

    def put(self, value: Any) -> Artifact:
        """Keep a value."""
        digest = digest_bytes(str(id(value)).encode())
        self._values[digest] = value
        return Artifact(digest, "object", 0)

    def get(self, artifact: Artifact) -> Any:
        """Return the value."""
        return self._values[artifact.digest]


@contextmanager
def _file_in_memory(data: bytes) -> Iterator[Path]:
    """Return the path of a file that lies on no disk, gone after the block but for who has mapped it."""
    descriptor = os.memfd_create("podium")
    path = Path(f"/proc/self/fd/{descriptor}")
    try:
        path.write_bytes(data)
        yield path
    finally:
        os.close(descriptor)
