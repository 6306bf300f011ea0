"""Checks of data before it trains or judges: a report of what failed, with example rows."""
