"""Whether a version may take over as its stored files go: there, unchanged, and for a rollback loading and fitting."""

from dataclasses import replace

from podium.db.engine import Database
from podium.errors import ArtifactError, NotFound, PodiumError, Refused
from podium.registry import rollback, store, transitions
from podium.registry.entities import ModelVersion, Promotion
from podium.registry.port import ModelRegistry
from podium.registry.transitions import Objection, Situation


class Targets:
    """Looks at the files of versions that are to become champion."""

    def __init__(self, database: Database, registry: ModelRegistry) -> None:
        self._database = database
        self._registry = registry

    def damage(self, situation: Situation, action: str, version: str, candidate: ModelVersion | None) -> str | None:
        """Say what is wrong with the files of a version, `candidate` on record, None where nothing is.

        They must be there and have the digest on record. A rollback's must load as well, and take the requests that are
        made for the present champion, as far as signatures say.
        """
        model = situation.model
        if candidate is None:
            return f"Podium did not register version {version} of {model}: no digest is known."
        try:
            source = self._registry.get_version(model, version).source
            if action != "rollback":
                self._registry.check_files(source, digest=candidate.digest)
                return None
            self._registry.check_loads(source, digest=candidate.digest, own_code=candidate.made_by_run)
            unfit = self._misfit(situation, source)
        except Refused as error:
            return f"Version {version} of {model} may not be loaded. {error}"
        except (ArtifactError, NotFound) as error:
            return f"Version {version} of {model} is damaged. {error}"
        return None if unfit is None else f"Version {version} of {model} does not fit today's requests: {unfit}."

    def with_offer(
        self, proposal: Promotion, situation: Situation, objection: Objection
    ) -> tuple[Promotion, Objection]:
        """Add to the refusal of a rollback whose target is no good which earlier champion is."""
        model, refused = situation.model, proposal.to_version
        by_rule = transitions.swap_objection(situation, proposal.expected_version) or transitions.rollback_objection(
            situation, refused
        )
        if proposal.action != "rollback" or by_rule is not None:
            return proposal, objection
        others = [each for each in transitions.rollback_targets(situation) if each != refused]
        offer = rollback.find_next(others, lambda each: self._damage_of_former(situation, each))
        text = f"{objection.text} {offer.words(model, refused=refused)}"
        return replace(proposal, next_valid=offer.next_valid), replace(objection, text=text)

    def _damage_of_former(self, situation: Situation, version: str) -> str | None:
        with self._database.read() as connection:
            known = store.find_version(connection, situation.model, version)
        return self.damage(situation, "rollback", version, known)

    def _misfit(self, situation: Situation, source: str) -> str | None:
        if situation.champion is None:
            return None
        target = self._registry.columns_of(source)
        known = situation.champion_version
        try:
            present = known or self._registry.get_version(situation.model, situation.champion)
            return rollback.misfit(target, self._registry.columns_of(present.source))
        except PodiumError:
            return None  # nobody can say what its requests are; that must not keep it in place
