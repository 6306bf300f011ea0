"""Judging candidates, registering versions and moving the champion."""
