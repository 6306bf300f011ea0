"""Large frames and arrays out of a file without a copy: its pages are mapped, privately and copied on write.

A reader may change what it gets in place, as if it were its own: the kernel copies the pages that it writes to, and
neither the file nor any other reader sees that.
"""

import mmap
from pathlib import Path
from typing import Any

_LARGE_BYTES = 1 << 20
"""A smaller frame is copied: that takes less than 1 ms, and pandas keeps its columns together."""
_COLUMN_BYTES = 1 << 16
_COLUMNS = 90
"""pandas warns of each column that is added to a frame of more than 100 separate ones."""


def read_table(path: Path) -> tuple[Any, mmap.mmap]:
    """Return the table of an Arrow file whose columns lie in the mapping, and the mapping."""
    import pyarrow as pa

    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapping))).read_all(), mapping


def to_frame(table: Any, mapping: mmap.mmap) -> Any:
    """Return the pandas frame of a table of `read_table`; numbers and times without gaps are not copied.

    What Arrow stores otherwise than pandas is converted: booleans, columns with missing numbers, time zones,
    categories. So are frames that are small, or of many columns.
    """
    columns = table.num_columns
    if table.nbytes < max(_LARGE_BYTES, columns * _COLUMN_BYTES) or columns > _COLUMNS:
        return table.to_pandas()
    import pandas as pd
    import pyarrow as pa

    frame = table.to_pandas(split_blocks=True)  # a column that is not copied is read-only: Arrow's are for ever
    start = pa.py_buffer(mapping).address
    places = range(frame.shape[1])
    own = {place: _writable(frame.iloc[:, place], mapping, start) for place in places}
    back = pd.DataFrame(own, index=frame.index, copy=False)
    back.columns = frame.columns
    back.attrs = frame.attrs
    return back


def read_array(path: Path) -> Any:
    """Return the array of a file of numpy's format."""
    import numpy as np

    if path.stat().st_size < _LARGE_BYTES:
        return np.load(path, allow_pickle=False)
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def _writable(column: Any, mapping: mmap.mmap, start: int) -> Any:
    """Return a column over the same memory that can be written to, or a copy of one that lies elsewhere."""
    import numpy as np
    import pandas as pd

    if not isinstance(column.dtype, np.dtype):
        return column if isinstance(column.dtype, pd.StringDtype) else column.copy()
    values = column.to_numpy(copy=False)
    offset = values.__array_interface__["data"][0] - start
    if not 0 <= offset < len(mapping):
        return column  # converted, so it is a copy
    own = np.frombuffer(mapping, dtype=values.dtype, count=len(values), offset=offset)
    return pd.Series(own, index=column.index, name=column.name, copy=False)
