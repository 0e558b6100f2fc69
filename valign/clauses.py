"""``python -m valign.clauses document.path=FILE``: how a document is split, and its clause ids."""

from __future__ import annotations

from omegaconf import DictConfig

from valign.cli.main import main_with, print_text

BEGINNING = 60


def main(config: DictConfig) -> None:
    """Print each passage's clause id, page (where there are pages), words and first words, divided by tabs.

    Below, for each reason: how many characters of the file are in no passage, in how many places, and the first.
    """
    from valign.config.arguments import plain
    from valign.core.settings import make_settings
    from valign.core.text import count_words, one_line
    from valign.documents.choice import chosen_document
    from valign.documents.settings import DocumentSettings

    document = chosen_document(make_settings(DocumentSettings, plain(config.document)))
    passages = document.passages
    paged = any(passage.page for passage in passages)
    lines: list[tuple[str, ...]] = [("clause", *(["page"] if paged else []), "words", "begins with")]
    for passage in passages:
        page = [str(passage.page)] if paged else []
        begins = one_line(passage.text)[:BEGINNING]
        lines.append((one_line(passage.clause), *page, str(count_words(passage.text)), begins))
    if document.left_out:
        lines += [(), ("left out", "characters", "places", "begins with")]
    for part in document.left_out:
        lines.append((part.reason, str(part.characters), str(part.places), part.example))
    print_text("\n".join("\t".join(line) for line in lines))


if __name__ == "__main__":
    main_with(main, "clauses")
