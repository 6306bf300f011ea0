"""Which gate policy is in force for a model of this project."""

from podium.registry.in_force import PolicyInForce
from podium.registry.policy_file import named_policy
from podium.settings import Settings, gate_file
from podium.wiring.environments import environment_path


def policy_in_force(options: Settings, model: str) -> PolicyInForce | None:
    """Return what `[gates]` names for a model, or for one of a later environment `[environments.policies]`.

    None where they name nothing; ConfigurationError for a file that is not there, or holds no policy.
    """
    path = environment_path(options)
    place = path.place_of(model)
    if place is not None and path.before(model) is not None:
        section, whose, file = (
            "environments.policies",
            place.environment,
            options.environments.policies.get(place.environment),
        )
    else:
        section, whose, file = "gates", model, gate_file(options.gates, model)
    return None if file is None else PolicyInForce(file, named_policy(file, options.root, section=section, whose=whose))
