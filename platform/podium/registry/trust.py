"""Which models may be loaded: what the project reviewed, held against what is stored."""

from dataclasses import dataclass
from typing import Literal

from podium.errors import Refused
from podium.registry.model_scan import ModelScan
from podium.registry.packaging import SKOPS

PicklePolicy = Literal["refuse", "scan", "allow"]


@dataclass(frozen=True)
class Trust:
    """The types that skops may rebuild, what becomes of pickles, and the packages they may import.

    `packages` are reviewed by the project, beside what Podium's own list holds.
    """

    types: tuple[str, ...] = ()
    pickle: PicklePolicy = "scan"
    packages: tuple[str, ...] = ()

    def objection(self, scan: ModelScan, *, own_code: bool) -> str | None:
        """Return why a model may not be loaded, None where it may; `own_code` says that a run of Podium's made it."""
        if scan.serialization == SKOPS:
            return self._objection_to_types(scan)
        if self.pickle == "allow":
            return None
        if self.pickle == "refuse":
            return (
                'it is a pickle, and this project loads none (pickle = "refuse" in [models]). Train it again from '
                'types on trusted_types, or set pickle = "scan".'
            )
        return self._objection_to_pickle(scan, own_code=own_code)

    def require(self, scan: ModelScan, source: str, *, own_code: bool) -> None:
        """Raise Refused for a model that may not be loaded."""
        objection = self.objection(scan, own_code=own_code)
        if objection is not None:
            raise Refused(f"The model at {source} is not loaded: {objection}")

    def _objection_to_types(self, scan: ModelScan) -> str | None:
        if scan.problems:
            return f"{'; '.join(scan.problems)}. Register it again."
        if scan.verdict == "clean":
            return None
        return (
            f"it is made of types that nobody reviewed: {scan.named('unreviewed')}. Read what they do when they are "
            "rebuilt, then add them to trusted_types."
        )

    def let_through(self, scan: ModelScan, *, own_code: bool) -> str | None:
        """Return what a scan has against a pickle that is loaded all the same, because all are; None for nothing."""
        found = self._found_in_pickle(scan, own_code=own_code)
        if self.pickle != "allow" or scan.serialization == SKOPS or found is None:
            return None
        fact = found[0]
        return f'{fact[0].upper()}{fact[1:]}. It is loaded all the same: pickle = "allow" in [models].'

    def _objection_to_pickle(self, scan: ModelScan, *, own_code: bool) -> str | None:
        found = self._found_in_pickle(scan, own_code=own_code)
        return None if found is None else ". ".join(found)

    def _found_in_pickle(self, scan: ModelScan, *, own_code: bool) -> tuple[str, str] | None:
        """Return what is wrong with a pickle, and what to do; None where nothing is."""
        if scan.verdict == "dangerous":
            what = [f"it imports {scan.named('dangerous')}"] if scan.named("dangerous") else []
            return (
                f"its pickle is dangerous: {'; '.join([*what, *scan.problems])}",
                'Do not load it before you know who made it; pickle = "allow" in [models] loads it all the same.',
            )
        if scan.verdict == "own_code" and not own_code:
            return (
                "its pickle holds code of its own, which a scan cannot judge, and no run of this project made it",
                'Train it by a pipeline, or set pickle = "allow" in [models].',
            )
        if scan.verdict == "unreviewed":
            packages = sorted({found.partition(".")[0] for found in scan.all_named("unreviewed")})
            shown = ", ".join(f'"{package}"' for package in packages)
            return (
                f"its pickle imports what nobody reviewed: {scan.named('unreviewed')}",
                f"Add the packages you trust to podium.toml, as reviewed_packages = [{shown}] in [models].",
            )
        return None
