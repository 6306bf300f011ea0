"""What a version is made of, held against what this project loads."""

from typing import Any

from podium.errors import ArtifactError
from podium.registry import store
from podium.registry.trust import Trust
from podium.wiring.project import Project


def scanned(project: Project, model: str, version: str) -> dict[str, Any]:
    """Return what loading a version would import, as the interface's JSON; raises NotFound and ArtifactError.

    A version that Podium did not register is scanned too: it has no run that made its code.
    """
    source = project.registry.get_version(model, version).source
    with project.database.read() as connection:
        known = store.find_version(connection, model, version)
    scan = project.registry.scan(source)
    damage = None if known is None else _damage(project, source, known.digest)  # of what was changed it says most
    made_by_run = known is not None and known.made_by_run
    objection = damage or trust_of(project).objection(scan, own_code=made_by_run)
    return {
        "model": model,
        "version": version,
        **scan.to_document(),
        "made_by_run": made_by_run,
        "loads": objection is None,
        "objection": objection,
    }


def _damage(project: Project, source: str, digest: str) -> str | None:
    try:
        project.registry.check_files(source, digest=digest)
    except ArtifactError as error:
        return str(error)
    return None


def trust_of(project: Project) -> Trust:
    """Return what the project's settings say of loading models."""
    options = project.settings
    return Trust(options.trusted_types, options.models.pickle, options.models.reviewed_packages)
