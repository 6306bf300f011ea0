"""The page on operation: is it working?"""

from dashboards.definition.gains import gained, share
from dashboards.definition.panels import (
    ATTEMPT_ENDS,
    CANARY_ENDS,
    ENDS,
    GATE_VERDICTS,
    MOVES,
    PIPELINE,
    RED_ABOVE_ZERO,
    Dashboard,
    Panel,
    Query,
    Section,
    Threshold,
    Variable,
)
from dashboards.definition.schedules import SCHEDULES

MODEL = 'model=~"$model"'
BROKEN = 'outcome=~"failed|cancelled"'
WHOLE = 'outcome!~"failed|cancelled"'

ACTS = "acts"
"""The name of the line at which a canary acts."""

_ENDED = "podium_run_duration_seconds_count"
_SECONDS = "podium_run_duration_seconds_sum"
_ATTEMPTS_ENDED = "podium_attempts_total"
_CLAIM = "podium_claim_latency_seconds"

_UP = Panel(
    "Podium's server",
    "Whether the last scrape reached `podium server`.",
    "stat",
    "none",
    (Query('min(up{job="podium"})', "server"),),
    width=4,
    thresholds=(Threshold(0, "red"), Threshold(1, "green")),
    words=((0, "down"), (1, "up")),
)

_SCRAPE_ERRORS = Panel(
    "Failed collectors",
    "Scrapes in this range in which a collector failed; its metrics were missing then. The server's log says why.",
    "stat",
    "short",
    # This counter lives in the server's memory and does reset, so increase() is right for it.
    (Query("round(sum(increase(podium_scrape_errors_total[$__range])))", "failures"),),
    width=6,
    thresholds=RED_ABOVE_ZERO,
)

_OPEN_RUNS = Panel(
    "Open runs",
    "Runs that are queued or running now. `podium runs list` names them.",
    "stat",
    "short",
    (Query(f"sum by (state) (podium_runs_open{{{PIPELINE}}})", "{{state}}"),),
    width=4,
)

_OPEN_STEPS = Panel(
    "Open step runs",
    "Step runs of open runs, by state.",
    "stat",
    "short",
    (Query(f"sum by (state) (podium_step_runs_open{{{PIPELINE}}})", "{{state}}"),),
    width=6,
)

_OLDEST_READY = Panel(
    "Longest wait for a worker",
    "How long the oldest step run that may start has been waiting, retries from when their time has come; 0 if none "
    "may. Over 15 minutes: too few workers, or none. `podium worker` starts one.",
    "stat",
    "s",
    (
        Query(
            f"clamp_min(max(time() - podium_oldest_ready_step_timestamp_seconds{{{PIPELINE}}}), 0)\n"
            f'or (sum(podium_step_runs_open{{{PIPELINE}, state="ready"}}) == 0)',
            "waiting",
        ),
    ),
    width=4,
    thresholds=(Threshold(0, "green"), Threshold(900, "red")),
)

_WORKERS = Panel(
    "Workers",
    "Workers that are alive and take up any run. One of another host counts until its last lease has run out, or until "
    "it was silent for a minute.",
    "stat",
    "short",
    (Query("sum(podium_workers)", "workers"),),
    width=4,
    height=6,
    none="no worker, or no data",
)

_SLOTS = Panel(
    "Slots that are busy",
    "Attempts that run / slots of the living workers of a host. At 100 % whatever else may start has to wait.",
    "bars",
    "percentunit",
    (
        Query(
            "sum by (host) (podium_worker_slots_busy) / (sum by (host) (podium_worker_slots) > 0)",
            "{{host}}",
        ),
    ),
    width=5,
    height=6,
    none="no worker, or no data",
    most=1,
)

_ATTEMPTS = Panel(
    "Attempts that ended in this range",
    "By state, attempts of open runs included; a lost one is one whose worker died. `podium runs events RUN` names it.",
    "bars",
    "short",
    (Query(gained(_ATTEMPTS_ENDED, PIPELINE, ("state",)), "{{state}}"),),
    width=5,
    height=6,
    colours=ATTEMPT_ENDS,
)

_LATENCY = Panel(
    "Mean wait for a worker",
    "From when a step run could start until a worker claimed it, over the attempts that ended in this range.",
    "bars",
    "s",
    (
        Query(
            share(
                gained(f"{_CLAIM}_sum", PIPELINE, ("pipeline",)),
                gained(f"{_CLAIM}_count", PIPELINE, ("pipeline",)),
            ),
            "{{pipeline}}",
        ),
    ),
    width=5,
    height=6,
    none="no attempt ended, or no data",
)

_SLOWEST = Panel(
    "95 % of claims came within",
    "Estimated between the histogram's bounds: 10 ms, 0.1, 1, 10, 60, 600, 3600 s.",
    "bars",
    "s",
    (
        Query(
            "histogram_quantile(0.95,\n" + gained(f"{_CLAIM}_bucket", PIPELINE, ("pipeline", "le")) + "\n)",
            "{{pipeline}}",
        ),
    ),
    width=5,
    height=6,
    none="no attempt ended, or no data",
)

_ENDS = Panel(
    "Runs that ended, by outcome",
    "Over time; a rejected candidate is an outcome of a run that succeeded, not a failure.",
    "columns",
    "short",
    (Query(gained(_ENDED, PIPELINE, ("outcome",), over="$__interval"), "{{outcome}}"),),
    width=10,
    height=8,
    colours=ENDS,
)

_OUTCOMES = Panel(
    "Runs that ended in this range",
    "By outcome, or by state where the run failed or was cancelled.",
    "bars",
    "short",
    (Query(gained(_ENDED, PIPELINE, ("outcome",)), "{{outcome}}"),),
    width=5,
    height=8,
    colours=ENDS,
)

_SUCCESS = Panel(
    "Share of runs that succeeded",
    "Runs that neither failed nor were cancelled / all runs that ended in this range.",
    "bars",
    "percentunit",
    (
        Query(
            share(
                gained(_ENDED, f"{PIPELINE}, {WHOLE}", ("pipeline",)),
                gained(_ENDED, PIPELINE, ("pipeline",)),
            ),
            "{{pipeline}}",
        ),
    ),
    width=5,
    height=8,
    thresholds=(Threshold(0, "red"), Threshold(0.9, "green")),
    none="no run ended, or no data",
    most=1,
)

_LAST_SUCCESS = Panel(
    "Last success of each pipeline",
    "How long ago a run of the pipeline last succeeded, whatever its outcome.",
    "bars",
    "s",
    (
        Query(
            f"time() - max by (pipeline) (podium_run_last_ended_timestamp_seconds{{{PIPELINE}, {WHOLE}}})",
            "{{pipeline}}",
        ),
    ),
    width=4,
    height=8,
    none="none known",
)

_DURATION = Panel(
    "Mean duration of a run",
    "Wall time from the run's start to its end, over the runs that ended in this range.",
    "bars",
    "s",
    (
        Query(
            share(gained(_SECONDS, PIPELINE, ("pipeline",)), gained(_ENDED, PIPELINE, ("pipeline",))),
            "{{pipeline}}",
        ),
    ),
    width=6,
    none="no run ended, or no data",
)

_VERDICTS = Panel(
    "The gate's verdicts",
    "On the candidates judged in this range; `insufficient`: too few rows to tell.",
    "bars",
    "short",
    (Query(gained("podium_gate_verdicts_total", MODEL, ("verdict",)), "{{verdict}}"),),
    width=6,
    colours=GATE_VERDICTS,
)

_PROMOTIONS = Panel(
    "Promotions and rollbacks",
    "How champions moved in this range, and how often a move was refused or void. `podium models history MODEL` tells "
    "each.",
    "bars",
    "short",
    (
        Query(gained("podium_promotions_total", f'{MODEL}, state="applied"', ("action",)), "{{action}}"),
        Query(gained("podium_promotions_total", f'{MODEL}, state=~"refused|void"'), "refused or void"),
    ),
    width=6,
    colours=MOVES,
)

_CHAMPIONS = Panel(
    "Champions",
    "The version that serves, by model.",
    "stat",
    "none",
    (Query(f"max by (model, version) (podium_champion_info{{{MODEL}}})", "{{model}} {{version}}"),),
    width=3,
    none="none known",
    show_name=True,
)

_CHAMPION_AGE = Panel(
    "Champion since",
    "How long ago the version became champion.",
    "bars",
    "s",
    (Query(f"time() - max by (model) (podium_champion_since_timestamp_seconds{{{MODEL}}})", "{{model}}"),),
    width=3,
    none="none known",
)

_CANARIES_OPEN = Panel(
    "Open canaries, by phase",
    "`podium canary show MODEL` tells what each has seen.",
    "stat",
    "short",
    (Query(f"sum by (phase) (podium_canaries_open{{{MODEL}}})", "{{phase}}"),),
    width=4,
)

_CANARIES_ENDED = Panel(
    "Canaries that ended, by verdict",
    "In this range. `invalid`: recorded weights and real routing disagreed, so nothing was decided.",
    "bars",
    "short",
    (Query(gained("podium_canaries_ended_total", MODEL, ("verdict",)), "{{verdict}}"),),
    width=6,
    colours=CANARY_ENDS,
)

_EXPOSURES = Panel(
    "Requests to each variant",
    "Exposures counted in this range, over all canaries.",
    "bars",
    "short",
    (Query(gained("podium_canary_exposures_total", MODEL, ("variant",)), "{{variant}}"),),
    width=7,
)

_ERROR_RATE = Panel(
    "Error rate of each variant",
    "Errors / exposures of this range. It pools the phases of a ramp, so it does not compare the variants where "
    "the rate drifts meanwhile: the e-value does.",
    "bars",
    "percentunit",
    (
        Query(
            share(
                gained("podium_canary_errors_total", MODEL, ("model", "variant")),
                gained("podium_canary_exposures_total", MODEL, ("model", "variant")),
            ),
            "{{model}} {{variant}}",
        ),
    ),
    width=7,
    none="no request, or no data",
)

_EVIDENCE = Panel(
    "Evidence of each model's newest canary, as a share of what makes it act",
    "The e-value of each guardrail / its threshold. At 1 the canary acts, at whichever look: it rolls back "
    "(error_rate), promotes (error_rate_margin) or stops as invalid (sample_ratio).",
    "lines",
    "none",
    (
        Query(
            f"max by (model, guardrail) (podium_canary_e_value{{{MODEL}}} / podium_canary_threshold{{{MODEL}}})",
            "{{model}} {{guardrail}}",
        ),
        Query("vector(1)", ACTS),
    ),
    width=24,
    height=8,
    none="no canary, or no data",
    logarithmic=True,
    colours=((ACTS, "gray"),),
)

OPERATIONS = Dashboard(
    uid="operations",
    title="Podium: is it working?",
    description="Runs, the wait for workers, schedules, verdicts of the gate, promotions, and canaries.",
    variables=(Variable("pipeline", _ENDED), Variable("model", "podium_gate_verdicts_total")),
    sections=(
        Section("Now", (_UP, _OPEN_RUNS, _OPEN_STEPS, _OLDEST_READY, _SCRAPE_ERRORS)),
        Section("Workers", (_WORKERS, _SLOTS, _ATTEMPTS, _LATENCY, _SLOWEST)),
        SCHEDULES,
        Section("Runs", (_ENDS, _OUTCOMES, _SUCCESS, _LAST_SUCCESS)),
        Section("Models", (_DURATION, _VERDICTS, _PROMOTIONS, _CHAMPIONS, _CHAMPION_AGE)),
        Section("Canaries", (_CANARIES_OPEN, _CANARIES_ENDED, _EXPOSURES, _ERROR_RATE, _EVIDENCE)),
    ),
)
