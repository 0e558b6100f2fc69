"""What can be known of a server before it is paid: whether it has the model, and whether the prompts fit it."""

from __future__ import annotations

import asyncio
import difflib
import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.errors import ValignError
from valign.core.text import one_line
from valign.generation.requests import Request, Sampling
from valign.teachers.clients import Client
from valign.teachers.faults import Fault, is_connection_error
from valign.teachers.usage import estimate_prompt_tokens, plausible_count

TRIAL = Request(
    ({"role": "user", "content": "Is water wet? Answer with one word."},),
    Sampling(max_new_tokens=16, temperature=0.7, top_p=0.9),
)
LIST_SECONDS = 10.0
MOST_NAMES, NAMES_SHOWN = 1000, 8
CONTEXT_FIELDS = (
    "max_model_len",
    "loaded_context_length",
    "context_length",
    "context_window",
    "max_context_length",
    "n_ctx",
)
CERTAIN = 0.75  # of the estimate of a prompt's tokens, which is one for four characters


@dataclass(frozen=True)
class ModelList:
    """What a server says of its models.

    Attributes:
        names: Their names; empty where it does not say.
        contexts: The most tokens of prompt and completion, by name, where it says so.
    """

    names: tuple[str, ...] = ()
    contexts: Mapping[str, int] | None = None

    def has(self, model: str) -> bool:
        """Tell whether a model is there, or may be: where the server names none, or a pattern for it, it may."""
        spelt = _spelt(model)
        return not self.names or any(
            name in spelt or ("*" in name and fnmatch.fnmatchcase(model, name.replace("[", "[[]")))
            for name in self.names
        )

    def context(self, model: str) -> int | None:
        """Return the most tokens of a model's prompt and completion; None where that is not known."""
        return (
            next((self.contexts[name] for name in _spelt(model) if name in self.contexts), None)
            if self.contexts
            else None
        )

    def describe_lack(self, model: str) -> str:
        """Say that a model is not there, and what is, as part of a sentence."""
        near = difflib.get_close_matches(model, self.names, n=1, cutoff=0.6)
        hint = f" (did you mean '{one_line(near[0])}'?)" if near else ""
        shown = ", ".join(one_line(name)[:80] for name in self.names[:NAMES_SHOWN])
        more = f" and {len(self.names) - NAMES_SHOWN} more" if len(self.names) > NAMES_SHOWN else ""
        return f"has no model {model}{hint}; it lists: {shown}{more}"


def _spelt(model: str) -> tuple[str, str, str]:
    return model, f"{model}:latest", f"models/{model}"


async def list_models(client: Client) -> ModelList:
    """Ask a server for its models (``GET /models``); one that has no such list, or does not answer, names none."""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            content = await client.get("/models")
        return read_models(json.loads(content))
    except (Fault, ValueError, RecursionError):
        return ModelList()
    except Exception as error:
        if not is_connection_error(error):
            raise
        return ModelList()


def read_models(data: Any) -> ModelList:
    """Read a server's list of models.

    >>> read_models({"data": [{"id": "m", "max_model_len": 4096}]})
    ModelList(names=('m',), contexts={'m': 4096})
    """
    names: list[str] = []
    contexts: dict[str, int] = {}
    for item in _items(data):
        own = [item.get(key) for key in ("id", "name", "model")]
        aliases = item.get("aliases")
        own += aliases if isinstance(aliases, list) else []
        found = [name for name in own if isinstance(name, str) and name]
        names += found
        if context := _context(item):
            contexts.update(dict.fromkeys(found, context))
    return ModelList(tuple(dict.fromkeys(names)), contexts)


def _items(data: Any) -> Iterator[Mapping[str, Any]]:
    found = (data.get("data") or data.get("models")) if isinstance(data, Mapping) else data
    for item in found[:MOST_NAMES] if isinstance(found, list) else []:
        if isinstance(item, str):
            yield {"id": item}
        elif isinstance(item, Mapping):
            yield item


def _context(item: Mapping[str, Any]) -> int | None:
    inner = [item[name] for name in ("meta", "top_provider") if isinstance(item.get(name), Mapping)]
    counts = (plausible_count(part.get(name)) for part in (item, *inner) for name in CONTEXT_FIELDS)
    return next((count for count in counts if count), None)


def check_fit(where: str, context: int | None, requests: Sequence[Request]) -> None:
    """Refuse requests that a context certainly does not hold.

    Args:
        where: The server and the model.
        context: The most tokens of prompt and completion; None where that is not known.
        requests: What is about to be asked.

    Raises:
        ValignError: One does not fit.
    """
    if context is None:
        return
    sizes = [(int(CERTAIN * estimate_prompt_tokens(r.messages)), r.sampling.max_new_tokens) for r in requests]
    large = [size for size in sizes if sum(size) > context]
    if large:
        prompt, completion = max(large, key=sum)
        raise ValignError(
            f"{where} has a context of {context:,} tokens, and {len(large)} of {len(requests)} prompts do not fit: the "
            f"longest takes about {prompt:,} and may be answered with {completion:,}; serve the model with a longer "
            "context, or ask for less in a call (shorter passages, synthesis.items_per_call, "
            "synthesis.sampling.max_new_tokens)."
        )
