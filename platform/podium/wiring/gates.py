"""Which gate policy is in force for a model of this project, and whether the files can be used at all."""

from collections.abc import Iterator

from podium.errors import ConfigurationError
from podium.registry.in_force import PolicyInForce
from podium.registry.policy_file import check_rules, named_policy
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


def unusable(options: Settings) -> Iterator[tuple[str, str]]:
    """Yield each file named by podium.toml that holds no policy, or one with a rule that is not there, and why."""
    named = [("gates", model, file) for model, file in options.gates.items()]
    named += [("environments.policies", name, file) for name, file in options.environments.policies.items()]
    first = {file: (section, whose) for section, whose, file in reversed(named)}
    for file, (section, whose) in sorted(first.items()):
        try:
            check_rules(named_policy(file, options.root, section=section, whose=whose), options.root)
        except ConfigurationError as error:
            yield file, str(error)
