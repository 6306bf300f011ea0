"""What `podium init` writes."""

import re
from importlib import resources
from pathlib import Path

from podium.errors import UsageError
from podium.settings import PROJECT_FILE


def create_project(folder: Path) -> list[Path]:
    """Write a new project into `folder` and return its files; UsageError if one of them is there already."""
    templates = resources.files("podium.cli") / "templates"
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "project"
    if not name[0].isalpha():
        name = f"project-{name}"
    files = {
        PROJECT_FILE: (templates / "podium.toml").read_text(encoding="utf-8").replace("@PROJECT@", name),
        "prices.yaml": (resources.files("podium.finops") / "prices.yaml").read_text(encoding="utf-8"),
        "pipelines/digits.py": (templates / "digits.py").read_text(encoding="utf-8"),
        "tests/test_digits.py": (templates / "test_digits.py.txt").read_text(encoding="utf-8"),
    }
    try:
        present = [path for path in files if (folder / path).exists()]
        if present:
            raise UsageError(
                f"{folder / present[0]} is there already; `podium init` overwrites nothing. Choose another folder."
            )
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"The project cannot be made in {folder}: {error}.") from None
    return [folder / path for path in files]
