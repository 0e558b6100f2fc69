"""``python -m valign.trace id=ID``: where an example or an answer comes from, and every example of a clause."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with, print_text


def main(config: DictConfig) -> None:
    """Print the entry of an example, of an evaluation question, or of a clause."""
    from valign.provenance.entries import clause_entry, trace_entry
    from valign.provenance.ledger import read_ledger, resolve_id
    from valign.runs.damage import describe_damage

    store, runs = Path(config.artifacts).expanduser(), Path(config.runs).expanduser()
    ledger = read_ledger(store, runs)
    with describe_damage(store):
        if config.clause is None:
            text = trace_entry(ledger, config.id)
        else:
            text = clause_entry(ledger, resolve_id(config.clause, ledger.clauses, "clause"))
    print_text(text)


if __name__ == "__main__":
    main_with(main, "trace")
