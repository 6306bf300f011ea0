"""The report in a few lines and numbers, for where models are listed: MLflow's notes, metrics and parameters."""

from podium.registry.evidence import Evidence
from podium.registry.report import words
from podium.registry.report.content import sentence
from podium.registry.report.gain_plot import questions
from podium.registry.report.markdown import escaped

_LONGEST = 3500
"""Characters: MLflow takes 5,000 as the description of a version."""

_LONGEST_REASON = 300


def summary(evidence: Evidence) -> str:
    """Return the verdict and its first reasons as Markdown of at most 3,500 characters."""
    text = f"**{evidence.verdict}**: {escaped(sentence(evidence))}\n"
    for index, reason in enumerate(evidence.reasons):
        left = len(evidence.reasons) - index
        item, rest = f"\n- {escaped(words.shortened(reason, _LONGEST_REASON))}", f"\n- … and {left:,} more"
        if len(text) + len(item) + len(rest) > _LONGEST:
            return text + rest
        text += item
    return text


def numbers(evidence: Evidence) -> dict[str, float]:
    """Return what was measured by name: `candidate_auc`, `champion_auc`, `gain_auc` and its bounds; no unknown."""
    found = {
        "holdout_rows": float(evidence.rows),
        **{f"candidate_{one.metric}": one.candidate for one in evidence.measurements},
        **{f"champion_{one.metric}": one.champion for one in evidence.measurements},
    }
    for _, one in questions(evidence):
        found |= {
            f"gain_{one.metric}": one.gain,
            f"gain_{one.metric}_low": one.low,
            f"gain_{one.metric}_high": one.high,
        }
    calibration = evidence.calibration
    if calibration is not None:
        found["candidate_brier"] = calibration.candidate.brier
        found["champion_brier"] = None if calibration.champion is None else calibration.champion.brier
    return {name: number for name, number in found.items() if number is not None}


def parameters(evidence: Evidence) -> dict[str, str]:
    """Return by which rules and on which rows it was judged."""
    return {
        "gate_policy": evidence.policy_digest,
        "gate_mode": evidence.policy.mode,
        "gate_primary_metric": evidence.primary_metric,
        "gate_champion_version": evidence.champion_version or "none",
        "gate_holdout": evidence.holdout_digest,
    }
