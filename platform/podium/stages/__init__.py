"""Ready-made steps: judge a candidate, register it, try it on traffic, make it champion."""

from podium.stages.canary import run_canary
from podium.stages.evaluation import evaluate_candidate
from podium.stages.promotion import promote_version
from podium.stages.registration import register_version

__all__ = ["evaluate_candidate", "promote_version", "register_version", "run_canary"]
