"""What a stored model is made of, found without loading it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from podium.registry import pickle_rules, pickle_scan
from podium.registry.packaging import CLOUDPICKLE, SKOPS
from podium.registry.pickle_rules import Judgement
from podium.registry.pickle_scan import PickleScan

Verdict = Literal["clean", "own_code", "unreviewed", "dangerous"]
_SHOWN = 12


@dataclass(frozen=True)
class ModelScan:
    """What loading a model would import or rebuild, each with its judgement, and what could not be followed.

    `clean`: everything was reviewed. `own_code`: the pickle holds functions or classes of its own, so it can do
    anything. `unreviewed`: something on no list. `dangerous`: what no model needs, or a pickle that cannot be followed.
    """

    serialization: str
    imports: tuple[tuple[str, Judgement], ...]
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of what was found; what comes with code of its own could import anything else as well."""
        found = {judgement for _, judgement in self.imports}
        if self.problems or "dangerous" in found:
            return "dangerous"
        if "own_code" in found:
            return "own_code"
        return "unreviewed" if "unreviewed" in found else "clean"

    def all_named(self, judgement: Judgement) -> list[str]:
        """Return the imports judged so, in the order of their appearance."""
        return [name for name, judged in self.imports if judged == judgement]

    def named(self, judgement: Judgement) -> str:
        """Return the imports judged so, for a sentence."""
        names = self.all_named(judgement)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more

    def to_document(self) -> dict[str, Any]:
        """Return it in the interface's JSON."""
        return {
            "serialization": self.serialization,
            "verdict": self.verdict,
            "imports": [{"name": name, "judgement": judgement} for name, judgement in self.imports],
            "problems": list(self.problems),
        }


def scan_model(
    data: bytes,
    serialization: str,
    *,
    types: Sequence[str],
    packages: Sequence[str],
    beside: Mapping[str, bytes] | None = None,
) -> ModelScan:
    """Scan the bytes of a model, and the pickles in the files `beside` it; nothing is loaded.

    `types` and `packages` are what the project reviewed. What lies beside is told where it is dangerous: Podium does
    not read it, but others may.
    """
    scan = PickleScan()
    imports: dict[str, Judgement] = {}
    if serialization == SKOPS:
        unknown, problem = _untrusted_types(data)
        imports = {name: "reviewed" if name in types else "unreviewed" for name in unknown}
        if problem:
            scan.problem(problem)
    else:
        scan = pickle_scan.scan_pickle(data)
        imports = _judged(scan, packages)
    problems = list(scan.problems)
    for file, content in (beside or {}).items():
        found = PickleScan()
        pickle_scan.scan_part(content, found)
        bad = [name for name, judgement in _judged(found, packages).items() if judgement == "dangerous"]
        if bad:
            problems.append(f"the file {file} beside it imports {', '.join(bad[:_SHOWN])}")
    return ModelScan(serialization, tuple(imports.items()), tuple(problems))


def untrusted_types(data: bytes) -> list[str]:
    """Return the types in a skops file that skops does not trust by itself; raises whatever skops does."""
    import skops.io

    return list(skops.io.get_untrusted_types(data=data))


def _untrusted_types(data: bytes) -> tuple[list[str], str | None]:
    try:
        return untrusted_types(data), None
    except Exception as error:  # noqa: BLE001 - a damaged file may bring anything
        return [], f"it is no skops file that can be read ({str(error)[:80] or type(error).__name__})"


def _judged(scan: PickleScan, packages: Sequence[str]) -> dict[str, Judgement]:
    judged = {found: pickle_rules.judge(found, packages) for found in scan.imports}
    return {str(found): each for found, each in judged.items() if not found.hint or each == "dangerous"}


def scan_of_estimator(estimator: Any, *, packages: Sequence[str]) -> ModelScan:
    """Scan what cloudpickle writes of an estimator; raises whatever its own code raises."""
    import cloudpickle

    buffer = io.BytesIO()
    cloudpickle.dump(estimator, buffer)
    return scan_model(buffer.getvalue(), CLOUDPICKLE, types=(), packages=packages)
