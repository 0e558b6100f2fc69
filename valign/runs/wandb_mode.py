"""Whether a run is logged to Weights & Biases online or offline, and whether the user is logged in there."""

from __future__ import annotations

import netrc
import os
import warnings
from pathlib import Path
from urllib.parse import urlsplit

from valign.core.errors import ValignError

PUBLIC_HOST = "api.wandb.ai"
MODES = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


def wandb_mode(mode: str) -> str:
    """Return ``online``, ``offline`` or ``disabled`` for a mode, ``auto`` included, without using the network.

    Raises:
        ValignError: ``WANDB_MODE`` has an unknown value, or the mode is online and nobody is logged in.
    """
    asked = mode
    if mode == "auto":
        asked = os.environ.get("WANDB_MODE", "") or ("online" if logged_in() else "offline")
    if asked not in MODES:
        raise ValignError(f"W&B's mode {asked!r} is unknown; set WANDB_MODE to online, offline or disabled.")
    if MODES[asked] == "online" and not logged_in():
        raise ValignError("W&B is to be online and nobody is logged in: run 'wandb login', or add logger.mode=offline.")
    return MODES[asked]


def logged_in() -> bool:
    """Tell whether W&B has a key: in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    given = os.environ.get("NETRC")
    names = [given] if given else ["~/.netrc", "~/_netrc"]  # os.path: where there is no home, ~ stays, and is no folder
    for path in [Path(os.path.expanduser(name)) for name in names]:
        if path.is_file():
            try:
                entries = netrc.netrc(path)
            except (netrc.NetrcParseError, OSError) as error:
                warnings.warn(f"{path} cannot be read ({error}); W&B counts as not logged in.", stacklevel=2)
                return False
            return any(entries.authenticators(host) for host in _hosts())
    return False


def _hosts() -> list[str]:
    """Return the names under which a key for the W&B server in use may be kept; its public server has two."""
    import wandb

    url = wandb.setup().settings.base_url
    return [urlsplit(url).netloc, *([PUBLIC_HOST] if url == wandb.Settings().base_url else [])]
