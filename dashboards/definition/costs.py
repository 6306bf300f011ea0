"""The page on money: what do our models cost, who causes it, and is the ledger sound?"""

from dashboards.definition.gains import WITNESS, gained, share
from dashboards.definition.panels import (
    ENDS,
    RED_ABOVE_ZERO,
    Dashboard,
    Kind,
    Panel,
    Query,
    Section,
    Threshold,
    Variable,
)

OWNER = 'team=~"$team", model=~"$model", environment=~"$environment"'

_COST = "podium_cost_usd_total"
_RUN_COST = "podium_run_cost_usd_sum"
_RUNS = "podium_run_cost_usd_count"
_SINCE = "Counted between two scrapes, by when it was posted: exact, not extrapolated."


def _spent(title: str, description: str, *by: str, kind: Kind = "bars", width: int = 6) -> Panel:
    query = Query(gained(_COST, OWNER, by), " ".join(f"{{{{{label}}}}}" for label in by))
    return Panel(title, f"{description} {_SINCE}", kind, "currencyUSD", (query,), width)


_SPENT_TODAY = Panel(
    "Spent today",
    "What was posted to the ledger since midnight UTC, before credits.",
    "stat",
    "currencyUSD",
    (Query(gained(_COST, OWNER), "today"),),
    width=5,
    today=True,
)

_CREDITS = Panel(
    "Credits",
    "Reversals of ledger entries posted in this range: what was charged and then taken back.",
    "stat",
    "currencyUSD",
    (Query(gained("podium_cost_credits_usd_total", OWNER), "credits"),),
    width=4,
)

_NET = Panel(
    "Spent, net of credits",
    "What was spent in this range minus the credits of this range, which may concern earlier charges.",
    "stat",
    "currencyUSD",
    (Query(f"({gained(_COST, OWNER)})\n- (\n{gained('podium_cost_credits_usd_total', OWNER)}\n)", "net"),),
    width=5,
)

_COVERED = Panel(
    "Share of the range that was scraped",
    "Below 100 % nobody looked for a while: what was posted meanwhile counts where it was first seen, and what was "
    "posted before the very first scrape counts nowhere.",
    "stat",
    "percentunit",
    (
        Query(
            f"count_over_time(max({WITNESS})[$__range:5m])\n/\ncount_over_time(vector(1)[$__range:5m])",
            "scraped",
        ),
    ),
    width=5,
    thresholds=(Threshold(0, "orange"), Threshold(0.99, "green")),
)

_PER_INTERVAL = Panel(
    "Spent over time, by team",
    f"What each team spent between one point and the next; the columns add up to the amount of the range. {_SINCE}",
    "columns",
    "currencyUSD",
    (Query(gained(_COST, OWNER, ("team",), over="$__interval"), "{{team}}"),),
    width=12,
    height=8,
)

_IN_ALL = Panel(
    "Spent in all, by model",
    "The ledger's sum since its first entry.",
    "lines",
    "currencyUSD",
    (Query(f"sum by (model) ({_COST}{{{OWNER}}})", "{{model}}"),),
    width=12,
    height=8,
)

_BY_OUTCOME = Panel(
    "Spent on runs, by what came of them",
    "The cost of runs that ended in this range. `rejected`: the gate refused the candidate; `failed`, `cancelled`: "
    "the run did not get that far.",
    "bars",
    "currencyUSD",
    (Query(gained(_RUN_COST, OWNER, ("outcome",)), "{{outcome}}"),),
    width=8,
    height=6,
    colours=ENDS,
)

_NOT_PROMOTED = Panel(
    "Spent on candidates that were rejected",
    "The cost of runs whose candidate the gate refused, in this range.",
    "stat",
    "currencyUSD",
    (Query(gained(_RUN_COST, f'{OWNER}, outcome="rejected"'), "rejected"),),
    width=4,
    height=6,
)

_SHARE_NOT_PROMOTED = Panel(
    "Share of run cost without a promotion",
    "Cost of runs that promoted nothing / cost of all runs that ended in this range.",
    "stat",
    "percentunit",
    (
        Query(
            share(gained(_RUN_COST, f'{OWNER}, outcome!="promoted"'), gained(_RUN_COST, OWNER)),
            "not promoted",
        ),
    ),
    width=4,
    height=6,
    none="no run ended, or no data",
)

_MEAN_RUN = Panel(
    "Mean cost of a run, by model",
    "Cost of the runs that ended in this range / how many ended.",
    "bars",
    "currencyUSD",
    (
        Query(
            share(gained(_RUN_COST, OWNER, ("model",)), gained(_RUNS, OWNER, ("model",))),
            "{{model}}",
        ),
    ),
    width=4,
    height=6,
    none="no run ended, or no data",
)

_LIVE_VERSIONS = Panel(
    "What the live versions cost to make",
    "Every attempt behind the champion and an open challenger, failed attempts and retries included. "
    "`podium costs version MODEL VERSION` shows the attempts.",
    "bars",
    "currencyUSD",
    (Query('max by (model, version) (podium_model_version_cost_usd{model=~"$model"})', "{{model}} {{version}}"),),
    width=4,
    height=6,
    none="none known",
)

_DIFFERENCE = Panel(
    "Reconciliation: largest difference",
    "The ledger against its rollups, prices, attempts and reversals; it must be 0. `podium costs reconcile` names the "
    "check. Entries without a price are counted on their own.",
    "stat",
    "currencyUSD",
    (
        Query(
            'max(abs(podium_cost_reconciliation_difference_usd{check!="entries with a price"}))',
            "difference",
        ),
    ),
    width=4,
    thresholds=RED_ABOVE_ZERO,
    none="not known",
)

_RECONCILED = Panel(
    "Last reconciled",
    "How long ago the books were compared.",
    "stat",
    "s",
    (Query("time() - max(podium_cost_reconciliation_timestamp_seconds)", "ago"),),
    width=4,
    thresholds=(Threshold(0, "green"), Threshold(3_600, "red")),
    none="not known",
)

_FRESH = Panel(
    "Newest ledger entry",
    "How long ago the ledger grew. Attempts are posted when they end, so an idle platform's ledger is old.",
    "stat",
    "s",
    (Query("time() - max(podium_ledger_last_posting_timestamp_seconds)", "ago"),),
    width=4,
    none="not known",
)

_UNPRICED_ENTRIES = Panel(
    "Entries in no amount above",
    "Usage whose price is unknown, and charges in another currency than USD. `podium costs report --by sku` shows "
    "which have no amount; prices.yaml takes the missing price.",
    "stat",
    "short",
    (
        Query("max(podium_ledger_unpriced_entries)", "without a price"),
        Query("max by (currency) (podium_ledger_entries_in_other_currencies)", "in {{currency}}"),
    ),
    width=4,
    thresholds=RED_ABOVE_ZERO,
)

_UNPRICED_RUNS = Panel(
    "Ended runs of unknown cost",
    "Runs that ended in this range with an entry that has no price; they are in no sum of run costs.",
    "stat",
    "short",
    (Query(gained("podium_runs_unpriced_total"), "runs"),),
    width=4,
    thresholds=RED_ABOVE_ZERO,
)

_UNATTRIBUTED = Panel(
    "Spent by nobody",
    "Entries of no team (`__unattributed__`) in this range: paid, and in nobody's showback.",
    "stat",
    "currencyUSD",
    (Query(gained("podium_cost_unattributed_usd_total"), "unattributed"),),
    width=4,
    thresholds=RED_ABOVE_ZERO,
)

COSTS = Dashboard(
    uid="costs",
    title="Podium: what do our models cost?",
    description="What models cost, who causes it, what came of it, and whether the ledger is sound.",
    variables=(Variable("team", _COST), Variable("model", _COST), Variable("environment", _COST)),
    sections=(
        Section(
            "What does it cost?",
            (
                _SPENT_TODAY,
                _spent("Spent in this range", "What was posted to the ledger, before credits.", kind="stat", width=5),
                _CREDITS,
                _NET,
                _COVERED,
            ),
        ),
        Section(
            "Who causes it?",
            (
                _spent("Spent by team", "Who caused it.", "team"),
                _spent("Spent by model", "What for.", "model"),
                _spent("Spent by resource", "On what.", "resource"),
                _spent("Spent by environment", "Where.", "environment"),
                _PER_INTERVAL,
                _IN_ALL,
            ),
        ),
        Section(
            "What came of it?",
            (_BY_OUTCOME, _NOT_PROMOTED, _SHARE_NOT_PROMOTED, _MEAN_RUN, _LIVE_VERSIONS),
        ),
        Section(
            "Is the ledger sound?",
            (_DIFFERENCE, _RECONCILED, _FRESH, _UNPRICED_ENTRIES, _UNPRICED_RUNS, _UNATTRIBUTED),
        ),
    ),
)
