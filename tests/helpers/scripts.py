"""Scripts of the studies, which are no part of the package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def load_script(path: str) -> Any:
    """Load a script by its path inside ``experiments/``; it finds its neighbours, as when it is run."""
    spec = importlib.util.spec_from_file_location(path.removesuffix(".py").replace("/", "_"), EXPERIMENTS / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str((EXPERIMENTS / path).parent))
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.path[0]
    return module
