"""D_sft: questions about each passage, and answers that rest on its words."""

from __future__ import annotations

from collections.abc import Sequence

from valign.core.records import Instruction, Passage
from valign.synthesis.case_rows import ask_instructions
from valign.synthesis.claims import write_claims
from valign.synthesis.filters import Filters, Funnel, lacking
from valign.synthesis.quotes import Quote, find_unique_phrases
from valign.synthesis.rows import frame_words, keep_framed, make_framed_row
from valign.synthesis.writer import Writer


def write_instructions(writer: Writer, filters: Filters, funnel: Funnel) -> list[Instruction]:
    """Write D_sft: teacher's questions, the clause's own phrases, recitations and claims, filtered.

    Args:
        writer: Writes with the teacher.
        filters: The document's filters.
        funnel: Counts of D_sft, to which these rows are added; the teacher is asked for the questions that a clause
            lacks.

    Returns:
        The rows that every filter let pass.
    """
    rows = []
    wanted = writer.settings.instructions.questions_per_passage
    for count, passages in lacking(funnel, writer.document.passages, wanted):
        rows += ask_instructions(writer, filters, funnel, passages, total=count)
    per_passage, stop = writer.settings.instructions.phrases_per_passage, writer.language.stop_words()
    phrases = find_unique_phrases(writer.document.passages, per_passage, stop)
    for passage in writer.document.passages:
        rows += _framed(writer, filters, funnel, passage, phrases[passage.clause])
        claims = write_claims(writer, passage, writer.settings.instructions.claims_per_passage)
        filters.embed_batch([claim.question for claim in claims])
        for claim in claims:
            answer = f"{writer.language.verdicts[claim.verdict]}. {writer.quote(claim.quote.text, passage).sentence}"
            row = make_framed_row(writer, passage, "claim", claim.question, answer, claim.quote, None)
            keep_framed(rows, row, filters, funnel, passage)
    return rows


def _framed(
    writer: Writer, filters: Filters, funnel: Funnel, passage: Passage, phrases: Sequence[str]
) -> list[Instruction]:
    """Return the rows that ask for a phrase of the passage or for the passage itself."""
    rows: list[Instruction] = []
    rng = writer.rng("frames", passage.text)
    frames = writer.language.phrase_frames
    for words in phrases if frames else ():
        question = rng.choice(frames).format(words=words)
        quote = writer.quote(words, passage)
        row = make_framed_row(writer, passage, "phrase", question, quote.sentence, quote, None)
        keep_framed(rows, row, filters, funnel, passage)
    title, subject = frame_words(writer, passage)
    for frame in writer.language.recite_frames[: writer.settings.instructions.recitations_per_passage]:
        question = frame.format(title=title, topic=subject)
        quote = Quote(passage.text, passage.start, passage.end)
        row = make_framed_row(writer, passage, "recite", question, quote.sentence, quote, None)
        keep_framed(rows, row, filters, funnel, passage)
    return rows
