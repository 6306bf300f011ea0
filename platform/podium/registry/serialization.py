"""How an estimator is written: as skops where every type in it was reviewed, else as a pickle, if that may be."""

from importlib import import_module
from typing import Any

from podium.errors import NoCodec, Refused
from podium.registry import packaging
from podium.registry.model_scan import scan_of_estimator, untrusted_types
from podium.registry.packaging import CLOUDPICKLE, SKOPS
from podium.registry.trust import Trust


def serialization_of(estimator: Any, trust: Trust, *, model: str) -> str:
    """Return "skops" where every type in the estimator is trusted, else "cloudpickle".

    skops runs no code of the file when it loads; a pickle does. Raises Refused where the project takes no pickle, or
    not one that imports this, and NoCodec where neither can write it.
    """
    unknown = _types_to_review(estimator, trust)
    if not unknown:
        return SKOPS
    if trust.pickle == "refuse":
        raise Refused(
            f"The {type(estimator).__name__} of model {model} can be stored only as a pickle, and this project takes "
            f'none (pickle = "refuse" in [models]). Read these and add them to trusted_types, or leave them out of the '
            f"model: {', '.join(sorted(unknown))}."
        )
    # A class or function of a pipeline file exists in no package: it travels inside the model.
    import cloudpickle

    for name in packaging.local_modules(estimator):
        cloudpickle.register_pickle_by_value(import_module(name))
    try:
        scan = scan_of_estimator(estimator, packages=trust.packages)
    except Exception as error:  # a type's own __reduce__ may raise anything
        raise NoCodec(
            f"The {type(estimator).__name__} of model {model} can be stored neither as skops nor by "
            f"cloudpickle ({error}); leave what is not plain data (files, locks, connections) out of it."
        ) from error
    objection = trust.objection(scan, own_code=True)
    if objection is not None:
        raise Refused(f"The {type(estimator).__name__} is not logged for model {model}: {objection}")
    return CLOUDPICKLE


def _types_to_review(estimator: Any, trust: Trust) -> set[str]:
    """Return what keeps an estimator from being stored as skops; empty where nothing does."""
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    try:
        return set(untrusted_types(skops.io.dumps(estimator))) - set(trust.types)
    except (UnsupportedTypeException, TypeError, ValueError, AttributeError) as error:
        said = str(error).splitlines()
        return {f"something that skops cannot write at all ({said[0][:120] if said else type(error).__name__})"}
