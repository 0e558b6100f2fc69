"""Is the judge of the same family as the model that wrote the training data? Then it may prefer its own manner."""

from __future__ import annotations

import re

_FAMILIES = {
    "openai": ("gpt", "chatgpt", "o1", "o3", "o4", "davinci"),
    "anthropic": ("claude",),
    "google": ("gemini", "gemma", "palm"),
    "meta": ("llama", "meta-llama", "codellama"),
    "mistral": ("mistral", "mixtral", "ministral", "codestral", "magistral", "mistralai"),
    "qwen": ("qwen", "qwq"),
    "deepseek": ("deepseek",),
    "microsoft": ("phi", "wizardlm"),
    "smollm": ("smollm",),
    "cohere": ("command", "c4ai"),
}


def model_family(model: str) -> str:
    """Return the family of a model by its name: a known maker's, else the name's first word.

    >>> [model_family(name) for name in ("mistralai/Mixtral-8x7B-v0.1", "embedded:smollm2-135m", "./own/Falcon-7b")]
    ['mistral', 'smollm', 'falcon']
    """
    name = re.split(r"[/:]", model.rstrip("/").lower())[-1]
    for known, beginnings in _FAMILIES.items():
        if any(re.match(rf"{beginning}(?![a-z])", name) for beginning in beginnings):
            return known
    return (re.findall(r"[a-z]+", name) or [name])[0]


def same_family_warning(judge: str, teacher: str) -> str:
    """Return a warning where judge and teacher are of one family, else an empty text.

    Args:
        judge: Name of the judge's model.
        teacher: Name of the model that wrote the training data.
    """
    family = model_family(judge)
    if family != model_family(teacher):
        return ""
    return (
        f"The judge {judge} and the teacher {teacher} are of one family ({family}): it may prefer answers in "
        "the teacher's manner, which the tuned arms have learned. Ask a judge of another family too."
    )
