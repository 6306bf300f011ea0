"""What a candidate was judged on, for people: one page as HTML and as Markdown, with plots."""

from podium.registry.report.circumstances import Circumstances
from podium.registry.report.rendering import FOLDER, Report, render
from podium.registry.report.summary import numbers, parameters, summary

__all__ = ["FOLDER", "Circumstances", "Report", "numbers", "parameters", "render", "summary"]
