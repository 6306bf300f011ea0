"""What the policy asks beside metrics, as sections: limits, what callers send, the project's rules, data checks."""

from collections.abc import Iterator
from decimal import Decimal

from podium.registry.evidence import DataCheck, Evidence, LimitCheck, RuleCheck, SignatureCheck
from podium.registry.policy import decimal_in_full
from podium.registry.report import words
from podium.registry.report.blocks import Block, Paragraph, Section, Table

_MOST_COLUMNS = 50
_ANYTHING = "another kind"


def conditions(evidence: Evidence) -> Iterator[Section]:
    """Yield a section for each sort of condition that the evidence says something of."""
    if evidence.limits:
        yield Section("Limits", _limits(evidence.limits))
    if evidence.signature is not None:
        yield Section("What callers send", _signature(evidence.signature, is_first=evidence.champion_version is None))
    if evidence.rules:
        yield Section("Rules of the project", [_rules(evidence.rules)])
    if evidence.data_checks:
        yield Section("Data checks", [_data_checks(evidence.data_checks)])


def _limits(limits: tuple[LimitCheck, ...]) -> list[Block]:
    table = Table(
        ("limit", "answer", "found", "allowed", "candidate", "champion", "rows"),
        [
            (
                one.limit.replace("_", " "),
                _answer(one),
                _decimal(one.value),
                _decimal(one.allowed),
                _decimal(one.candidate),
                _decimal(one.champion),
                words.count(one.rows),
            )
            for one in limits
        ],
        numbers_from=2,
    )
    unknown = [
        Paragraph(f"{one.limit.replace('_', ' ').capitalize()} is unknown: {words.visible(one.unknown)}.", warns=True)
        for one in limits
        if one.unknown is not None
    ]
    return [table, *unknown]


def _answer(limit: LimitCheck) -> str:
    if limit.value is None:
        return "unknown"
    return "within" if limit.value <= limit.allowed else "above"


def _decimal(number: Decimal | None) -> str:
    return words.NOTHING if number is None else decimal_in_full(number)


def _signature(found: SignatureCheck, *, is_first: bool) -> list[Block]:
    blocks: list[Block] = []
    if found.unknown is not None:
        blocks.append(Paragraph(f"The columns cannot be compared: {words.visible(found.unknown)}.", warns=True))
    kinds = {each.name: each.kind for each in found.features or ()}
    changed = {each.name for each in found.changed}
    rows = [
        *(
            (words.shortened(name), words.NOTHING, kinds.get(name, _ANYTHING), "new: no caller sends it")
            for name in found.new
        ),
        *(
            (words.shortened(each.name), each.champion, each.candidate, "holds something else")
            for each in found.changed
        ),
        *((words.shortened(name), "needed", words.NOTHING, "needed no more") for name in found.dropped),
    ]
    if rows:
        blocks.append(Table(("column", "champion", "candidate", "difference"), rows, numbers_from=4))
    same = [name for name in kinds if name not in changed and name not in found.new]
    if same:
        what = "The candidate needs" if is_first else "The same for both"
        listed = ", ".join(f"{words.shortened(name)} ({kinds[name]})" for name in same[:_MOST_COLUMNS])
        more = f" and {len(same) - _MOST_COLUMNS:,} more" if len(same) > _MOST_COLUMNS else ""
        blocks.append(Paragraph(f"{what}: {listed}{more}."))
    if found.champion_classes is not None:
        before, now = (", ".join(map(words.shortened, each or ())) for each in (found.champion_classes, found.classes))
        blocks.append(Paragraph(f"The classes that they answer in differ: {before} before, {now} now.", warns=True))
    elif found.classes is not None:
        blocks.append(Paragraph(f"It answers in the classes {', '.join(map(words.shortened, found.classes))}."))
    return blocks


def _rules(rules: tuple[RuleCheck, ...]) -> Table:
    rows = [(words.shortened(one.rule), one.verdict, words.visible(one.reason)) for one in rules]
    return Table(("rule", "verdict", "reason"), rows, numbers_from=3)


def _data_checks(checks: tuple[DataCheck, ...]) -> Table:
    return Table(
        ("data", "check", "severity", "outcome", "reason"),
        [
            (
                words.shortened(one.report),
                words.shortened(one.check),
                one.severity,
                one.outcome,
                words.visible(one.reason),
            )
            for one in checks
        ],
        numbers_from=5,
    )
