"""Authoring, tracing, checking and loading of pipelines; pure but for `loading` and `catalogue`."""
