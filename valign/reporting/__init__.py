"""The comparison page: what each arm scored, how sure we are, and every answer side by side."""

from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.page import render, render_picture

__all__ = ["ArmResult", "Comparison", "render", "render_picture"]
