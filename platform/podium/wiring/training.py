"""What a version was trained on, from the records of the run that made it."""

from podium.execution import outputs, plans, queries
from podium.registry import store
from podium.registry.entities import ModelVersion
from podium.wiring.project import Project


def trained_on(project: Project, version: ModelVersion) -> list[str]:
    """Return the digests of all that was read on the way to a version's model; nothing where nobody knows."""
    with project.database.read() as connection:
        evidence = store.find_evidence(connection, version.evidence_digest)
        if evidence is None or version.lineage is None:
            return []
        run_id = version.lineage.run_id
        plan = plans.load(connection, queries.get_run(connection, run_id).plan_digest)
        return outputs.read_for(connection, run_id, plan, evidence.candidate_digest)
