"""What the report says, in which order: the verdict first, then why, then everything that it rests on."""

import shlex
from collections.abc import Iterator
from typing import Any

from podium.ids import canonical_json
from podium.registry.calibration import Calibration
from podium.registry.evidence import Comparison, Discordant, Evidence
from podium.registry.report import words
from podium.registry.report.blocks import (
    Block,
    Bullets,
    Code,
    Commands,
    Facts,
    Page,
    Paragraph,
    Plot,
    Section,
    Table,
    Text,
)
from podium.registry.report.calibration_plot import calibration_plot, models
from podium.registry.report.circumstances import Circumstances
from podium.registry.report.conditions import conditions
from podium.registry.report.gain_plot import gain_plot, questions
from podium.registry.report.slice_plot import MOST_DRAWN, mark_of, named, ordered, slice_plot

_SPOKEN_FOR = frozenset(
    {
        *("model", "kind", "label", "candidate_digest", "champion_version", "rows", "rarer_class_rows"),
        *("holdout_digest", "holdout_uses", "policy", "policy_digest", "seed", "primary_metric", "primary", "guards"),
        *("slices", "slices_not_checked", "measurements", "discordant", "verdict", "reasons", "calibration"),
        *("limits", "signature", "rules", "data_checks", "duplicate_rows", "policy_source"),
    }
)
"""The facts that have a section of their own; whatever else evidence holds is listed as it is."""


def page_of(evidence: Evidence, about: Circumstances) -> Page:
    """Return the page about a judgement."""
    sections = [
        Section("Why", [Bullets(evidence.reasons)]),
        _metrics(evidence),
        *_slices(evidence),
        *_calibration(evidence.calibration, evidence.label),
        *_discordant(evidence.discordant),
        *conditions(evidence),
        _rows(evidence),
        *_further(evidence),
        _policy(evidence),
        _origin(evidence, about),
        _repeating(evidence, about),
    ]
    model = words.shortened(about.model or evidence.model)
    return Page(f"{model}: {_subject(about)}", evidence.verdict, sentence(evidence), sections)


def sentence(evidence: Evidence) -> str:
    """Return the verdict in one sentence, and what follows from it."""
    model, champion = words.shortened(evidence.model), evidence.champion_version
    now = f"version {words.shortened(champion)} of {model}" if champion is not None else model
    stays = f"{now} stays champion" if champion is not None else f"{model} stays without a champion"
    if evidence.verdict == "passed":
        becomes = f"replace {now} as champion" if champion is not None else f"become the first champion of {model}"
        return f"The candidate passed the gate: it may {becomes}."
    if evidence.verdict == "failed":
        return f"The candidate failed the gate: {stays}."
    return f"The gate cannot tell from these rows whether the candidate is good enough: {stays}."


def _subject(about: Circumstances) -> str:
    who = "a candidate" if about.version is None else f"version {words.shortened(about.version)}"
    return who if about.interval is None else f"{who}, {words.shortened(about.interval)}"


def _metrics(evidence: Evidence) -> Section:
    floors = evidence.policy.floors
    measured = Table(
        ("metric", "candidate", "champion", "best constant answer", "floor"),
        [
            (
                words.metric_title(one.metric),
                words.value(one.candidate),
                words.value(one.champion),
                words.value(one.baseline),
                words.value(floors.get(one.metric)),
            )
            for one in evidence.measurements
        ],
    )
    blocks: list[Block] = [measured]
    asked = questions(evidence)
    if asked:
        alpha = evidence.policy.alpha
        blocks += _plots(gain_plot(evidence))
        blocks.append(_comparisons(asked, alpha))
        blocks.append(
            Paragraph(
                "The gain is how much better the candidate is, positive is better, whichever way the metric points. "
                f"Each test is one-sided at level {words.value(alpha)}. Rows needed are those that show a change of "
                f"the margin with power {words.percent(evidence.policy.power)}; the smallest visible change is what "
                "these rows show with it."
            )
        )
        blocks += [
            Paragraph(f"{words.metric_title(one.metric)} ({role}) is unknown: {one.unknown}.", warns=True)
            for role, one in asked
            if one.unknown is not None
        ]
    else:
        blocks.append(Paragraph("This is the first model: there was no champion to compare with."))
    return Section("Metrics", blocks)


def _comparisons(asked: list[tuple[str, Comparison]], alpha: float) -> Table:
    return Table(
        ("metric", "asked", "answer", "test", "gain", "interval", "margin", "p", "rows needed", "smallest visible"),
        [
            (
                f"{words.metric_title(one.metric)} ({role})",
                words.question(one),
                words.answer(one, alpha),
                words.NOTHING if one.test is None else one.test,
                words.change(one.gain),
                words.between(one.low, one.high),
                words.value(one.margin),
                words.level(one.p_value),
                words.count(one.rows_needed),
                words.value(one.smallest_visible),
            )
            for role, one in asked
        ],
        numbers_from=4,
    )


def _slices(evidence: Evidence) -> Iterator[Section]:
    if not (evidence.slices or evidence.slices_not_checked):
        return
    blocks: list[Block] = []
    if evidence.slices:
        blocks += _plots(slice_plot(evidence))
        if len(evidence.slices) > MOST_DRAWN:
            blocks.append(Paragraph(f"The {MOST_DRAWN} most harmed of {len(evidence.slices):,} slices are drawn."))
        blocks.append(
            Table(
                ("slice", "harm", "rows", "gain", "interval", "p (Holm)", "p (Benjamini-Hochberg)"),
                [
                    (
                        named(one),
                        mark_of(one, evidence) or words.NOTHING,
                        words.count(one.rows),
                        words.change(one.gain),
                        words.between(one.low, one.high),
                        words.level(one.p_blocking),
                        words.level(one.p_pointing),
                    )
                    for one in ordered(evidence)
                ],
                numbers_from=2,
            )
        )
        blocks.append(
            Paragraph(
                "Each slice is tested for harm in the primary metric. Holm's correction for their number decides what "
                "blocks, Benjamini-Hochberg's what is worth a look. The intervals are each slice's own, uncorrected."
            )
        )
    if evidence.slices_not_checked:
        count = evidence.slices_not_checked
        blocks.append(
            Paragraph(
                f"{count:,} more {'value has' if count == 1 else 'values have'} too few rows to be checked, or no row "
                "on which the models differ."
            )
        )
    yield Section("Slices", blocks)


def _calibration(calibration: Calibration | None, label: str) -> Iterator[Section]:
    if calibration is None:
        return
    rows = [
        (
            who,
            f"{words.probability(one.lowest)} to {words.probability(one.highest)}",
            words.count(one.rows),
            words.probability(one.predicted),
            words.probability(one.observed),
            f"{words.probability(one.low)} to {words.probability(one.high)}",
        )
        for who, curve in models(calibration)
        for one in curve.bins
    ]
    what = words.shortened(f"{label} = {calibration.positive}")
    scores = ", ".join(f"{words.value(curve.brier)} for the {who}" for who, curve in models(calibration))
    yield Section(
        "Calibration",
        [
            Paragraph(f"Brier score, the mean squared error of the probabilities, lower is better: {scores}."),
            *_plots(calibration_plot(calibration, label)),
            Table(("model", "predicted", "rows", "on average", "observed", "interval"), rows, numbers_from=2),
            Paragraph(
                f"Of the rows to which a model gives {what} about the same probability, as large a share should turn "
                "out so: points on the diagonal. Bins hold about equally many rows; intervals are Wilson's, "
                f"{words.percent(calibration.confidence)}. The gate does not ask for it."
            ),
        ],
    )


def _discordant(found: Discordant | None) -> Iterator[Section]:
    if found is None:
        return
    rows = [
        ("only the candidate", words.count(found.only_candidate), _positions(found.only_candidate_rows)),
        ("only the champion", words.count(found.only_champion), _positions(found.only_champion_rows)),
    ]
    yield Section(
        "Where they differ",
        [
            Paragraph("Rows that exactly one of the two models classified rightly, with the positions of the first."),
            Table(("right is", "rows", "positions in the holdout"), rows),
        ],
    )


def _positions(rows: tuple[int, ...]) -> str:
    return ", ".join(str(row) for row in rows) or words.NOTHING


def _rows(evidence: Evidence) -> Section:
    uses = evidence.holdout_uses
    pairs: list[tuple[str, Text]] = [
        ("rows", words.count(evidence.rows)),
        ("label", words.shortened(evidence.label)),
        ("problem", evidence.kind.replace("_", " ")),
        ("digest", Code(evidence.holdout_digest)),
        ("judged before", f"{uses:,} {'time' if uses == 1 else 'times'}"),
    ]
    if evidence.rarer_class_rows is not None:
        pairs.insert(1, ("rows of the rarer class", words.count(evidence.rarer_class_rows)))
    if evidence.duplicate_rows is not None:
        pairs.append(("rows that repeat another", words.count(evidence.duplicate_rows)))
    blocks: list[Block] = [Facts(pairs)]
    if uses:
        blocks.append(
            Paragraph(
                f"These rows judged candidates of this model {uses:,} {'time' if uses == 1 else 'times'} before. Each "
                "look at the same rows is another chance to be lucky, which no p-value here is corrected for: judge on "
                "newer rows.",
                warns=True,
            )
        )
    return Section("Holdout", blocks)


def _further(evidence: Evidence) -> Iterator[Section]:
    """List the facts of evidence that this report has no better words for."""
    document = evidence.model_dump(mode="json")
    names = [name for name in document if name not in _SPOKEN_FOR and document[name] not in (None, [], {})]
    if names:
        yield Section("Further facts", [Facts([(name.replace("_", " "), _said(document[name])) for name in names])])


def _policy(evidence: Evidence) -> Section:
    rules = evidence.policy.model_dump(mode="json")
    pairs: list[tuple[str, Text]] = [
        ("digest", Code(evidence.policy_digest)),
        ("stated by", _STATED_BY[evidence.policy_source]),
    ]
    pairs += [(name.replace("_", " "), _said(rule)) for name, rule in rules.items()]
    return Section("Policy", [Facts(pairs)])


_STATED_BY = {"pipeline": "the pipeline", "file": "a file of the project", "default": "nobody: it is the default"}


def _said(fact: Any) -> Text:
    if fact is None or fact in ([], {}):
        return "none"
    return words.visible(fact) if isinstance(fact, str | int | float) else Code(canonical_json(fact))


def _origin(evidence: Evidence, about: Circumstances) -> Section:
    champion = evidence.champion_version
    known: list[tuple[str, Text | None]] = [
        ("judged for", words.shortened(evidence.model)),
        ("version", None if about.version is None else f"{about.version} of {about.model or evidence.model}"),
        ("champion it was compared with", "none, the first model" if champion is None else words.shortened(champion)),
        ("pipeline", about.pipeline),
        ("interval", about.interval),
        ("run", Code(about.run_id)),
        ("judged", None if about.recorded_at is None else f"{about.recorded_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("candidate", Code(evidence.candidate_digest)),
        ("training data", None if about.data_digest is None else Code(about.data_digest)),
        ("code", None if about.code_digest is None else Code(about.code_digest)),
        ("evidence", Code(evidence.digest)),
    ]
    return Section("Where it comes from", [Facts([(name, fact) for name, fact in known if fact is not None])])


def _repeating(evidence: Evidence, about: Circumstances) -> Section:
    run, candidate, holdout = (
        shlex.quote(words.visible(each)) for each in (about.run_id, evidence.candidate_digest, evidence.holdout_digest)
    )
    return Section(
        "Repeating it",
        [
            Paragraph(
                "The same candidate, champion, rows, policy and seed give the same numbers. The seed, of the bootstrap "
                f"alone, is {evidence.seed}."
            ),
            Commands(
                [
                    f"podium runs show {run}",
                    f"podium artifacts show {candidate}",
                    f"podium artifacts show {holdout}",
                    f'podium runs rerun {run} --reason "judge again"',
                ]
            ),
        ],
    )


def _plots(drawn: Plot | None) -> list[Block]:
    return [] if drawn is None else [drawn]
