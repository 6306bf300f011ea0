"""Tables: what names a thing is never cut, prose wraps, and a narrow screen loses what it can spare."""

import pytest
from rich.console import Console

from podium.cli import output, tables
from podium.cli.tables import Column

COLUMNS = [Column("run"), Column("why", wraps=True), Column("cost", right=True), Column("digest", spare=True)]
ROWS = [
    ("01m801pjstj91k3p3c", "[green]better[/] by more than chance alone would have it", "$1.00", "b52521734126"),
    ("01m801qawz2d827r9y", "–", "$0.25", "c4a007246ab6"),
]


def _shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *, terminal: bool
) -> list[str]:
    console = Console(width=width, force_terminal=terminal, color_system=None, highlight=False)
    monkeypatch.setattr(output, "console", lambda: console)
    tables.print_table(COLUMNS, ROWS, total=("total", "", "$1.25", ""))
    return capsys.readouterr().out.splitlines()


def test_a_wide_screen_gets_everything_on_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _shown(monkeypatch, capsys, 100, terminal=True) == [
        "run                 why                                              cost  digest",
        "─" * 87,
        "01m801pjstj91k3p3c  better by more than chance alone would have it  $1.00  b52521734126",
        "01m801qawz2d827r9y  –                                               $0.25  c4a007246ab6",
        "",
        "total                                                               $1.25",
    ]


def test_a_narrow_screen_loses_the_spare_column_and_wraps_prose_and_cuts_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _shown(monkeypatch, capsys, 50, terminal=True)
    assert "digest" not in lines[0]
    assert max(map(len, lines)) <= 50
    assert lines[2].startswith("01m801pjstj91k3p3c  better by")
    assert lines[3].strip() == "chance alone would have"


def test_a_screen_too_narrow_for_all_still_shows_names_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _shown(monkeypatch, capsys, 20, terminal=True)
    assert lines[2].startswith("01m801pjstj91k3p3c")
    assert lines[2].endswith("$1.00")


def test_a_word_that_is_longer_than_its_column_goes_on_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    word = "https://tickets.example/" + "x" * 100
    monkeypatch.setattr(f"{__name__}.ROWS", [("01m801pjstj91k3p3c", f"see {word} there", "$1.00", "b52521734126")])
    lines = _shown(monkeypatch, capsys, 80, terminal=True)
    assert max(map(len, lines)) <= 80
    assert "".join(lines).count("x") == word.count("x")


def test_a_pipe_gets_every_column_however_narrow_it_claims_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = _shown(monkeypatch, capsys, 40, terminal=False)
    assert lines[0].endswith("digest")
    assert any(line.endswith("b52521734126") for line in lines)


def test_lines_have_no_spaces_at_their_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for width in (30, 60, 100):
        assert not any(line.endswith(" ") for line in _shown(monkeypatch, capsys, width, terminal=True))


def test_what_a_user_wrote_is_shown_as_it_is_brackets_and_all() -> None:
    assert output.safe("[bold]ada[/]") == r"\[bold]ada\[/]"
    assert output.safe(None) == "–"
