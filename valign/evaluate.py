"""``python -m valign.evaluate run=DIR [questions=FILE.jsonl]``: score all arms of a run, on other questions too."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Let the arms answer, score the answers, and print and write the comparison."""
    from valign.config.arguments import plain
    from valign.config.schema import ScoringSettings
    from valign.core.settings import make_settings
    from valign.pipeline.evaluation_run import evaluate

    questions, output = (Path(value).expanduser() if value else None for value in (config.questions, config.output))
    scoring = make_settings(ScoringSettings, plain(config.evaluation))
    evaluate(Path(config.run).expanduser(), questions, output, scoring, config.trust, config.policy_probes)


if __name__ == "__main__":
    main_with(main, "evaluate")
