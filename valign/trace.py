"""``python -m valign.trace id=ID``: where an example or an answer comes from, and every example of a clause."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from omegaconf import DictConfig

from valign.cli import main_with


def main(config: DictConfig) -> None:
    """Print the entry of an example, of an evaluation question, or of a clause."""
    from valign.ledger.find import read_ledger, resolve
    from valign.ledger.show import clause_entry, trace

    ledger = read_ledger(Path(config.artifacts).expanduser(), Path(config.runs).expanduser())
    if config.clause is None:
        text = trace(ledger, config.id)
    else:
        text = clause_entry(ledger, resolve(config.clause, ledger.clauses, "clause"))
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main_with(main, "trace")
