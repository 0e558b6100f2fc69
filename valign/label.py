"""``python -m valign.label runs=DIR``: label answers, in pairs or one by one, blind, and see whether judges agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Serve the page until all is labelled, then say how far judges agree with the labels."""
    from valign.core.text import typed
    from valign.evaluation.judging.answer_labels import ANSWER_LABELS, AnswerLabel, draw_answers
    from valign.evaluation.judging.label_server import LabelServer
    from valign.evaluation.judging.labels import LABELS, Label, LabelFile, ShownTask, draw_tasks
    from valign.reporting.judge_agreement import judge_lines
    from valign.reporting.policy_verdicts import policy_lines
    from valign.reporting.study import compare_folder

    runs, rater, seed = Path(config.runs).expanduser(), str(config.rater), int(config.seed)
    comparison = compare_folder(runs)
    said = {result.arm: result.answers for result in comparison.arms}
    tasks: Sequence[ShownTask]
    if config.task == "policy":
        tasks = draw_answers(said, comparison.passages, config.answers, rater, seed)
        labels, noun, lines = LabelFile(runs / ANSWER_LABELS, rater, AnswerLabel), "answers", policy_lines
    else:
        tasks = draw_tasks(said, comparison.passages, config.pairs, rater, seed)
        labels, noun, lines = LabelFile(runs / LABELS, rater, Label), "pairs of answers", judge_lines
    server = LabelServer(tasks, labels, int(config.port))
    print(f"{len(tasks)} {noun}, {len(labels.done(tasks))} of them labelled by {rater}.")
    print(
        f"open {server.address} in a browser on this machine; Ctrl-C stops, and the same command goes on.", flush=True
    )
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
    for line in lines(compare_folder(runs)):
        print(line)
    print(f"labels: {labels.path}; python -m valign.report {typed('runs', str(runs))} puts them on the page.")


if __name__ == "__main__":
    main_with(main, "label")
