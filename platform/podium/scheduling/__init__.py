"""Schedules, triggers and backfills: what makes runs by itself."""
