"""The metrics: one record each, which config, scores, tables and page read.

To add one, write its function and add its record to ``METRICS``; its name in ``conf/evaluation/default.yaml`` shows it.
"""

from __future__ import annotations

from valign.core.records import Answer
from valign.core.text import refuses
from valign.evaluation.answer_metrics import fact_recall, followed, length_words, repetition_rate, rouge_l
from valign.evaluation.contradiction import contradicts
from valign.evaluation.embedding_metrics import (
    clause_similarity,
    nearest_clause,
    reference_similarity,
    token_similarity,
)
from valign.evaluation.metric_info import (
    EMBEDDER,
    GROUPS,
    MANNER,
    MODEL,
    SUBSTANCE,
    Compute,
    MetricInfo,
    MetricInput,
    from_likelihoods,
    per_answer,
)
from valign.evaluation.verdicts import verdict_correct


def _follows(version: str, answer: Answer) -> float | None:
    side = followed(answer.answer, answer.facts, answer.verdict, answer.original)
    return None if side is None else float(side == version)


def _preference_on(verdict: str) -> Compute:
    def compute(given: MetricInput) -> list[float | None]:
        if given.likelihoods is None:
            return [None] * len(given.answers)
        found = given.likelihoods.verdict_preference
        return [
            value if answer.verdict == verdict else None for value, answer in zip(found, given.answers, strict=True)
        ]

    return compute


METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo(
            "follows_document",
            "Follows document",
            "Share of answers that say what the document says, and not the original, where the two differ.",
            group=SUBSTANCE,
            compute=per_answer(lambda a: _follows("document", a)),
            is_charted=True,
            finding="follows the document, not the original, on {} of the questions where they differ",
            is_share=True,
        ),
        MetricInfo(
            "follows_original",
            "Follows original",
            "Share of answers that say what the original says, and not the document, where the two differ.",
            higher_is_better=False,
            group=SUBSTANCE,
            compute=per_answer(lambda a: _follows("original", a)),
            is_share=True,
        ),
        MetricInfo(
            "fact_recall",
            "Fact recall",
            "Share of the facts a right answer needs that the answer states.",
            group=SUBSTANCE,
            compute=per_answer(lambda a: fact_recall(a.answer, a.facts)),
            is_primary=True,
            is_charted=True,
            has_kinds=True,
            finding="states {} of the facts that right answers need",
            is_share=True,
        ),
        MetricInfo(
            "verdict_accuracy",
            "Verdict accuracy",
            "Share of yes/no questions with the right verdict.",
            group=SUBSTANCE,
            compute=per_answer(lambda a: verdict_correct(a.answer, a.verdict)),
            is_primary=True,
            is_charted=True,
            has_kinds=True,
            finding="gives the right verdict on {} of the questions that have one",
            is_share=True,
        ),
        MetricInfo(
            "verdict_preference",
            "Verdict preference",
            "Share of yes/no questions where the right one of Yes and No is the more probable first token.",
            group=SUBSTANCE,
            needs=MODEL,
            compute=from_likelihoods(lambda measured: measured.verdict_preference),
            is_share=True,
        ),
        MetricInfo(
            "preference_on_yes",
            "Preference on yes",
            "Verdict preference on the questions whose right verdict is yes.",
            group=SUBSTANCE,
            needs=MODEL,
            compute=_preference_on("yes"),
            is_share=True,
        ),
        MetricInfo(
            "preference_on_no",
            "Preference on no",
            "Verdict preference on the questions whose right verdict is no.",
            group=SUBSTANCE,
            needs=MODEL,
            compute=_preference_on("no"),
            is_share=True,
        ),
        MetricInfo(
            "similarity",
            "Similarity",
            "Cosine of the embeddings of answer and reference.",
            group=MANNER,
            needs=EMBEDDER,
            compute=reference_similarity,
            is_charted=True,
            has_kinds=True,
        ),
        MetricInfo(
            "rouge_l",
            "ROUGE-L",
            "F-measure of the longest common word sequence of answer and reference.",
            group=MANNER,
            compute=per_answer(lambda a: rouge_l(a.answer, a.reference)),
            is_charted=True,
            has_kinds=True,
        ),
        MetricInfo(
            "bertscore",
            "BERTScore",
            "F-measure of the greedy matching of tokens, embedded by all-MiniLM-L6-v2.",
            group=MANNER,
            needs=EMBEDDER,
            compute=token_similarity,
        ),
        MetricInfo(
            "reference_nll",
            "Reference NLL",
            "Negative log-likelihood of the reference, in nats per token.",
            higher_is_better=False,
            group=MANNER,
            needs=MODEL,
            compute=from_likelihoods(lambda measured: measured.reference_nll),
        ),
        MetricInfo(
            "faithfulness",
            "Faithfulness",
            "Cosine of the embeddings of answer and deciding clause.",
            group=SUBSTANCE,
            page_rank=1,
            needs=EMBEDDER,
            compute=clause_similarity,
        ),
        MetricInfo(
            "right_clause",
            "Right clause",
            "Share of answers whose nearest passage is the deciding clause.",
            group=SUBSTANCE,
            needs=EMBEDDER,
            compute=nearest_clause,
            is_share=True,
        ),
        MetricInfo(
            "contradiction",
            "Contradiction",
            "Share of answers with the opposite verdict, or another figure for the right one; found by rules.",
            higher_is_better=False,
            group=SUBSTANCE,
            page_rank=1,
            compute=per_answer(lambda a: contradicts(a.answer, a.question, a.reference, a.verdict, a.facts)),
            has_kinds=True,
            is_share=True,
        ),
        MetricInfo(
            "refusal",
            "Refusal",
            "Share of answers that refuse, in one of the usual phrases.",
            higher_is_better=False,
            group=MANNER,
            compute=per_answer(lambda a: float(refuses(a.answer))),
            is_share=True,
        ),
        MetricInfo(
            "length",
            "Words",
            "Length of the answer in words.",
            higher_is_better=None,
            decimals=1,
            group=MANNER,
            compute=per_answer(lambda a: float(length_words(a.answer))),
        ),
        MetricInfo(
            "repetition",
            "Repetition",
            "Share of the answer's 4-grams that occurred before in it.",
            higher_is_better=False,
            group=MANNER,
            compute=per_answer(lambda a: repetition_rate(a.answer)),
        ),
    )
}


def page_order() -> list[str]:
    """Return the names of all metrics in the order of the page: those of substance first."""
    grouped = [info for group in GROUPS for info in METRICS.values() if info.group == group]
    return [info.name for info in sorted(grouped, key=lambda info: (GROUPS.index(info.group), info.page_rank))]


def primary_metrics() -> list[str]:
    """Return the names of the metrics that say in one word how good an answer is."""
    return [name for name, info in METRICS.items() if info.is_primary]
