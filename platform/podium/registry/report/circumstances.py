"""What the evidence itself does not say: the run, the version, and by what code and data the candidate was made."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Circumstances:
    """Where a judgement took place; what is None is not known, or not yet, and the report leaves it out.

    `version` is one of `model`, which is another model than the judged one where the version was copied.
    """

    run_id: str
    model: str | None = None
    pipeline: str | None = None
    interval: str | None = None
    version: str | None = None
    data_digest: str | None = None
    code_digest: str | None = None
    recorded_at: datetime | None = None
