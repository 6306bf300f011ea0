"""What an advance to the next environment rests on, found in this project: rows, training, policies, costs."""

import sys
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from podium.errors import ArtifactError, NotFound
from podium.execution import queries
from podium.finops.costs import cost_of_runs
from podium.registry.advance import AdvanceService
from podium.registry.entities import ModelVersion, RecordedEvidence
from podium.registry.policy import GatePolicy
from podium.registry.policy_file import check_rules, named_policy
from podium.wiring.environments import environment_path
from podium.wiring.project import Project
from podium.wiring.training import trained_on

if TYPE_CHECKING:  # heavy, and named in a signature only
    import pandas as pd


def advances(project: Project) -> AdvanceService:
    """Return the service that brings versions of this project to their next environment."""
    return AdvanceService(
        project.database,
        project.registry,
        project.clock,
        path=environment_path(project.settings),
        promotions=project.promotions,
        grounds=ProjectGrounds(project),
    )


@dataclass(frozen=True)
class ProjectGrounds:
    """Implements Grounds with a project's artifacts, runs, settings and ledger."""

    project: Project

    def holdout(self, version: ModelVersion, evidence: RecordedEvidence) -> "pd.DataFrame":
        """Return the rows that judged a version, from the artifacts."""
        try:
            with self.project.database.read() as connection:
                artifact = queries.artifact_of(connection, evidence.holdout_digest)
            rows: pd.DataFrame = self.project.artifacts.get(artifact)
        except (ArtifactError, NotFound) as error:
            with self.project.database.read() as connection:
                run = queries.get_run(connection, evidence.run_id)
            raise ArtifactError(
                f"The rows that judged version {version.version} of {version.model} cannot be read. {error} They are "
                f"of the run {run.run_id}: `podium runs rerun {run.run_id}` makes them anew."
            ) from error
        return rows

    def trained_on(self, version: ModelVersion) -> Collection[str]:
        """Return the digests of all that was read on the way to a version's model."""
        return trained_on(self.project, version)

    def policy(self, environment: str) -> GatePolicy | None:
        """Return the policy in the file that `[environments.policies]` names, the project's modules importable."""
        root = str(self.project.settings.root)
        if root not in sys.path:
            sys.path.append(root)  # behind all else: a file of the project hides no module of Python's own
        return policy_of(self.project, environment)

    def cost_usd(self, version: ModelVersion) -> Decimal | None:
        """Return what the run that made a version has cost, from the ledger."""
        if version.run_id is None:
            return None
        with self.project.database.read() as connection:
            return cost_of_runs(connection, [version.run_id])[version.run_id].complete

    def copied(self, version: ModelVersion) -> None:
        """Record that what the original cost is what its copy cost."""
        if version.lineage is None or version.copied_from is None:
            return
        with self.project.database.write() as connection:
            self.project.ledger.copy_lineage(connection, version.copied_from, (version.model, version.version))


def policy_of(project: Project, environment: str) -> GatePolicy | None:
    """Return the gate's policy of an environment; None where none was given, ConfigurationError for a wrong one."""
    named = project.settings.environments.policies.get(environment)
    if named is None:
        return None
    policy = named_policy(named, project.settings.root, section="environments.policies", whose=environment)
    check_rules(policy, project.settings.root)
    return policy
