"""BERTScore with the token embeddings of the sentence embedder, which comes with the package."""

from __future__ import annotations

from collections.abc import Sequence

from valign.retrieval.protocols import TokenEmbedder


def bertscore(embedder: TokenEmbedder, answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return the F-measure of the greedy matching of each answer's tokens with its reference's.

    Precision is the mean over the answer's tokens of the highest cosine with a token of the reference, recall the same
    the other way round; without weights by rarity and without rescaling. An empty answer gets 0.
    Source: Zhang et al., BERTScore, ICLR 2020, section 3.

    Args:
        embedder: Gives the tokens' rows.
        answers: N answers.
        references: Their N references.

    Returns:
        N values, from -1 to 1.
    """
    found = []
    rows = zip(embedder.embed_tokens(list(answers)), embedder.embed_tokens(list(references)), strict=True)
    for answer, reference in rows:
        if not len(answer) or not len(reference):
            found.append(0.0)
            continue
        cosines = answer @ reference.T
        precision, recall = float(cosines.max(axis=1).mean()), float(cosines.max(axis=0).mean())
        found.append(2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0)
    return found
