"""The checks name the key, its value and the remedy."""

from __future__ import annotations

import copy
import re

import pytest
from entry_point import ROOT, Compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from valign.config import checks
from valign.core.errors import ValignError

COMPOSED: dict[tuple[str, ...], DictConfig] = {}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["document.path=nowhere.txt"], r"document\.path=nowhere\.txt does not exist; check the path"),
        ([f"runs={__file__}"], r"runs=.*test_checks\.py is a file, not a folder"),
        ([f"artifacts={__file__}"], r"artifacts=.*test_checks\.py is a file, not a folder"),
        (
            [f"document.path={ROOT / 'valign/documents/data/conduct.md'}"],
            r"conduct\.md is not the shipped udhr, .*; add document=file",
        ),
        (["document.path=/"], r"document\.path=/ is a folder; give the path of the file"),
        ([f"document.path={__file__}"], r"'\.py' files are not supported; give one of: \.txt, \.md"),
        (["document.name=magna-carta"], r"document\.name=magna-carta needs document\.path=FILE"),
        (["evaluation.questions=nowhere.jsonl"], r"evaluation\.questions=nowhere\.jsonl does not exist"),
        (["evaluation.probes=nowhere.jsonl"], r"evaluation\.probes=nowhere\.jsonl does not exist"),
        (
            ["evaluation.policy_probes.questions=nowhere.jsonl"],
            r"evaluation\.policy_probes\.questions=nowhere\.jsonl does not exist",
        ),
        (["evaluation.policy_probes.kinds=[alowed]"], r"kinds=alowed is unknown \(did you mean 'allowed'"),
        (["evaluation.policy_probes.max_clauses=0"], r"max_clauses=0 is out of range"),
        (
            [f"synthesis.preferences.rejected.{kind}=0" for kind in ("edit", "clause", "base")],
            r"synthesis\.preferences\.rejected: every share is 0",
        ),
        (["synthesis.preferences.rejected.edit=-1"], r"synthesis\.preferences\.rejected\.edit=-1\.0 is out of range"),
        (
            ["synthesis.filters.faithfulness=nli"],
            r"faithfulness=nli needs a model: add synthesis\.filters\.faithfulness_model=FOLDER",
        ),
        (["recipe.stages=[dpo,sft]"], r"recipe\.stages.*in this order: \[sft, dpo\]"),
        (["recipe.stages=[sft,sft]"], r"recipe\.stages.*each stage once"),
        (["recipe.stages=[stf]"], r"recipe\.stages=stf is unknown \(did you mean 'sft'\?\)"),
        (["teacher=api", "teacher.model=m", "teacher.base_urls=[]"], r"add teacher\.base_urls="),
        (["teacher=api", "teacher.model=m", "teacher.base_urls=['localhost:8000']"], r"is not a URL"),
        (
            ["teacher=api", "teacher.model=m", "teacher.base_urls=['http://h:99999/v1']"],
            r"'http://h:99999/v1' is not a URL",
        ),
        (
            ["teacher=api", "teacher.model=m", "teacher.base_urls=['http://u:pw@[::1/v1']"],
            r"'\[::1/v1' is not a URL",
        ),
        (["teacher=api", "teacher.model=m", "teacher.base_urls=['http://a b/v1']"], r"'http://a b/v1' is not a URL"),
        (
            ["teacher=api", "teacher.model=m", "teacher.base_urls=['http://me:pw@h:8/v1/chat/completions']"],
            r"^teacher\.base_urls: 'http://h:8/v1/chat/completions' names a call; end it before that, like http://loc",
        ),
        (
            ["evaluation.server.base_urls=['http://h/v1/completions/?a=b']"],
            r"^evaluation\.server\.base_.* names a call",
        ),
        (
            [
                "evaluation=judge_api",
                "evaluation.judge_model.model=m",
                "evaluation.judge_model.base_urls=['https://h/v1','https://h/chat/completions#x']",
            ],
            r"^evaluation\.judge_model\.base_urls: 'https://h/chat/completions' names a call",
        ),
        (["teacher.kind=replay"], r"teacher\.recording is missing: add teacher\.recording="),
        (["teacher=replay", "teacher.recording=nowhere.jsonl"], r"teacher\.recording=nowhere\.jsonl does not exist"),
        (["base_model.model=./nowhere"], r"base_model\.model=\./nowhere does not exist"),
        (["base_model.model=embedded:smollm"], r"did you mean 'embedded:smollm2-135m'"),
        (["sft.epochs=0"], r"sft\.epochs=0\.0 is out of range: give a value above 0"),
        (["sft.learning_rate=nan"], r"sft\.learning_rate=nan is out of range"),
        (["adapter.rank=0"], r"adapter\.rank=0 is out of range"),
        (["dpo.beta=-1"], r"dpo\.beta=-1\.0 is out of range"),
        (["dpo.label_smoothing=0.5"], r"dpo\.label_smoothing=0\.5 is out of range: give a value below 0\.5"),
        (["dpo.loss=hinged"], r"dpo\.loss=hinged is unknown \(did you mean 'hinge'\?\)"),
        (["dpo.loss=simpo"], r"dpo\.loss=simpo needs its margin: add dpo\.simpo_gamma=0\.5"),
        (["dpo.loss=ipo", "dpo.label_smoothing=0.1"], r"dpo\.loss=ipo has no label smoothing"),
        (["retrieval.kind=embeding"], r"retrieval\.kind=embeding is unknown \(did you mean 'embedding'\?\)"),
        (["evaluation.metrics=[]"], r"evaluation\.metrics=\[\] shows nothing; write for example"),
        (["evaluation.metrics=[rouge]"], r"evaluation\.metrics=rouge is unknown \(did you mean 'rouge_l'\?\)"),
        (["evaluation.judge=api"], r"evaluation\.judge=api needs its model: choose evaluation=judge_api and add"),
        (["evaluation.judge=referee"], r"evaluation\.judge=referee is unknown \(did you mean 'reference'\?\)"),
        (["evaluation=judge_api"], r"evaluation\.judge_model\.model is missing: add evaluation\.judge_model\.model="),
        (
            ["evaluation=judge_api", "evaluation.judge_model.model=m", "evaluation.judge_model.base_urls=[]"],
            r"add evaluation\.judge_model\.base_urls=",
        ),
        (
            ["evaluation=policy_api"],
            r"policy_judge\.model is missing: add evaluation\.policy_judge\.model=",
        ),
        (
            ["evaluation=policy_api", "evaluation.policy_judge.model=m", "evaluation.policy_judge.base_urls=[]"],
            r"add evaluation\.policy_judge\.base_urls=",
        ),
        (
            ["+teacher@evaluation.policy_judge=none"],
            r"policy_judge\.kind=none judges nothing: leave evaluation\.policy_",
        ),
        (["+teacher@evaluation.policy_judge=replay"], r"evaluation\.policy_judge\.recording is missing"),
        (
            ["evaluation=policy_local", "evaluation.policy_judge.model=./no"],
            r"policy_judge\.model=\./no does not exist",
        ),
        (["recipe.retriever=bm25"], r"recipe\.retriever=bm25 shows passages: add recipe\.retrieval=true"),
        (["recipe=rag", "recipe.retriever=oracel"], r"recipe\.retriever=oracel is unknown \(did you mean 'oracle'\?\)"),
        (["trainer=gpu", "trainer.devices=0"], r"trainer\.devices=0 is out of range: give a value of at least 1"),
        (["trainer.strategy=deepspeed"], r"choose trainer=deepspeed_zero2"),
        (["trainer.attention=flash"], r"trainer\.attention=flash is unknown"),
        (["trainer.attention=flash_attention_2"], r"attention=flash_attention_2 needs a GPU: choose trainer=gpu"),
        (["trainer.kernels=liger"], r"trainer\.kernels=liger needs a GPU: choose trainer=gpu"),
        (["base_model.quantization=nf4"], r"quantization=nf4 needs a GPU to train on: choose trainer=gpu"),
        (["base_model.quantization=nf4", "trainer=gpu", "adapter.kind=none"], r"nf4 trains an adapter.*kind=lora"),
        (["base_model.quantization=nf4", "trainer=deepspeed_zero3"], r"does not go with DeepSpeed.*trainer=ddp"),
        (["base_model.quantization=int4", "trainer=gpu"], r"base_model\.quantization=int4 is unknown"),
        (["+sft.epoch=3"], r"unknown key 'sft\.epoch' \(did you mean 'sft\.epochs'\?\)"),
        (["~dpo"], r"dpo was removed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_check_names_the_key_and_the_remedy(overrides: list[str], message: str, compose_config: Compose) -> None:
    """Values are set in a copy of one composed config, as composing takes long; what is no dotted key composes anew."""
    composing = tuple(o for o in overrides if not re.match(r"[a-z_]+\.[a-z_.]+=", o))
    if composing not in COMPOSED:
        COMPOSED[composing] = compose_config(*composing)
    cfg = copy.deepcopy(COMPOSED[composing])
    for override in OverridesParser.create().parse_overrides([o for o in overrides if o not in composing]):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    with pytest.raises(ValignError, match=message):
        checks.check_config(cfg)


def test_options_for_a_gpu_compose(compose_config: Compose) -> None:
    """Adapters on 4 bits on one GPU or several, with fused kernels; the base model alone is answered on a CPU too."""
    quantized = "base_model.quantization=nf4"
    checks.check_config(compose_config(quantized, "trainer=gpu", "trainer.kernels=liger", "trainer.padding_free=true"))
    checks.check_config(compose_config(quantized, "trainer=gpu", "trainer.devices=4", "trainer.strategy=ddp"))
    checks.check_config(compose_config(quantized, "recipe=base"))


def test_questions_of_a_shipped_document_do_not_go_with_a_file(
    compose_config: Compose, own_files: dict[str, list[str]]
) -> None:
    with pytest.raises(ValignError, match=r"add document=file, and document\.questions=FILE\.jsonl"):
        checks.check_config(compose_config(*own_files["document/file"]))
