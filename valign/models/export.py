"""Weights of a run for other programs: the merged model, or its adapters as one."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.core.files import write_text
from valign.core.folders import new_folder
from valign.models.adapters import ADAPTER_CONFIG, read_adapter_config, save_model
from valign.models.lora_folder import write_lora
from valign.models.policy import load_merged
from valign.models.template_traits import end_tokens
from valign.models.terms import TERMS, terms_files

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

MODEL_CARD = "README.md"
SENTENCEPIECE = re.compile(r"tokenizer\.model(?:\.v\d+)?")


def write_model(
    output: Path,
    base: Path | str,
    weights: Sequence[Path],
    precision: str | torch.dtype,
    card: str = "",
    **options: Any,
) -> float | None:
    """Write a model with what its stages trained merged in, and its tokenizer, in Hugging Face format.

    Its generation settings are greedy decoding up to any of the end tokens, as the arms answer. The base model's terms
    and its SentencePiece model, where it has them, are copied.

    Args:
        output: The folder; empty or not there.
        base: The base model, as ``valign.models.load.load_merged`` takes it.
        weights: What each stage has left, in order.
        precision: Of the weights: ``auto``, ``float32`` or ``bfloat16``, or the dtype itself.
        card: The model card; nothing for none.
        **options: Other keyword arguments of ``load_merged``.

    Returns:
        Which share of what was trained is left in the weights after rounding; None where that is not known.

    Raises:
        ValignError: The folder is not empty or cannot be written, or the model cannot be loaded.
    """
    from transformers import GenerationConfig

    with new_folder(output) as folder:
        model, tokenizer, share = load_merged(base, weights, precision, **options)
        ends = end_tokens(model, tokenizer)
        ids = {"eos_token_id": ends if len(ends) > 1 else ends[0], "pad_token_id": tokenizer.pad_token_id}
        model.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, **ids)
        save_model(model, folder)
        tokenizer.save_pretrained(folder)
        _copy_files(base, folder, [TERMS, SENTENCEPIECE])
        if card:
            write_text(folder / MODEL_CARD, card)
    return share


def write_adapter(output: Path, base: str, weights: Sequence[Path], card: str = "") -> int:
    """Write what the stages trained as one LoRA adapter for the base model, and return its rank.

    Adapters of several stages become one: the sum of the updates s_i B_i A_i is [s_1 B_1, s_2 B_2] [A_1; A_2], where
    s_i is alpha / rank. The base is not loaded.

    Args:
        output: The folder; empty or not there.
        base: Hub id or folder of the base model. The adapter's config notes the id, or the folder's name without its
            path; the model's terms are copied.
        weights: What each stage has left, in order.
        card: The model card; nothing for none.

    Raises:
        ValignError: There is no adapter, a stage trained every weight, several trained experts of a mixture, or the
            folder is not empty or not writable.
    """
    if not weights:
        raise ValignError("arm=base has no adapter; serve the base model itself, or use what=model.")
    whole = [folder for folder in weights if not (folder / ADAPTER_CONFIG).is_file()]
    if whole:
        raise ValignError(f"{whole[0]} has every weight trained and no adapter; use what=model.")
    configs = [read_adapter_config(folder) for folder in weights]
    if len(weights) > 1 and any(config.get("target_parameters") for config in configs):
        raise ValignError(
            "the adapters of several stages of a mixture of experts do not become one; use what=model, or export the "
            "adapter of the first stage alone."
        )
    noted = Path(base).resolve().name if Path(base).expanduser().is_dir() else base
    with new_folder(output) as folder:
        rank = write_lora(folder, weights, {"base_model_name_or_path": noted})
        _copy_files(base, folder, [TERMS])
        if card:
            write_text(folder / MODEL_CARD, card)
    return rank


def _copy_files(base: Path | str, folder: Path, names: Sequence[re.Pattern[str]]) -> None:
    """Copy files of a model by their names; warn where a model of the hub has none that can be fetched."""
    source, is_folder = Path(base).expanduser(), Path(base).expanduser().is_dir()
    if not is_folder:
        source = fetch_terms(str(base)) or source
    files = [file for file in source.iterdir() if file.is_file()] if source.is_dir() else []
    files += [file for file in terms_files(source) if file not in files]
    copied = [file for file in files if any(name.fullmatch(file.name) for name in names)]
    for file in copied:
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    if not is_folder and not any(TERMS.fullmatch(file.name) for file in copied):
        log.warning("the licence of %s is not in the export; add the model's terms before you pass it on", base)


def fetch_terms(base: str) -> Path | None:
    """Return a folder with a hub model's card, terms and SentencePiece model; None where the hub cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    wanted = ["LICEN[CS]E*", "licen[cs]e*", "NOTICE*", "COPYING*", "USE_POLICY*", "README.md", "tokenizer.model*"]
    try:
        return Path(snapshot_download(base, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None
