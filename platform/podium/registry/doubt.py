"""What a verdict cannot know: whether the champion was trained on the rows that judged."""

from datetime import datetime

from podium.registry.entities import ModelVersion


def doubt_about(champion: ModelVersion, *, start: datetime, judged: str) -> str | None:
    """Return that the champion may know the rows, being of a later or unknown interval; None where it is not.

    `start` is the beginning of the candidate's interval, `judged` what the message calls that. To lose against such a
    champion proves nothing.
    """
    lineage = champion.lineage
    if lineage is not None and lineage.interval_start <= start:
        return None
    whence = (
        "was adopted, so nobody knows what trained it,"
        if lineage is None
        else f"is from a later interval (from {lineage.interval_start:%Y-%m-%d}) than {judged}"
    )
    return (
        f"The champion, version {champion.version}, {whence} and may have been trained on these rows: an advantage "
        "that the candidate did not have."
    )
