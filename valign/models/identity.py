"""What identifies a model: its name and its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

DIGEST = "weights.sha256"


def model_id(model: str, path: Path | str) -> str:
    """Return the model's name with its weights' version: ``name@<12 hex digits of SHA-256>``; hub ids as they are."""
    if not isinstance(path, Path):
        return path
    name = model.removeprefix("embedded:") if model == "tiny" or model.startswith("embedded:") else path.resolve().name
    noted = path / DIGEST
    return f"{name}@{noted.read_text().strip() if noted.is_file() else weights_digest(path)}"


def weights_digest(folder: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of a folder's safetensors, in the order of their names."""
    sha = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                sha.update(block)
    return sha.hexdigest()[:12]
