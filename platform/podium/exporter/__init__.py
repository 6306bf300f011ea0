"""Prometheus metrics, read from the database at every scrape, so that no restart loses a total."""
