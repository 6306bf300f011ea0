"""Ready-made steps: judge a candidate, register it, make it champion."""

from podium.stages.evaluation import evaluate_candidate
from podium.stages.promotion import promote_version
from podium.stages.registration import register_version

__all__ = ["evaluate_candidate", "promote_version", "register_version"]
