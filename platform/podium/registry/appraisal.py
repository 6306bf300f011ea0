"""What speaks for and against a version that is to be taken over, read from its files, which nobody loads."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from podium.errors import ArtifactError
from podium.registry.entities import ModelVersion, RegisteredVersion
from podium.registry.port import DIGEST_TAG, ModelRegistry
from podium.registry.stored_model import StoredModel
from podium.registry.trust import Trust


@dataclass(frozen=True)
class Appraisal:
    """What the files of a version came to: their digest, why it is refused (None: it is not), what to note of it.

    It is of the version as it was `registered` and `known` when they were read; `leads` is champion or challenger, and
    was scanned. `by_policy`: what refuses it is a rule of the project, and not its files.
    """

    registered: RegisteredVersion
    known: ModelVersion | None
    leads: bool
    digest: str | None
    refusal: str | None = None
    by_policy: bool = False
    notes: tuple[str, ...] = ()

    def refused(self, why: str, *, by_policy: bool = False) -> "Appraisal":
        """Return it with what speaks against the version."""
        return replace(self, refusal=why, by_policy=by_policy)

    def answers(self, registered: RegisteredVersion, known: ModelVersion | None, *, leads: bool) -> bool:
        """Whether it says all that is asked of a version that is registered and known so."""
        return (self.registered, self.known) == (registered, known) and (self.leads or not leads)


def appraise(
    registry: ModelRegistry, trust: Trust, registered: RegisteredVersion, known: ModelVersion | None, *, leads: bool
) -> Appraisal:
    """Read the files of a version; of one that leads also what it is made of, which the project has to trust."""
    found = Appraisal(registered, known, leads, None if known is None else known.digest)
    if known is not None and not leads:
        return found
    try:
        if known is not None:
            registry.check_files(registered.source, digest=known.digest)
        else:
            stored = registry.describe(registered.source)
            found = replace(found, digest=stored.digest, notes=tuple(_shortcomings(stored)))
    except ArtifactError as error:
        return found.refused(str(error))
    tagged = registered.tags.get(DIGEST_TAG, found.digest)
    if known is None and tagged != found.digest:
        return found.refused(
            f"Its tag {DIGEST_TAG} says {(tagged or '')[:12]}…, its files have {(found.digest or '')[:12]}…: they were "
            "changed after they were registered. Restore them from a backup."
        )
    return _scanned(registry, trust, found) if leads else found


def _scanned(registry: ModelRegistry, trust: Trust, found: Appraisal) -> Appraisal:
    """Add what a scan found: an objection, what the project lets through, or that nothing could be scanned."""
    model, version = found.registered.model, found.registered.version
    try:
        scan = registry.scan(found.registered.source)
    except ArtifactError as error:  # as of another flavor: it serves elsewhere, and Podium loads no such model
        return replace(found, notes=(*found.notes, f"Nobody scanned what it is made of: {error}"))
    own_code = found.known is not None and found.known.made_by_run
    more = f"`podium models scan {model} {version}` shows what it is made of."
    objection = trust.objection(scan, own_code=own_code)
    if objection is not None:
        return found.refused(f"{objection[0].upper()}{objection[1:]} {more}", by_policy=True)
    let_through = trust.let_through(scan, own_code=own_code)
    return found if let_through is None else replace(found, notes=(*found.notes, f"{let_through} {more}"))


def _shortcomings(stored: StoredModel) -> Iterable[str]:
    """Say what Podium cannot do with a version for what its files lack."""
    if "sklearn" not in stored.flavors:
        flavors = ", ".join(stored.flavors) or "unknown"
        yield (
            f"Its flavor is {flavors}: Podium loads scikit-learn models alone, so no candidate is compared with it and "
            "no rollback leads to it."
        )
    if stored.inputs is None:
        yield "It has no signature of columns, so a rollback cannot tell whether it takes the requests of today."
