"""Packages with an engine in them, laid out as pip would have installed them."""

from __future__ import annotations

from pathlib import Path


def install(site: Path, module: str, source: str, name: str, target: str, group: str) -> None:
    """Put `module` below `site`, with the entry point `name = target` in `group`."""
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
