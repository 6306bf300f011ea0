"""Every invariant that a project's database can show, checked in one go."""

from collections.abc import Iterator

from podium.db.violations import Violation
from podium.execution import inspection
from podium.finops import audit
from podium.scheduling import inspection as schedules
from podium.wiring.project import Project


def violations(project: Project, *, deep: bool = False) -> Iterator[Violation]:
    """Yield all that is not as it must be; `deep` also reads the bytes of every artifact.

    Safe while workers run: runs and books are read in one consistent state, and nothing is locked or written.
    """
    with project.database.read() as connection:
        yield from inspection.violations(connection)
        yield from audit.violations(connection)
        yield from schedules.violations(connection)
        yield from inspection.artifact_violations(connection, project.artifacts, deep=deep)
    yield from inspection.left_behind(project.database, project.clock.now())
