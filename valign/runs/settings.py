"""Where curves and scores are logged, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class LoggerSettings:
    """Where curves and scores are logged.

    Attributes:
        kind: Weights & Biases, CSV files in the run's folder, or nowhere.
        project: Project in Weights & Biases.
        mode: ``auto`` is online where the user is logged in, else offline.
        entity: User or team in Weights & Biases; None for the user's own.
    """

    kind: str = setting(choices=("wandb", "csv", "none"))
    project: str = "valign"
    mode: str = setting("auto", choices=("auto", "offline", "online", "disabled"))
    entity: str | None = None
