"""The part of the page on operation about what goes on by itself: does it, and is somebody told where it does not?"""

from dashboards.definition.panels import PIPELINE, Panel, Query, Section, Threshold

_SCHEDULERS = Panel(
    "Schedulers",
    "Schedulers that gave a sign of life within 45 seconds. Without one no schedule and no trigger makes a run, and no "
    "alert of Podium's own is sent. `podium scheduler` starts one.",
    "stat",
    "short",
    (Query("max(podium_scheduler_up)", "schedulers"),),
    width=4,
    thresholds=(Threshold(0, "red"), Threshold(1, "green")),
)

_SCHEDULES = Panel(
    "Schedules, by state",
    "`podium schedule list` tells when each fires next, and who paused it.",
    "stat",
    "short",
    (Query(f"sum by (state) (podium_schedule_state{{{PIPELINE}}})", "{{state}}"),),
    width=4,
    none="no schedule, or no data",
)

_OVERDUE = Panel(
    "Overdue schedules",
    "How long the next tick has been due without being acted on, of the ten for which that is longest; 0 where it is "
    "to come. Over 5 minutes: no scheduler is alive, or something is in the way. `podium schedule list` says what.",
    "bars",
    "s",
    (Query(f"topk(10, max by (pipeline) (podium_schedule_overdue_seconds{{{PIPELINE}}}))", "{{pipeline}}"),),
    width=6,
    thresholds=(Threshold(0, "green"), Threshold(300, "red")),
    none="no active schedule, or no data",
)

_TRIGGERS = Panel(
    "Triggers, by state",
    "`unknown`: the last look at a source had no answer. `blocked`: something keeps its run from being made. `podium "
    "triggers show TRIGGER` says what.",
    "stat",
    "short",
    (Query(f"sum by (state) (podium_trigger_state{{{PIPELINE}}})", "{{state}}"),),
    width=6,
    none="no trigger, or no data",
)

_DELIVERIES = Panel(
    "Deliveries of alerts",
    "Those pending now, and those that ended within the last 24 hours, whatever the page's range. `podium alerts list` "
    "tells each.",
    "stat",
    "short",
    (Query("sum by (state) (podium_alert_deliveries)", "{{state}}"),),
    width=4,
    none="no alert yet, or no data",
)

SCHEDULES = Section("Schedules", (_SCHEDULERS, _SCHEDULES, _OVERDUE, _TRIGGERS, _DELIVERIES))
