"""How a step's value becomes bytes, and back.

| codec | takes |
|---|---|
| json | what `podium.dag.values` encodes: plain data, intervals, dataclasses, pydantic models |
| arrow | pandas frames and series, Arrow tables |
| numpy | arrays without Python objects |
| skops | estimators whose every type is reviewed (`Settings.trusted_types`) |
| cloudpickle | other estimators; reading one runs the code in it |

The codec's name is kept with the artifact, so a reader knows what it is about to trust.
"""

import io
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from podium.dag import values
from podium.errors import ArtifactError, NoCodec
from podium.execution import mapped

_KIND = b"podium.kind"


class Sink(Protocol):
    """Takes bytes, one after the other."""

    def write(self, data: bytes, /) -> int:
        """Take all of `data`; return how many bytes."""


@dataclass(frozen=True)
class Codecs:
    """Every codec; `trusted_types` are the types skops may rebuild."""

    trusted_types: tuple[str, ...]

    def write(self, value: Any, file: Sink) -> str:
        """Write `value` to `file` and return the codec's name; NoCodec if none takes it.

        What is handed to the file stays as it is until `write` returns.
        """
        if _is_arrow(value):
            _write_arrow(value, file)
            return "arrow"
        if _is_array(value):
            _write_numpy(value, file)
            return "numpy"
        if _is_estimator(value):
            return self._write_estimator(value, file)
        try:
            document = values.encode(value)
        except NoCodec as error:
            raise NoCodec(
                f"{error} Return plain data, a dataclass, a pandas frame, a numpy array or a fitted estimator; "
                "several of them in a NamedTuple."
            ) from None
        file.write(json.dumps(document, ensure_ascii=False, allow_nan=False).encode())
        return "json"

    def read(self, codec: str, path: Path) -> Any:
        """Read the value that `codec` wrote to `path`."""
        readers: Mapping[str, Callable[[Path], Any]] = {
            "json": lambda file: decode_json(file.read_bytes()),
            "arrow": _read_arrow,
            "numpy": _read_numpy,
            "skops": self._read_skops,
            "cloudpickle": _read_cloudpickle,
        }
        if codec not in readers:
            raise ArtifactError(
                f"{path} was written by the codec {codec!r}, which this version of Podium lacks; upgrade."
            )
        return readers[codec](path)

    def _write_estimator(self, value: Any, file: Sink) -> str:
        import skops.io

        buffer = io.BytesIO()
        try:
            skops.io.dump(value, buffer)
            unknown = set(skops.io.get_untrusted_types(data=buffer.getvalue())) - set(self.trusted_types)
        except Exception:  # noqa: BLE001 - no form for some part of it, said in as many ways as there are parts
            unknown = {"unsupported"}
        if not unknown:
            file.write(buffer.getvalue())
            return "skops"
        import cloudpickle

        try:
            pickled = cloudpickle.dumps(value)
        except Exception as error:  # pickling runs the estimator's own code, which may raise anything
            raise NoCodec(
                f"The estimator {type(value).__qualname__} can be saved neither by skops nor by cloudpickle: {error}. "
                "Drop what cannot be pickled (locks, open files, generators) from its attributes."
            ) from error
        file.write(pickled)
        return "cloudpickle"

    def _read_skops(self, path: Path) -> Any:
        import skops.io

        return skops.io.load(path, trusted=list(self.trusted_types))


def decode_json(data: bytes) -> Any:
    """Read what the JSON codec wrote."""
    return values.decode(json.loads(data))


def _loaded(module: str) -> Any:
    """The module if something imported it: a value of its types cannot exist otherwise."""
    return sys.modules.get(module)


def _is_arrow(value: Any) -> bool:
    pandas, pyarrow = _loaded("pandas"), _loaded("pyarrow")
    return (pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series)) or (
        pyarrow is not None and isinstance(value, pyarrow.Table)
    )


def _is_array(value: Any) -> bool:
    numpy = _loaded("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)


def _is_estimator(value: Any) -> bool:
    return (
        not isinstance(value, type)
        and hasattr(value, "fit")
        and (hasattr(value, "predict") or hasattr(value, "transform"))
    )


def _write_arrow(value: Any, file: Sink) -> None:
    import pandas as pd
    import pyarrow as pa

    try:
        if isinstance(value, pa.Table):
            kind, table = b"table", value
        elif isinstance(value, pd.DataFrame):
            kind, table = b"frame", _table_of(value)
        else:
            kind = b"series" if value.name is not None else b"series without name"
            table = _table_of(value.to_frame("value" if value.name is None else value.name))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError, ValueError) as error:
        raise NoCodec(
            f"A {type(value).__name__} has a column that Arrow cannot hold: {_detail(error)}. "
            "Give each column one type, and a name of its own that is a text."
        ) from None
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KIND: kind})
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _table_of(frame: Any) -> Any:
    """Return a frame as an Arrow table; ValueError where it would come back with other columns.

    Objects may come back as what Arrow finds them to be; every other type must stay.
    """
    import warnings

    import pandas as pd
    import pyarrow as pa

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The DataFrame has column names of mixed type")  # refused below
        # Without a column, only a stored index can tell how many rows there are.
        table = pa.Table.from_pandas(frame, preserve_index=True if frame.columns.empty else None)
    back = table.slice(0, 0).to_pandas()
    if list(back.columns) != list(frame.columns):
        raise ValueError(f"the column names {list(frame.columns)} would come back as {list(back.columns)}")
    for name, before, after in zip(frame.columns, frame.dtypes, back.dtypes, strict=True):
        if not pd.api.types.is_object_dtype(before) and before != after:
            raise ValueError(f"the column {name} of type {before} would come back as {after}")
    return table


def _read_arrow(path: Path) -> Any:
    table, mapping = mapped.read_table(path)
    kind = (table.schema.metadata or {}).get(_KIND, b"table")
    if kind == b"table":
        return table
    frame = mapped.to_frame(table, mapping)
    if kind == b"frame":
        return frame
    series = frame.iloc[:, 0]
    return series.rename(None) if kind == b"series without name" else series


def _write_numpy(value: Any, file: Sink) -> None:
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        raise NoCodec("A numpy masked array would lose its mask; return its data and its mask, or fill it.")
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise NoCodec(
            f"A numpy array of dtype {array.dtype} holds Python objects; "
            "give it a numeric, time or fixed-width text dtype."
        )
    np.lib.format.write_array(_Writer(file.write), array, allow_pickle=False)


def _read_numpy(path: Path) -> Any:

    array = mapped.read_array(path)
    return array[()] if array.ndim == 0 else array


def _read_cloudpickle(path: Path) -> Any:
    import cloudpickle

    return cloudpickle.loads(path.read_bytes())


@dataclass(frozen=True)
class _Writer:
    """What numpy takes for a file that is none, and so writes through `write` alone."""

    write: Callable[[bytes], int]


def _detail(error: Exception) -> str:
    """Return what Arrow says in one line, the column first."""
    said = [str(part).strip().splitlines()[0].rstrip(".") for part in error.args if str(part).strip()]
    return ": ".join(reversed(said)) or type(error).__name__
