"""``python -m valign.label runs=DIR``: say which of two answers is better, blind, and see whether judges agree."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Serve the page until all pairs are labelled, then say how far judges agree with the labels."""
    from valign.core.text import typed
    from valign.evaluation.judging.label_server import LabelServer
    from valign.evaluation.judging.labels import LABELS, LabelFile, draw_tasks
    from valign.reporting.judge_agreement import judge_lines
    from valign.reporting.study import compare_folder

    runs = Path(config.runs).expanduser()
    comparison = compare_folder(runs)
    said = {result.arm: result.answers for result in comparison.arms}
    drawn = draw_tasks(said, comparison.passages, int(config.pairs), str(config.rater), int(config.seed))
    labels = LabelFile(runs / LABELS, str(config.rater))
    server = LabelServer(drawn, labels, int(config.port))
    print(f"{len(drawn)} pairs of answers, {len(labels.done(drawn))} of them labelled by {config.rater}.")
    print(
        f"open {server.address} in a browser on this machine; Ctrl-C stops, and the same command goes on.", flush=True
    )
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
    for line in judge_lines(compare_folder(runs)):
        print(line)
    print(f"labels: {labels.path}; python -m valign.report {typed('runs', str(runs))} puts them on the page.")


if __name__ == "__main__":
    main_with(main, "label")
