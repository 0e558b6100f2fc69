"""``python -m valign.review run=DIR``: read the training data beside its clauses, and keep, drop, edit or add rows."""

from __future__ import annotations

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Serve the page until Ctrl-C, then say how far the review is and how it is applied."""
    from valign.provenance.runs import chosen_data
    from valign.review_desk.opening import closing_lines, open_server, opening_lines

    server = open_server(chosen_data(config.run, config.artifact), config.file, str(config.reviewer), int(config.port))
    print("\n".join(opening_lines(server)), flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
    print("\n".join(closing_lines(server.desk)))


if __name__ == "__main__":
    main_with(main, "review")
