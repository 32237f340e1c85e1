"""Sizes and times, by name."""

from __future__ import annotations

GiB = 1024**3
MiB = 1024**2

MONTH_S = 30 * 24 * 3600.0
"""Longest time that makes sense in any setting; a larger one is a slip of the unit."""
