"""What all tests share: no network, no threads to fight over, and configs composed as the entry points do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from absl import logging as absl_logging
from entry_point import own_files, run_cli  # noqa: F401  (fixtures of the tests of the config)
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from valign.cli import main
from valign.config import run_identity
from valign.config.arguments import plain
from valign.core.settings import make_settings
from valign.synthesis.settings import SynthesisSettings

os.environ.update(HF_HUB_OFFLINE="1", MPLBACKEND="Agg", TOKENIZERS_PARALLELISM="false", WANDB_MODE="offline")

# Of rouge-score's logger: Hydra closes all handlers, and this one then closes the stream that it had found when it was
# imported, which within a test is pytest's own.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture
def compose_config() -> Iterator[Callable[..., DictConfig]]:
    """A function that composes ``conf/config.yaml`` (or another file of ``conf/``) with overrides."""
    run_identity.register_config()
    GlobalHydra.instance().clear()

    def composed(*overrides: str, name: str = "config") -> DictConfig:
        return compose(name, list(overrides))

    with initialize_config_dir(str(main.config_folder()), version_base="1.3"):
        yield composed


@pytest.fixture(scope="session")
def settings() -> SynthesisSettings:
    """What the configuration asks of the synthesis by default."""
    run_identity.register_config()
    with initialize_config_dir(str(main.config_folder()), version_base="1.3"):
        return make_settings(SynthesisSettings, plain(compose("config").synthesis))


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model with random weights; nobody writes there."""
    from valign.models.load import prepare_model

    found = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(found, Path)
    return found
