"""What a project and its environment set: one class, read once, handed down; a module for each section."""

from podium.settings.alerts import ALERT_EVENTS, AlertEvent, AlertRule, AlertSettings
from podium.settings.approvals import ApprovalSettings
from podium.settings.environments import EnvironmentSettings
from podium.settings.gates import Gates, gate_file
from podium.settings.guard import GuardSettings
from podium.settings.models import ModelSettings
from podium.settings.project import PROJECT_FILE, REVIEWED_TYPES, Settings, load

__all__ = [
    "ALERT_EVENTS",
    "PROJECT_FILE",
    "REVIEWED_TYPES",
    "AlertEvent",
    "AlertRule",
    "AlertSettings",
    "ApprovalSettings",
    "EnvironmentSettings",
    "Gates",
    "GuardSettings",
    "ModelSettings",
    "Settings",
    "gate_file",
    "load",
]
