"""How much a counter gained, exactly, in PromQL."""

WITNESS = "podium_ledger_unpriced_entries"
"""A series without labels that every scrape has in which the ledger could be read: it tells that somebody looked."""


BRIDGED = "6h"
"""Over a gap of up to this long between two scrapes a gain is counted where it was first seen."""


def gained(metric: str, matchers: str = "", by: tuple[str, ...] = (), over: str = "$__range") -> str:
    """Return the PromQL of what the counter `metric` gained within `over`, summed `by` labels.

    Podium's counters are read from its database: they never reset, so a gain is the difference of two samples.
    `increase()` would extrapolate it to the edges of the range and turn $1.00 into $1.03. What to subtract is, in
    this order:

    1. the last value seen at or before the start of the range: so the gains of two ranges that follow each other add
       up to that of both, even if nobody looked for a while in between;
    2. 0 for what had no value then, if somebody did look: it was born since;
    3. the first value since, where nobody had looked before, or 0 for a series that the first scrape did not have
       yet (it has fewer samples than the witness). What was counted before that scrape belongs to no range. A
       counter's least value is its first.

    A server that moved has other labels for its instance, but tells the same: the greatest value is the last.
    """
    chosen = f"{{{matchers}}}" if matchers else ""
    total = f"sum by ({', '.join(by)}) " if by else "sum "
    return (
        f"{total}({metric}{chosen})\n"
        f"- (\n"
        f"  {total}(max without (instance) (last_over_time({metric}{chosen}[{BRIDGED}] offset {over})))\n"
        f"  or 0 * {total}({metric}{chosen}) and on () last_over_time({WITNESS}[{BRIDGED}] offset {over})\n"
        f"  or {total}(\n"
        f"    min_over_time({metric}{chosen}[{over}])\n"
        f"    * (count_over_time({metric}{chosen}[{over}])\n"
        f"      >= bool on () group_left () max(count_over_time({WITNESS}[{over}])))\n"
        f"  )\n"
        f")"
    )


def share(part: str, whole: str) -> str:
    """Return the PromQL of `part` / `whole`; nothing where the whole is 0, because 0/0 is unknown."""
    return f"({part})\n/\n(({whole}) > 0)"
