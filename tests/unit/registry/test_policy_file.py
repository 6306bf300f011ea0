"""Gate policies as files: what they may say, and what is refused with file, key and remedy."""

from pathlib import Path

import pytest

from podium.errors import ConfigurationError
from podium.registry.metrics import Metric
from podium.registry.policy import GatePolicy, Guard, Limits
from podium.registry.policy_file import check_rules, policy_for

FULL = """
name: churn-gate
version: 3
primary: auc
policy: refresh
margin: 0.02
guards:
  - {metric: log_loss, margin: 0.01}
  - metric: error_rate
floors: {auc: 0.58}
slices: [carrier]
limits:
  latency_milliseconds: 20
  latency_ratio: 1.5
  size_bytes: 50_000_000
  cost_usd: 0.50
signature: compatible
data_checks: required
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gate.yaml"


def test_a_file_states_the_policy_that_python_would(file: Path) -> None:
    file.write_text(FULL)
    written = GatePolicy.from_file(file)
    assert written == GatePolicy(
        name="churn-gate",
        version="3",
        primary=Metric.AUC,
        mode="refresh",
        margin=0.02,
        guards=(Guard(metric=Metric.LOG_LOSS, margin=0.01), Guard(metric=Metric.ERROR_RATE)),
        floors={Metric.AUC: 0.58},
        slices=("carrier",),
        limits=Limits(latency_milliseconds=20, latency_ratio=1.5, size_bytes=50_000_000, cost_usd="0.5"),
        signature="compatible",
        data_checks="required",
    )
    assert written.called == "churn-gate, version 3"
    read_back = GatePolicy.model_validate_json(written.model_dump_json())
    assert (read_back, read_back.digest) == (written, written.digest)


def test_spelling_does_not_change_the_digest_and_what_is_said_does(file: Path) -> None:
    digests = []
    for text in (
        "primary: auc\nmode: refresh\n",
        "# why\nmode: refresh\n'primary': 'auc'\n",
        "policy: refresh\nprimary: auc",
    ):
        file.write_text(text)
        digests.append(GatePolicy.from_file(file).digest)
    assert len(set(digests)) == 1
    file.write_text("primary: auc\n")
    assert GatePolicy.from_file(file).digest not in digests
    assert GatePolicy(limits=Limits(cost_usd="0.50")).digest == GatePolicy(limits=Limits(cost_usd=0.5)).digest


def test_a_policy_that_says_nothing_new_has_the_digest_that_it_always_had() -> None:
    policy = GatePolicy(guards=(Guard(metric=Metric.LOG_LOSS),), floors={Metric.AUC: 0.58}, slices=("carrier",))
    assert policy.digest == "82be5a8064eadf1386d9abb05879fb6820d70d7a2a5637b32d8d29195164c0c1"


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nslices: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; state at least one rule"),
        ("# nothing\n", "is empty"),
        ("- auc\n", "holds a list where rules by their names are needed"),
        ("auc\n", "holds a str"),
        ("primery: auc\n", r"'primery' is no rule \(did you mean primary\?\); the rules are primary, mode"),
        (
            "guards: [{metric: auc, marign: 1}]\n",
            r"'guards.0.marign' is no rule \(did you mean margin\?\); guards know",
        ),
        ("limits: {size: 3}\n", r"'limits.size' is no rule.*limits know latency_milliseconds"),
        ("primary: acu\n", r"primary is 'acu'.*none of its choices \(did you mean auc\?\); they are auc, accuracy"),
        ("mode: refesh\n", r"mode is 'refesh'.*did you mean refresh"),
        ("policy: refresh\nmode: superiority\n", "states both `mode` and `policy`"),
        ("floors: {acu: 0.5}\n", r"floors.acu is 'acu'.*did you mean auc"),
        ("guards: [{margin: 0.1}]\n", "guards.0.metric is missing"),
        ("guards: {auc: 1}\n", "guards is"),
        ("alpha: '0.05'\n", "alpha is '0.05': give a number"),
        ("alpha: yes\n", "alpha is True: give a number"),
        ("margin: .nan\n", "margin is nan.*finite"),
        ("minimum_rows: many\n", "minimum_rows is 'many': give a number"),
        ("limits: {cost_usd: -1}\n", "limits.cost_usd is -1"),
        ("limits: {cost_usd: .inf}\n", "limits.cost_usd is inf"),
        ("limits: {size_bytes: 1.5}\n", "limits.size_bytes is 1.5"),
        ("limits: {latency_ratio: 0}\n", "limits.latency_ratio is 0"),
        ("version: 1.10\n", "version is 1.1"),
        ("data_checks: maybe\n", "data_checks is 'maybe'"),
        ("rules: ['nothing']\n", "rules.0.function is 'nothing'; name a function as pipelines.rules:"),
        ("rules: ['a:b', 'a:b']\n", "rules name a:b twice"),
        ("primary: auc\nprimary: accuracy\n", "has the key primary twice, in lines 1 and 2; keep one"),
        ("guards:\n- metric: auc\n  metric: log_loss\n", "has the key metric twice, in lines 2 and 3"),
        ("on: auc\n", "has the key on in line 1, which YAML takes for no text"),
        ("[1, 2]: auc\n", "has the key a list or a mapping in line 1"),
        (BOMB, "has an anchor or alias in line 1"),
        ("<<: {primary: auc}\n", "has the key << in line 1"),
        ("slices: " + "[" * 5000 + "]" * 5000, "nests deeper than 8 levels in line 1"),
        ("slices: " + "[" * 5000, "nests deeper than 8 levels in line 1"),
        ("primary: !!python/object/apply:os.system [ls]\n", "is not valid YAML"),
        ("primary: [auc\n", "is not valid YAML"),
        ("primary: auc\n---\nprimary: auc\n", "is not valid YAML"),
        ("margin: " + "9" * 5000, "is not valid YAML"),
        ("#" * 70_000, "has more than 65,536 bytes"),
    ],
)
def test_what_is_no_policy_is_refused_with_the_file_and_the_fault(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        GatePolicy.from_file(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_file_that_is_no_text_or_not_there_is_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        GatePolicy.from_file(file)
    file.write_bytes(b"primary: \xff\n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        GatePolicy.from_file(file)


def test_the_file_of_a_model_is_the_first_that_names_it_and_the_default_comes_last(tmp_path: Path) -> None:
    for name in ("flights", "late", "all"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n")
    gates = {"*": "all.yaml", "late_flight": "late.yaml", "*_flight": "flights.yaml"}
    found = {model: policy_for(model, gates, tmp_path) for model in ("late_flight", "early_flight", "demand")}
    assert {model: policy and policy.name for model, policy in found.items()} == {
        "late_flight": "late",
        "early_flight": "flights",
        "demand": "all",
    }
    assert policy_for("demand", {"flight_*": "all.yaml"}, tmp_path) is None
    with pytest.raises(ConfigurationError, match=r"gone.yaml holds the gate of demand, but there is no such file"):
        policy_for("demand", {"demand": "gone.yaml"}, tmp_path)


def test_a_rule_that_no_file_defines_is_refused_without_importing_any(tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "rules.py").write_text("raise SystemExit\n\ndef no_worse(given): ...\n")
    check_rules(GatePolicy(rules=("pipelines.rules:no_worse", "numpy:elsewhere")), tmp_path)
    with pytest.raises(ConfigurationError, match=r"is not in pipelines/rules.py; did you mean no_worse\?"):
        check_rules(GatePolicy(rules=("pipelines.rules:no_wrose",)), tmp_path)
    with pytest.raises(ConfigurationError, match=r"there is no pipelines/rulez.py"):
        check_rules(GatePolicy(rules=("pipelines.rulez:no_worse",)), tmp_path)
    (tmp_path / "pipelines" / "rules.py").write_text("def no_worse(given) ...\n")
    with pytest.raises(ConfigurationError, match="cannot be read as Python"):
        check_rules(GatePolicy(rules=("pipelines.rules:no_worse",)), tmp_path)
