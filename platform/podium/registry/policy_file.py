"""Gate policies in files: YAML without surprises, and which file judges which model."""

import ast
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import ConfigurationError
from podium.registry.policy import GatePolicy
from podium.settings import PROJECT_FILE, gate_file

if TYPE_CHECKING:  # imported by whoever reads a file
    import yaml

_LARGEST_BYTES = 65_536
_DEEPEST = 8
_EXAMPLE = "as in `primary: auc`"


def policy_for(model: str, gates: Mapping[str, str], root: Path) -> GatePolicy | None:
    """Return the policy that the project in `root` sets for a model by `gates`; None where it sets none.

    Raises ConfigurationError where the file is not there, or says what is no policy.
    """
    file = gate_file(gates, model)
    return None if file is None else named_policy(file, root, section="gates", whose=model)


def named_policy(file: str, root: Path, *, section: str, whose: str) -> GatePolicy:
    """Return the policy in a file of the project that a section of podium.toml names.

    Raises ConfigurationError where the file is not there, or says what is no policy.
    """
    if not (root / file).is_file():
        raise ConfigurationError(
            f"{root / PROJECT_FILE} says that {file} holds the gate of {whose}, but there is no such file in {root}; "
            f"write it, or correct the section [{section}]."
        )
    return GatePolicy.from_document(read_mapping(root / file), called=f"The gate policy {root / file}")


def check_rules(policy: GatePolicy, root: Path) -> None:
    """Raise ConfigurationError for a rule in a file of the project in `root` that does not define it.

    Files are read and nothing is imported. A rule of a module that is no file of the project is left for who asks it.
    """
    for rule in policy.rules:
        module, _, name = rule.function.partition(":")
        path = root.joinpath(*module.split("."))
        files = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
        package = root / module.partition(".")[0]
        if not files and package.is_dir() and not (package / "__init__.py").is_file():
            raise ConfigurationError(
                f"The gate's rule {rule.function} is in no file: there is no {path.relative_to(root)}.py in {root}. "
                "Write it, or correct the rule's name in the policy."
            )
        there = set(_names_in(files[0])) if files else {name}
        if name not in there:
            close = difflib.get_close_matches(name, sorted(there), n=1)
            meant = f"; did you mean {close[0]}?" if close else "."
            raise ConfigurationError(
                f"The gate's rule {rule.function} is not in {files[0].relative_to(root)}{meant} Define it there with "
                "def, or correct its name in the policy."
            )


def _names_in(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigurationError(
            f"{file}, which a rule of the gate lies in, cannot be read as Python: {error}. Correct it."
        ) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return what a YAML file states, one mapping of names; ConfigurationError says what keeps it from being one.

    Refused are keys that stand twice, which YAML leaves open, and anchors, aliases and merge keys, by which a few lines
    can stand for gigabytes, or for something else than they show.
    """
    import yaml

    called = f"The gate policy {path}"
    text = _text(path, called)
    try:
        _refuse_anchors(yaml.parse(text, Loader=yaml.SafeLoader), called)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise ConfigurationError(f"{called} is empty; state at least one rule, {_EXAMPLE}.")
        _check_keys(node, called)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"{called} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(document, dict):
        raise ConfigurationError(
            f"{called} holds a {type(document).__name__} where rules by their names are needed, {_EXAMPLE}."
        )
    return document


def _text(path: Path, called: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{called} cannot be read: {error}.") from None
    if len(data) > _LARGEST_BYTES:
        raise ConfigurationError(f"{called} has more than {_LARGEST_BYTES:,} bytes, which no policy needs; shorten it.")
    return text


def _refuse_anchors(events: "Iterator[yaml.Event]", called: str) -> None:
    import yaml

    depth = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "anchor", None) is not None:
            raise ConfigurationError(
                f"{called} has an anchor or alias in line {line}; write what it stands for in full."
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ConfigurationError(
                f"{called} nests deeper than {_DEEPEST} levels in line {line}, which no rule does."
            )


def _check_keys(node: "yaml.Node", called: str) -> None:
    """Raise ConfigurationError unless every key is a text, and stands once in its mapping."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, called)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            shown = key.value if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
            raise ConfigurationError(f"{called} has the key {shown} in line {line}, which YAML takes for no text.")
        if key.value in lines:
            raise ConfigurationError(
                f"{called} has the key {key.value} twice, in lines {lines[key.value]} and {line}; keep one."
            )
        lines[key.value] = line
        _check_keys(value, called)
