"""What the page's words and arms mean."""

from __future__ import annotations

from collections.abc import Iterable

from valign.reporting.comparison import ArmResult

ARM_NOTES = {
    "base": "The model as it came, which has not been shown the document.",
    "in_context": "The base model, shown the whole document before each question.",
    "rag": "The base model, shown passages of the document that were looked up for each question.",
    "rag_bm25": "The base model, shown the passages that have most of the question's words (BM25).",
    "rag_embedding": "The base model, shown the passages that are nearest to the question in meaning.",
    "rag_oracle": "The base model, shown the passages of the right clause: RAG that never misses.",
    "sft": "Fine-tuned on questions and faithful answers written from the document.",
    "dpo": "Tuned on pairs of a faithful and an unfaithful answer.",
    "sft_dpo": "Fine-tuned on answers first, then tuned on pairs of answers.",
    "sft_dpo_rag": "The SFT+DPO model, shown looked-up passages as well.",
}
GLOSSARY = (
    ("Arm", "One of the ways of answering that are compared, as in a clinical trial."),
    ("SFT", "Supervised fine-tuning: the model learns to give the answers of D_sft, the questions and answers."),
    ("DPO", "Direct preference optimization: of each pair in D_pref, it learns to prefer the faithful answer."),
    ("RAG", "Retrieval-augmented generation: passages that fit the question are put into the prompt."),
    (
        "NLL, nats",
        "Negative log-likelihood: how unexpected a text is. One nat more a token is 2.7 times less likely.",
    ),
    ("KL", "Kullback-Leibler divergence: how far two models' predictions of the next token are apart; 0 is alike."),
    ("p", "How often chance alone, with no true difference, would show one as large as this."),
    ("Holm", "A correction of p for the number of differences that were tested, by Holm's method."),
    (
        "AUC",
        "Area under the ROC curve: how often a rejected answer is told from a chosen one; 0.5 is guessing.",
    ),
    (
        "Complies, violates",
        "What a policy judge says of an answer: a model, shown the clause, that has to quote the words that decide.",
    ),
    ("Kappa", "Cohen's kappa: how far two raters agree beyond chance; 0 is chance, 1 is always, below 0 is worse."),
    ("Leak rate", "Share of the evaluation questions that repeat a run of words of a training question."),
)


def arm_notes(arms: Iterable[ArmResult]) -> list[tuple[str, str]]:
    """Return each known arm's name and what it is."""
    return [(result.label, ARM_NOTES[result.arm]) for result in arms if result.arm in ARM_NOTES]
