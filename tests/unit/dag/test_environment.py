"""What a cached step declares that it depends on."""

import pytest

from podium.dag import environment


def test_a_package_is_its_version_and_a_variable_the_digest_of_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "secret")
    first = environment.identity(("pytest", "$REGION", "$NOBODY_SET_THIS"))
    assert first["pytest"] == pytest.__version__
    assert first["$NOBODY_SET_THIS"] is None
    assert "secret" not in str(first)
    monkeypatch.setenv("REGION", "other")
    assert environment.identity(("$REGION",))["$REGION"] != first["$REGION"]
    monkeypatch.setenv("REGION", "")
    assert environment.identity(("$REGION",))["$REGION"] is not None


def test_packages_that_are_not_there_are_told() -> None:
    assert environment.missing_packages(("pytest", "$REGION", "no-such-package", "")) == ["no-such-package", ""]
