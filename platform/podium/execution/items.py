"""How the items of a list are called: `fit[2]` is a step run of a mapped step, `result[2]` an output of one item.

No step and no output of a user's is called so, since brackets are in no Python name.
"""

import re

WHOLE = -1
"""The index of what is no item: a step run that stands for its whole step, a value that is not stored item by item."""

_ITEM = re.compile(r"(?P<name>.+)\[(?P<index>\d+)\]")


def item_name(name: str, index: int) -> str:
    """Return what item `index` of `name` is called; the name itself for the whole.

    >>> item_name("fit", 2), item_name("fit", WHOLE)
    ('fit[2]', 'fit')
    """
    return name if index == WHOLE else f"{name}[{index}]"


def parse_item(text: str) -> tuple[str, int]:
    """Return name and index of what `item_name` made.

    >>> parse_item("result[12]"), parse_item("result")
    (('result', 12), ('result', -1))
    """
    found = _ITEM.fullmatch(text)
    return (found["name"], int(found["index"])) if found else (text, WHOLE)
