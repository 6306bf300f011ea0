"""Numbers and names as the report writes them. Names come from data: what is no visible character is replaced."""

from podium.registry.evidence import Comparison
from podium.registry.metrics import Metric

NOTHING = "–"

_LONGEST_NAME = 60
_TITLES = {Metric.AUC: "AUC"}


def metric_title(metric: Metric) -> str:
    """Return a metric's name for people.

    >>> metric_title(Metric.AUC), metric_title(Metric.LOG_LOSS)
    ('AUC', 'log loss')
    """
    return _TITLES.get(metric, metric.replace("_", " "))


def visible(text: object) -> str:
    """Return text of one line whose every character shows: no control, no change of direction, no half of a pair.

    >>> visible("late\\x1b[31m\\nby\\u202eday")
    'late�[31m by�day'
    """
    spaced = " ".join(str(text).split())
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in spaced)


def shortened(text: object, longest: int = _LONGEST_NAME) -> str:
    """Return visible text of at most `longest` characters.

    >>> shortened("carrier", 5)
    'carr…'
    """
    shown = visible(text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def value(number: float | None) -> str:
    """Return a measured value, to four digits.

    >>> value(0.61234567), value(12345.6), value(-0.5), value(None)
    ('0.6123', '12,346', '−0.5', '–')
    """
    return NOTHING if number is None else _to_digits(number, 4)


def _to_digits(number: float, digits: int) -> str:
    return (f"{number:,.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.{digits}g}").replace("-", "−")


def change(number: float | None) -> str:
    """Return a gain with its sign, a true minus, to three digits.

    >>> change(0.004247), change(-0.01), change(0.0), change(None)
    ('+0.00425', '−0.01', '0', '–')
    """
    if number is None:
        return NOTHING
    if not number:
        return "0"
    return f"{'+' if number > 0 else ''}{_to_digits(number, 3)}"


def between(low: float | None, high: float | None) -> str:
    """Return an interval.

    >>> between(-0.01, 0.02), between(None, None)
    ('−0.01 to +0.02', '–')
    """
    return NOTHING if low is None or high is None else f"{change(low)} to {change(high)}"


def level(p_value: float | None) -> str:
    """Return a p-value.

    >>> level(0.04987), level(3.2e-9), level(None)
    ('0.0499', '3.2e−09', '–')
    """
    if p_value is None:
        return NOTHING
    return (f"{p_value:.3g}" if p_value >= 0.001 or p_value == 0 else f"{p_value:.1e}").replace("-", "−")


def count(number: int | None) -> str:
    """Return how many.

    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return NOTHING if number is None else f"{number:,}"


def percent(share: float) -> str:
    """Return a share in percent.

    >>> percent(0.9), percent(0.975)
    ('90 %', '97.5 %')
    """
    return f"{100 * share:.4g} %"


def probability(number: float) -> str:
    """Return a probability or a rate.

    >>> probability(0.0000439), probability(0.25)
    ('0.000', '0.250')
    """
    return f"{number:.3f}"


def question(comparison: Comparison) -> str:
    """Return what a comparison asks."""
    return "better?" if comparison.question == "superiority" else "not worse?"


def answer(comparison: Comparison, alpha: float) -> str:
    """Return what its test says: shown, not shown or unknown."""
    if comparison.p_value is None:
        return "unknown"
    return "shown" if comparison.p_value <= alpha else "not shown"
