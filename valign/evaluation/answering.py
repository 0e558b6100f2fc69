"""An arm answers: base or fine-tuned, with or without passages of the document in its prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from valign.core.records import Answer, Message, Passage, Question
from valign.distributed.ranks import Ranks
from valign.documents.clauses import labelled
from valign.generation.requests import Completion, Request, Sampling
from valign.teachers.cache import CachedTeacher, request_key
from valign.teachers.protocol import Teacher

RAG_PROMPT = "Rules:\n{rules}\n\nQuestion: {question}\nAnswer by these rules."


def conversation(question: str, passages: Sequence[Passage] = (), system: str | None = None) -> tuple[Message, ...]:
    """Return the turns in which an arm is asked.

    Args:
        question: What it is asked.
        passages: What it is shown of the document; nothing for an arm that answers from memory.
        system: System prompt.
    """
    lead: list[Message] = [{"role": "system", "content": system}] if system else []
    text = question
    if passages:
        rules = "\n".join(f"- {labelled(passage)}" for passage in passages)
        text = RAG_PROMPT.format(rules=rules, question=question)  # braces in a passage stay text
    return (*lead, {"role": "user", "content": text})


def answer_questions(
    generator: Teacher,
    questions: Sequence[Question],
    retrieved: Sequence[Sequence[Passage]],
    *,
    arm: str,
    cache: Path,
    max_new_tokens: int,
    system: str | None = None,
    turns: Callable[[Sequence[Message]], Sequence[Message]] = tuple,
    ranks: Ranks | None = None,
) -> list[Answer]:
    """Let an arm answer, greedily; answers are cached as they come, so that a killed run loses one batch at most.

    Args:
        generator: The arm's model, in this process or on a server.
        questions: What it is asked.
        retrieved: For each question the passages in its prompt; empty lists for none.
        arm: Name of the arm, for the answers.
        cache: File of the cache.
        max_new_tokens: Longest answer.
        system: System prompt.
        turns: Turns a conversation into what the model's chat template takes.
        ranks: The run's processes, all of which call this.

    Returns:
        N answers in the order of the questions; nothing in processes other than the first.
    """
    sampling = Sampling(max_new_tokens=max_new_tokens)
    requests = [
        Request(tuple(turns(conversation(q.question, passages, system))), sampling)
        for q, passages in zip(questions, retrieved, strict=True)
    ]
    completions = complete_requests(generator, requests, cache, f"{arm} answers", ranks or Ranks())
    return [
        Answer(
            q.question_id,
            q.clause,
            q.question,
            q.reference,
            found[0].text,
            arm,
            q.facts,
            q.verdict,
            q.kind,
            tuple(p.clause for p in passages),
            found[0].tokens,
            found[0].finished,
            q.original,
        )
        for q, passages, found in zip(questions, retrieved, completions, strict=False)
    ]


def complete_requests(
    generator: Teacher, requests: Sequence[Request], cache: Path, label: str, ranks: Ranks
) -> list[list[Completion]]:
    """Complete requests, with the batches of a single process divided over the run's processes.

    In each round every process completes one batch, and the first one caches them all.

    Args:
        generator: The model.
        requests: What it is asked.
        cache: File of the cache, which the first process writes.
        label: For the progress bar.
        ranks: The run's processes, all of which call this.

    Returns:
        The completions of each request, in order; nothing in processes other than the first.
    """
    if ranks.world_size == 1:
        return CachedTeacher(generator, cache).complete_all(requests, label)
    unique = list({request_key(generator.id, request): request for request in requests}.values())
    batches = generator.batches(unique)
    cached = CachedTeacher(generator, cache) if ranks.is_first else None
    todo = ranks.broadcast(lambda: [i for i, batch in enumerate(batches) if cached and cached.lacks(unique, batch)])
    for start in range(0, len(todo), ranks.world_size):
        own = [unique[i] for batch in todo[start:][ranks.rank : ranks.rank + 1] for i in batches[batch]]
        parts = ranks.gather([[asdict(c) for c in row] for row in generator.complete(own)] if own else [])
        for batch, rows in zip(todo[start:], parts, strict=False):
            if cached is not None:
                cached.put([unique[i] for i in batches[batch]], [[Completion(**c) for c in row] for row in rows])
    return cached.complete_all(requests, label) if cached is not None else []
