"""People's decisions applied to the rows of D_sft and D_pref."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from valign.core.records import Instruction, Preference, Provenance
from valign.synthesis.candidates import HELD_OUT
from valign.synthesis.decisions import D_PREF, DROP, EDIT, RowState
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import ADDED_BY_PERSON, FROM_TEACHER, scenario_family
from valign.synthesis.review_rows import ReviewRow, instruction_row, pair_row
from valign.synthesis.reviewing import DROPPED, FUNNELS, Review, changed
from valign.synthesis.writer import Writer

SAME_ANSWERS = "same answer as chosen and as rejected"
OF_QUESTION = ("language", "relevance", "rank", "decides", "nearest", "wording")
OF_ANSWER = ("repetition", "answer_language", "faithfulness", "ungrounded")


@dataclass(frozen=True)
class TrainingReview:
    """Applies decisions to rows for training.

    Attributes:
        review: The decisions.
        writer: The document's writer.
        filters: Know the evaluation questions as they are after the review.
        funnels: The counts.
        facts: The words of each fact that D_sft teaches, by its id.
        is_changed: Whether the evaluation questions are others than those by which the rows were filtered.
    """

    review: Review
    writer: Writer
    filters: Filters
    funnels: Mapping[str, Funnel]
    facts: Mapping[str, str]
    is_changed: bool

    def instruction(self, row: Instruction) -> Instruction | None:
        """Return a row of D_sft after its review; None where it goes."""
        before = instruction_row(row, self.review.index)
        values = self._decided(before, row.kind)
        if values is None:
            return None
        after, state, scores = values
        if state is None or state.action != EDIT:
            return replace(row, filters=scores)
        return replace(
            row,
            question=after.question,
            answer=after.answer,
            verdict=after.verdict,
            provenance=_edited(row.provenance, state),
            filters=scores,
            family=self._family(before, after, row.family),
            fact=row.fact if self.facts.get(row.fact, "").lower() in after.answer.lower() else "",
        )

    def preference(self, row: Preference) -> Preference | None:
        """Return a pair of D_pref after its review; None where it goes."""
        before = pair_row(row, self.review.index)
        values = self._decided(before, row.rejected_kind)
        if values is None:
            return None
        after, state, scores = values
        if state is None or state.action != EDIT:
            return replace(row, filters=scores)
        return replace(
            row,
            question=after.question,
            chosen=after.answer,
            rejected=after.rejected,
            rejected_kind=after.rejected_kind,
            verdict=after.verdict,
            provenance=_edited(row.provenance, state),
            filters=scores,
            family=self._family(before, after, row.family),
        )

    def added_instruction(self, state: RowState, row: ReviewRow) -> Instruction | None:
        """Return a row of D_sft that a person added; None where a filter drops it."""
        found = self._added(state, row, row.kind)
        if found is None:
            return None
        origin, scores, family = found
        named = row.name, row.clauses, row.kind, row.question, row.answer
        return Instruction(*named, origin, scores, family=family, verdict=row.verdict)

    def added_preference(self, state: RowState, row: ReviewRow) -> Preference | None:
        """Return a pair that a person added; None where a filter drops it."""
        found = self._added(state, row, row.rejected_kind)
        if found is None:
            return None
        origin, scores, family = found
        named = row.name, row.clauses, row.kind, row.question, row.answer, row.rejected, row.rejected_kind
        return Preference(*named, origin, scores, family=family, verdict=row.verdict)

    def _decided(self, row: ReviewRow, kind: str) -> tuple[ReviewRow, RowState | None, dict[str, float]] | None:
        """Return a row with what was decided about it and its scores; None where it goes, which is counted."""
        state = self.review.state(row)
        funnel = self.funnels[FUNNELS[row.set]]
        if state is not None and state.action == DROP:
            self.review.note(state, "", row)
            funnel.take_back(row.clauses[0], kind, DROPPED)
            return None
        is_edited = state is not None and state.action == EDIT
        after = changed(row, state) if state is not None and is_edited else row
        reason, scores = self._fault(row, after) if is_edited or self.is_changed else ("", dict(row.scores))
        if reason:
            funnel.take_back(row.clauses[0], kind, reason)
        if state is not None:
            self.review.note(state, "" if reason else row.name, row if is_edited or reason else None, reason)
        if reason:
            return None
        if is_edited and row.set == D_PREF and after.rejected_kind != kind:
            funnel.kinds.update({kind: -1, after.rejected_kind: 1})
        return after, state, scores

    def _added(self, state: RowState, row: ReviewRow, kind: str) -> tuple[Provenance, dict[str, float], str] | None:
        """Return origin, scores and scenario family of an added row; None where it goes, which is counted."""
        funnel = self.funnels[FUNNELS[row.set]]
        funnel.made += 1
        passage = next((p for p in self.writer.document.passages if p.clause == row.clauses[0]), None)
        reason, scores = self._fault(None, row) if passage else (HELD_OUT, {})
        self.review.note(state, "" if reason else row.name, None, reason)
        if reason or passage is None:
            funnel.drop(reason)
            return None
        funnel.keep(passage.clause, kind)
        quote = self.writer.quote(row.question, passage)
        origin = Provenance(quote.text, quote.start, quote.end, ADDED_BY_PERSON, "", row.teacher)
        if state.change != state.first:
            origin = _edited(origin, state)
        return origin, scores, scenario_family(passage.clause, FROM_TEACHER, row.question)

    def _fault(self, before: ReviewRow | None, after: ReviewRow) -> tuple[str, dict[str, float]]:
        """Return the filter that a changed or new row does not pass, if any, and the scores that are still true."""
        reason, leak = self.filters.check_leak(after.question)
        is_asked_anew = before is None or before.question != after.question
        if not reason and is_asked_anew:
            reason = self.writer.reserved_reason(after.clauses[0], after.question)
        if not reason and after.rejected and after.rejected == after.answer:
            reason = SAME_ANSWERS
        gone = (OF_QUESTION if is_asked_anew else ()) + (
            OF_ANSWER if before is None or before.answer != after.answer else ()
        )
        return reason or "", {name: value for name, value in after.scores.items() if name not in gone} | leak

    def _family(self, before: ReviewRow, after: ReviewRow, family: str) -> str:
        """Return the scenario family of an edited row."""
        same = before.question == after.question
        return family if same else scenario_family(after.clauses[0], FROM_TEACHER, after.question)


def _edited(origin: Provenance, state: RowState) -> Provenance:
    """Return where an edited row came from, with who edited it."""
    return replace(origin, teacher=f"{origin.teacher}; edited by {state.reviewer}")
