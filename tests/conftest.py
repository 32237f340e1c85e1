"""What holds for every test, before any library is imported."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""Also for the engine processes: on a small machine several threads of PyTorch fight each other."""
