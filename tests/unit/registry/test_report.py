"""The report: what it must say, that hostile names stay names, and that any evidence has one."""

import hashlib
import re
from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.registry.calibration import Calibration, Reliability, ReliabilityBin
from podium.registry.evidence import (
    ChangedFeature,
    Comparison,
    DataCheck,
    Discordant,
    Evidence,
    Feature,
    LimitCheck,
    Measurement,
    RuleCheck,
    SignatureCheck,
    SliceCheck,
)
from podium.registry.metrics import Kind, Metric
from podium.registry.policy import GatePolicy, Guard
from podium.registry.report import Circumstances, Report, numbers, parameters, render, summary
from podium.registry.report.markdown import escaped

SVG = "{http://www.w3.org/2000/svg}"
ABOUT = Circumstances(
    run_id="0j9x3k",
    pipeline="flight_delay",
    interval="2013-05",
    version="4",
    data_digest="d" * 64,
    code_digest="e" * 64,
    recorded_at=datetime(2013, 6, 1, 4, 5, 6, tzinfo=UTC),
)
HOSTILE = (
    '<script>alert("x")</script>',
    "'\"><img src=x onerror=alert(1)>",
    "</title></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "](http://evil.example) ![x](http://evil.example/x.png)",
    "| --- | `rm -rf /` |",
    "$title ${verdict} {0} %s",
    "&lt;b&gt; &#60;i&#62;",
    "a\x00b\x1b[31mred\x07 \u202egnp.exe \ufffe",
    "# heading\n\n- item\n\n```sh\nrm -rf /\n```",
    "x" * 5000,
)


def comparison(metric: Metric = Metric.AUC, **changes: Any) -> Comparison:
    facts: dict[str, Any] = {
        "metric": metric,
        "question": "superiority",
        "margin": 0.01,
        "confidence": 0.9,
        "test": "DeLong",
        "candidate": 0.612,
        "champion": 0.6,
        "gain": 0.012,
        "low": 0.004,
        "high": 0.02,
        "p_value": 0.0071,
        "smallest_visible": 0.0085,
        "rows_needed": 2581,
    }
    return Comparison(**(facts | changes))


def checked(
    value: str, *, gain: float = 0.01, blocking: float = 1.0, pointing: float = 1.0, **changes: Any
) -> SliceCheck:
    return SliceCheck(
        column="carrier",
        value=value,
        rows=changes.pop("rows", 400),
        gain=gain,
        p_value=min(blocking, pointing),
        p_blocking=blocking,
        p_pointing=pointing,
        low=gain - 0.02,
        high=gain + 0.02,
    )


def curve(shift: float = 0.0) -> Reliability:
    bins = tuple(
        ReliabilityBin(
            rows=100 + index,
            lowest=index / 10,
            highest=index / 10 + 0.05,
            predicted=index / 10 + 0.02,
            observed=min(1.0, index / 10 + shift),
            low=index / 10,
            high=min(1.0, index / 10 + 0.2),
        )
        for index in range(4)
    )
    return Reliability(brier=0.1234, bins=bins)


def evidence(**changes: Any) -> Evidence:
    """Evidence in which everything is known."""
    policy = GatePolicy(
        guards=(Guard(metric=Metric.LOG_LOSS, margin=0.02),), floors={Metric.AUC: 0.58}, slices=("carrier",)
    )
    facts: dict[str, Any] = {
        "model": "flight_delay",
        "kind": Kind.BINARY,
        "label": "late",
        "candidate_digest": "c" * 64,
        "champion_version": "3",
        "rows": 4000,
        "rarer_class_rows": 900,
        "holdout_digest": "b" * 64,
        "holdout_uses": 0,
        "policy": policy,
        "policy_digest": policy.digest,
        "seed": 7,
        "primary_metric": Metric.AUC,
        "primary": comparison(),
        "guards": (
            comparison(
                Metric.LOG_LOSS,
                question="non_inferiority",
                margin=0.02,
                gain=-0.03,
                low=-0.05,
                high=-0.0125,
                p_value=0.93,
            ),
        ),
        "slices": (checked("AA"), checked("UA", gain=-0.06, blocking=0.003, pointing=0.003)),
        "slices_not_checked": 3,
        "measurements": (
            Measurement(metric=Metric.AUC, candidate=0.612, champion=0.6, baseline=0.5),
            Measurement(metric=Metric.LOG_LOSS, candidate=0.53, champion=0.5, baseline=0.69),
        ),
        "discordant": Discordant(
            only_candidate=3, only_champion=2, only_candidate_rows=(1, 5, 9), only_champion_rows=(2, 4)
        ),
        "verdict": "failed",
        "reasons": ("log loss 0.530 > 0.500 is not shown to be not worse.", "AUC 0.612 ≥ 0.580 required."),
        "calibration": Calibration(positive="1", confidence=0.9, candidate=curve(), champion=curve(0.05)),
    }
    return Evidence(**(facts | changes))


class Page(HTMLParser):
    """What a browser would make of the HTML: its elements, its attributes, its text by section."""

    VOID = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.sections: dict[str, str] = {}
        self.text = ""
        self._section = self._heading = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "section":
            self._section = ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data + " "
        if self.open[-1:] == ["h2"]:
            self._section = data
        if self._section:
            self.sections[self._section] = self.sections.get(self._section, "") + data + " "


def plots(report: Report) -> dict[str, ElementTree.Element]:
    return {name: ElementTree.fromstring(svg) for name, svg in report.plots.items()}  # noqa: S314 - made here


def elements(report: Report) -> dict[str, Counter[str]]:
    """Count the elements of every plot."""
    return {name: Counter(each.tag for each in root.iter()) for name, root in plots(report).items()}


def check(report: Report) -> Page:
    """Hold a report against what is true of every one; return its page."""
    page = Page(report.html)
    loading = {"src", "href", "srcset", "action", "style", "xlink:href", "formaction", "background"}
    assert not page.tags.keys() & {"script", "iframe", "object", "embed", "link", "img", "image", "form", "base", "a"}
    assert not [found for found in page.attributes if found[1] in loading or found[1].startswith("on")]
    assert "url(" not in report.html
    assert "@import" not in report.html
    assert not re.search(r"\b(nan|inf|NaN|Infinity)\b", " ".join(value or "" for *_, value in page.attributes))
    for name, root in plots(report).items():
        assert root.tag == f"{SVG}svg"
        labelled = root.attrib["aria-labelledby"].split()
        told = [root.find(f".//*[@id='{one}']") for one in labelled]
        assert [one.tag for one in told if one is not None] == [f"{SVG}title", f"{SVG}desc"]
        assert all(one is not None and one.text for one in told)
        assert not {each.tag for each in root.iter()} & {f"{SVG}script", f"{SVG}foreignObject", f"{SVG}a"}
        assert f"({name})" in report.markdown
    assert report.html.count("<svg") == len(report.plots)
    for text in (report.html, report.markdown, report.text):
        assert all(character.isprintable() or character == "\n" for character in text)
        text.encode()
    assert set(report.files) == {"report.html", "report.md", "evidence.json", *report.plots}
    return page


def bare(markdown: str) -> str:
    """Return what Markdown would read as markup, but for that of the report itself."""
    text = re.sub(r"^```sh\n.*?^```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^!\[(.*)\]\(report-\w+\.svg\)$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"\\.|(`+)(?!`).*?(?<!`)\1(?!`)", "", text)  # what is escaped, and what is code
    text = re.sub(r"^\| .* \|$", lambda row: row[0].replace("|", ""), text, flags=re.MULTILINE)
    return re.sub(r"^\*\*\w+\*\*", "", text, flags=re.MULTILINE)  # the verdict


def rows_of(markdown: str, first: str) -> list[list[str]]:
    """Return the cells of the table whose heading begins with `first`."""
    lines = markdown.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def test_the_verdict_comes_first_and_then_why() -> None:
    report = render(evidence(), ABOUT)
    page = check(report)
    assert page.text.index("The candidate failed the gate: version 3 of flight_delay stays champion.") < 200
    assert report.markdown.splitlines()[:3] == [
        "# flight_delay: version 4, 2013-05",
        "",
        "**failed**: The candidate failed the gate: version 3 of flight_delay stays champion.",
    ]
    assert [*page.sections] == [
        *("Why", "Metrics", "Slices", "Calibration", "Where they differ", "Holdout", "Policy"),
        *("Where it comes from", "Repeating it"),
    ]
    for reason in evidence().reasons:
        assert reason in page.sections["Why"]
        assert f"- {reason}" in report.markdown


@pytest.mark.parametrize(
    ("verdict", "champion", "sentence"),
    [
        ("passed", "3", "The candidate passed the gate: it may replace version 3 of flight_delay as champion."),
        ("passed", None, "The candidate passed the gate: it may become the first champion of flight_delay."),
        ("failed", None, "The candidate failed the gate: flight_delay stays without a champion."),
        ("insufficient", "3", "cannot tell from these rows whether the candidate is good enough: version 3 of"),
    ],
)
def test_the_sentence_says_what_follows(verdict: str, champion: str | None, sentence: str) -> None:
    page = check(render(evidence(verdict=verdict, champion_version=champion), ABOUT))
    assert sentence in page.text
    assert ("p", "class", f"verdict {verdict}") in page.attributes


def test_every_number_is_in_a_table() -> None:
    report = render(evidence(), ABOUT)
    check(report)
    assert rows_of(report.markdown, "metric | candidate") == [
        ["AUC", "0.612", "0.6", "0.5", "0.58"],
        ["log loss", "0.53", "0.5", "0.69", "–"],
    ]
    assert rows_of(report.markdown, "metric | asked") == [
        [
            "AUC (primary)",
            "better?",
            "shown",
            "DeLong",
            "+0.012",
            "+0.004 to +0.02",
            "0.01",
            "0.0071",
            "2,581",
            "0.0085",
        ],
        [
            *("log loss (guard)", "not worse?", "not shown", "DeLong", "−0.03", "−0.05 to −0.0125", "0.02", "0.93"),
            *("2,581", "0.0085"),
        ],
    ]
    assert rows_of(report.markdown, "slice | harm") == [
        ["carrier = UA", "blocks", "400", "−0.06", "−0.08 to −0.04", "0.003", "0.003"],
        ["carrier = AA", "–", "400", "+0.01", "−0.01 to +0.03", "1", "1"],
    ]
    assert rows_of(report.markdown, "model | predicted")[5] == [
        *("champion", "0.100 to 0.150", "101", "0.120", "0.150", "0.100 to 0.300")
    ]
    assert rows_of(report.markdown, "right is")[0] == ["only the candidate", "3", "1, 5, 9"]


def test_it_says_where_everything_comes_from_and_how_to_repeat_it() -> None:
    found = evidence()
    report = render(found, ABOUT)
    origin = check(report).sections["Where it comes from"]
    for fact in ("4 of flight_delay", "2013-05", "0j9x3k", "2013-06-01 04:05:06 UTC", "c" * 64, "d" * 64, "e" * 64):
        assert fact in origin
    assert found.digest in origin
    assert "podium runs show 0j9x3k\npodium artifacts show " in report.markdown
    policy = check(report).sections["Policy"]
    assert found.policy_digest in policy
    for name in found.policy.model_dump(mode="json"):
        assert name.replace("_", " ") in policy


def test_the_evidence_beside_it_has_the_digest_as_its_checksum() -> None:
    found = evidence()
    assert hashlib.sha256(render(found, ABOUT).files["evidence.json"]).hexdigest() == found.digest


def test_the_same_facts_give_the_same_bytes() -> None:
    assert render(evidence(), ABOUT).files == render(evidence(), ABOUT).files


def test_rows_that_judged_before_are_warned_of() -> None:
    assert "chance to be lucky" not in render(evidence(), ABOUT).html
    report = render(evidence(holdout_uses=3), ABOUT)
    assert "judged candidates of this model 3 times before" in check(report).sections["Holdout"]
    assert ("p", "class", "warns") in check(report).attributes
    assert "> These rows judged candidates" in report.markdown
    assert "1 time before" in render(evidence(holdout_uses=1), ABOUT).text


def test_a_first_model_is_compared_with_nobody() -> None:
    first = evidence(
        champion_version=None,
        primary=None,
        guards=(),
        slices=(),
        slices_not_checked=0,
        discordant=None,
        verdict="passed",
        measurements=(Measurement(metric=Metric.AUC, candidate=0.612, baseline=0.5),),
        calibration=Calibration(positive="1", confidence=0.9, candidate=curve()),
    )
    report = render(first, ABOUT)
    page = check(report)
    assert "there was no champion to compare with" in page.sections["Metrics"]
    assert "none, the first model" in page.sections["Where it comes from"]
    assert not {"Slices", "Where they differ"} & page.sections.keys()
    assert list(report.plots) == ["report-calibration.svg"]
    written = [each.text for each in plots(report)["report-calibration.svg"].iter(f"{SVG}text")]
    assert written.count("candidate") == 2  # beside its curve, and beside its rows
    assert "champion" not in written


def test_numbers_have_neither_classes_nor_probabilities() -> None:
    report = render(
        evidence(
            kind=Kind.REGRESSION,
            rarer_class_rows=None,
            policy=GatePolicy(),
            primary_metric=Metric.MEAN_ABSOLUTE_ERROR,
            primary=comparison(Metric.MEAN_ABSOLUTE_ERROR, candidate=123456.0, champion=1e12, gain=-0.0),
            guards=(),
            measurements=(Measurement(metric=Metric.MEAN_ABSOLUTE_ERROR, candidate=123456.0, champion=1e12),),
            discordant=None,
            calibration=None,
        ),
        Circumstances(run_id="r"),
    )
    page = check(report)
    assert rows_of(report.markdown, "metric | candidate") == [["mean absolute error", "123,456", "1e+12", "–", "–"]]
    assert "rarer class" not in page.sections["Holdout"]
    assert list(report.plots) == ["report-gain.svg", "report-slices.svg"]


def test_what_could_not_be_compared_is_unknown_and_says_why() -> None:
    unknown = Comparison(
        metric=Metric.AUC,
        question="superiority",
        margin=None,
        confidence=0.9,
        candidate=0.5,
        champion=0.5,
        unknown="1 rows of the rarer class < 2",
    )
    report = render(evidence(primary=unknown, guards=(), verdict="insufficient"), ABOUT)
    page = check(report)
    assert "AUC (primary) is unknown: 1 rows of the rarer class < 2." in page.sections["Metrics"]
    assert rows_of(report.markdown, "metric | asked")[0][2:] == ["unknown", *["–"] * 7]
    assert "report-gain.svg" not in report.plots


def test_the_gain_is_drawn_against_zero_and_the_margin() -> None:
    root = plots(render(evidence(), ABOUT))["report-gain.svg"]

    def places(kind: str) -> list[float]:
        found = [each for each in root.iter(f"{SVG}path") if kind in each.attrib["class"].split()]
        return [float(each.attrib["d"].split()[0].removeprefix("M")) for each in found]

    zeros, margins, lows = places("zero"), places("margin"), places("interval")
    assert zeros[0] < margins[0], "superiority: the margin is the change that must be visible"
    assert zeros[0] < lows[0]
    assert margins[1] < zeros[1], "non-inferiority: the margin is the harm accepted"
    assert lows[1] < margins[1]
    kinds = [each.attrib["class"] for each in root.iter(f"{SVG}circle")]
    assert kinds == ["dot good", "hollow open"]


def test_two_hundred_slices_are_all_in_the_table_and_the_most_harmed_in_the_plot() -> None:
    many = tuple(checked(f"C{number:03d}", gain=number / 1000, rows=200 + number) for number in range(197))
    hurt = (
        checked("blocking", gain=-0.2, blocking=0.01, pointing=0.004),
        checked("pointed", gain=-0.1, blocking=0.2, pointing=0.04),
        checked("pointed later", gain=-0.1, blocking=0.3, pointing=0.05),
    )
    report = render(evidence(slices=(*many, *hurt)), ABOUT)
    page = check(report)
    table = rows_of(report.markdown, "slice | harm")
    assert len(table) == 200
    assert [row[:2] for row in table[:4]] == [
        ["carrier = blocking", "blocks"],
        ["carrier = pointed", "worth a look"],
        ["carrier = pointed later", "worth a look"],
        ["carrier = C000", "–"],
    ]
    assert "The 40 most harmed of 200 slices are drawn." in page.sections["Slices"]
    root = plots(report)["report-slices.svg"]
    diamonds = [each for each in root.iter(f"{SVG}path") if each.attrib["class"].split()[0] in ("dot", "hollow")]
    assert [each.attrib["class"] for each in diamonds] == ["dot bad", "hollow bad", "hollow bad"]
    assert len([*root.iter(f"{SVG}circle")]) == 37
    assert len(report.html) < 300_000


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_a_name(name: str) -> None:
    hurt = {"gain": -0.06, "blocking": 0.003, "pointing": 0.003}
    plain = evidence(slices=(checked("AA", **hurt), checked("UA")))
    hostile = evidence(
        model=name,
        label=name,
        champion_version=name,
        slices=(checked(name, **hurt), checked("UA")),
        reasons=(f"Slice carrier = {name} is worse.", name),
        policy=GatePolicy(slices=(name,), guards=plain.policy.guards, floors=plain.policy.floors),
        primary=comparison(test=name, unknown=name),
        calibration=Calibration(positive=name, confidence=0.9, candidate=curve(), champion=curve()),
    )
    about = Circumstances(
        run_id=name,
        model=name,
        pipeline=name,
        interval=name,
        version=name,
        data_digest=name,
        code_digest=name,
        recorded_at=ABOUT.recorded_at,
    )
    report, harmless = render(hostile, about), render(plain, ABOUT)
    page, expected = check(report), check(harmless)
    warning = Counter({"p": 1})  # that the primary comparison is unknown
    assert page.tags == expected.tags + warning
    assert elements(report) == elements(harmless)
    for text in (report.markdown, report.text, summary(hostile)):
        assert not re.search(r"<[A-Za-z/!?]|[`*|\[\]~$]", bare(text))
    headings = [line for line in report.markdown.splitlines() if line.startswith("#")]
    assert headings[1:] == [line for line in harmless.markdown.splitlines() if line.startswith("#")][1:]
    assert all(len(row) == 7 for row in rows_of(report.markdown, "slice | harm"))
    assert [line for line in report.markdown.splitlines() if line.startswith("```")] == ["```sh", "```"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("AUC 0.571 < 0.580 required.", "AUC 0.571 < 0.580 required."),
        ("log_loss and mean_absolute_error", "log_loss and mean_absolute_error"),
        ("_x_ *y* **z**", r"\_x\_ \*y\* \*\*z\*\*"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("0.5", "0.5"),
        ("- no item", r"\- no item"),
        ("> no quotation", r"\> no quotation"),
        ("--- --", r"\--- --"),
        ("+0.0125", "+0.0125"),
    ],
)
def test_markdown_escapes_what_is_markup_and_nothing_else(text: str, shown: str) -> None:
    assert escaped(text) == shown


def conditioned(name: str = "wind", **changes: Any) -> Evidence:
    """Evidence on everything that a policy may ask beside metrics."""
    facts: dict[str, Any] = {
        "limits": (
            LimitCheck(limit="latency_ratio", allowed="1.5", value="1.75", candidate="0.35", champion="0.2", rows=100),
            LimitCheck(limit="cost_usd", allowed="0.4", value=None, unknown=f"a part has no price ({name})"),
        ),
        "signature": SignatureCheck(
            features=tuple(Feature(name=each, kind="number") for each in (name, "hour", "distance")),
            classes=("0", name),
            champion_classes=("0", "1"),
            new=(name,),
            dropped=("rain",),
            changed=(ChangedFeature(name="hour", champion="text", candidate="number"),),
        ),
        "rules": (RuleCheck(rule="pipelines.rules:at_night", verdict="failed", reason=f"0.4 < 0.5 for {name}"),),
        "data_checks": (
            DataCheck(
                report=name, check="volume", severity="stop", outcome="passed", reason="400 rows ≥ 100 required."
            ),
        ),
        "duplicate_rows": 12,
        "policy_source": "file",
    }
    return evidence(**(facts | changes))


def test_what_is_asked_beside_metrics_is_in_tables_of_its_own() -> None:
    report = render(conditioned(), ABOUT)
    page = check(report)
    assert "Further facts" not in page.sections
    assert rows_of(report.text, "limit") == [
        ["latency ratio", "above", "1.75", "1.5", "0.35", "0.2", "100"],
        ["cost usd", "unknown", "–", "0.4", "–", "–", "–"],
    ]
    assert "Cost usd is unknown: a part has no price (wind)." in page.sections["Limits"]
    assert rows_of(report.text, "column") == [
        ["wind", "–", "number", "new: no caller sends it"],
        ["hour", "text", "number", "holds something else"],
        ["rain", "needed", "–", "needed no more"],
    ]
    said = " ".join(page.sections["What callers send"].split())
    assert "The same for both: distance (number)." in said
    assert "The classes that they answer in differ: 0, 1 before, 0, wind now." in said
    assert rows_of(report.text, "rule") == [["pipelines.rules:at_night", "failed", "0.4 < 0.5 for wind"]]
    assert rows_of(report.text, "data") == [["wind", "volume", "stop", "passed", "400 rows ≥ 100 required."]]
    assert "rows that repeat another 12" in " ".join(page.sections["Holdout"].split())
    assert "stated by a file of the project" in " ".join(page.sections["Policy"].split())


def test_a_first_model_s_columns_and_classes_are_listed() -> None:
    columns = tuple(Feature(name=f"c{number}", kind="number") for number in range(60))
    first = evidence(
        champion_version=None, primary=None, guards=(), signature=SignatureCheck(features=columns, classes=("0", "1"))
    )
    said = " ".join(check(render(first, ABOUT)).sections["What callers send"].split())
    assert "The candidate needs: c0 (number), c1 (number), " in said
    assert said.endswith("c49 (number) and 10 more. It answers in the classes 0, 1.")


def test_columns_that_nobody_can_compare_are_told() -> None:
    unknown = SignatureCheck(features=None, unknown="the champion does not say what it was trained on")
    said = check(render(evidence(signature=unknown), ABOUT)).sections["What callers send"]
    assert "The columns cannot be compared: the champion does not say what it was trained on." in said


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_of_a_column_a_rule_or_a_check_is_a_name(name: str) -> None:
    report, harmless = render(conditioned(name), ABOUT), render(conditioned(), ABOUT)
    assert check(report).tags == check(harmless).tags
    for text in (report.markdown, report.text):
        assert not re.search(r"<[A-Za-z/!?]|[`*|\[\]~$]", bare(text))
    assert all(len(row) == 4 for row in rows_of(report.markdown, "column"))


def test_facts_that_the_report_does_not_know_are_listed() -> None:
    class Later(Evidence):
        repeated_days: int = 0
        bounds: tuple[dict[str, float], ...] = ()
        nothing: None = None

    later = Later.model_validate(evidence().model_dump() | {"repeated_days": 12, "bounds": [{"latency": 2.5}]})
    listed = check(render(later, ABOUT)).sections["Further facts"]
    assert "repeated days 12" in " ".join(listed.split())
    assert '[{"latency":2.5}]' in listed
    assert "nothing" not in listed


def test_mlflow_is_told_the_numbers_that_are_known() -> None:
    unknown = comparison(Metric.LOG_LOSS, gain=None, low=None, high=None, p_value=None, unknown="no spread")
    found = numbers(evidence(guards=(unknown,)))
    assert found == {
        "holdout_rows": 4000.0,
        "candidate_auc": 0.612,
        "champion_auc": 0.6,
        "candidate_log_loss": 0.53,
        "champion_log_loss": 0.5,
        "gain_auc": 0.012,
        "gain_auc_low": 0.004,
        "gain_auc_high": 0.02,
        "candidate_brier": 0.1234,
        "champion_brier": 0.1234,
    }
    assert parameters(evidence())["gate_policy"] == evidence().policy_digest


def test_a_note_is_short_however_much_there_is_to_say() -> None:
    assert summary(evidence()).splitlines() == [
        "**failed**: The candidate failed the gate: version 3 of flight_delay stays champion.",
        "",
        "- log loss 0.530 > 0.500 is not shown to be not worse.",
        "- AUC 0.612 ≥ 0.580 required.",
    ]
    for reason in ("Slice carrier = AA is worse. " * 3, "*" * 9000):
        long = summary(evidence(reasons=(reason,) * 500))
        assert len(long) <= 3500
        left = re.search(r"\n- … and (\d+) more$", long)
        assert left is not None
        assert long.count("\n- ") + int(left[1]) == 501


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.floats(0, 1)
COUNTS = st.integers(0, 2**63)
COMPARISONS = st.builds(
    Comparison,
    confidence=SHARES,
    rows_needed=st.none() | COUNTS,
    **dict.fromkeys(
        ("margin", "candidate", "champion", "gain", "low", "high", "p_value", "smallest_visible"), st.none() | NUMBERS
    ),
)
SLICES = st.builds(
    SliceCheck,
    rows=COUNTS,
    gain=NUMBERS,
    low=st.none() | NUMBERS,
    high=st.none() | NUMBERS,
    **dict.fromkeys(("p_value", "p_blocking", "p_pointing"), SHARES),
)
BINS = st.builds(
    ReliabilityBin,
    rows=st.integers(1, 2**63),
    **dict.fromkeys(("lowest", "highest", "predicted", "observed", "low", "high"), SHARES),
)
RELIABILITIES = st.builds(Reliability, brier=SHARES, bins=st.lists(BINS, min_size=1, max_size=3).map(tuple))
EVIDENCE = st.builds(
    Evidence,
    policy=st.sampled_from([GatePolicy(), evidence().policy]),
    primary=st.none() | COMPARISONS,
    guards=st.lists(COMPARISONS, max_size=2).map(tuple),
    slices=st.lists(SLICES, max_size=3).map(tuple),
    measurements=st.lists(st.builds(Measurement, candidate=st.none() | NUMBERS), max_size=2).map(tuple),
    discordant=st.none() | st.builds(Discordant),
    calibration=st.none()
    | st.builds(Calibration, confidence=SHARES, candidate=RELIABILITIES, champion=st.none() | RELIABILITIES),
)


@given(EVIDENCE, st.builds(Circumstances))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_evidence_has_a_report(found: Evidence, about: Circumstances) -> None:
    report = render(found, about)
    page = check(report)
    assert found.verdict in page.text
    assert len(summary(found)) <= 3500
    assert all(isinstance(number, float) for number in numbers(found).values())
