"""What evaluation can be told: questions, metrics, judges, probes, alignment tax, and what computes the answers."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import group, setting
from valign.evaluation.metrics import METRICS
from valign.evaluation.probes.kinds import POLICY_KINDS
from valign.serving.settings import VllmSettings
from valign.teachers.settings import TeacherSettings

REFERENCE_JUDGE = "reference"
JUDGES = (REFERENCE_JUDGE, "local", "vllm", "api", "batch")
ENGINES = ("local", "vllm")
LIKELIHOODS = ("none", "local")


@dataclass(frozen=True, kw_only=True)
class ServedModels:
    """Names on the server of the base model and of what was trained; None for what is not served.

    Attributes:
        base: Of the base model.
        sft: Of base and SFT.
        dpo: Of base and DPO.
        sft_dpo: Of base, SFT and DPO.
    """

    base: str | None = None
    sft: str | None = None
    dpo: str | None = None
    sft_dpo: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """An OpenAI-compatible server through which the arms answer.

    Attributes:
        base_urls: Addresses up to and including ``/v1`` of servers that share the calls; none for no server.
        models: What is served, and under which names.
        likelihoods: ``local`` where the metrics that need the model itself are measured in this process, or ``none``.
        api_key_env: Name of the environment variable with the key.
        concurrency: Calls under way at once, over all servers.
        timeout: Seconds that a call may take, from sending to the whole reply.
        max_retries: Further tries of a failed call, each after a longer wait.
        thinking_tokens: Most tokens that a call gets on top, for a model that thinks before it answers.
    """

    base_urls: tuple[str, ...] = ()
    models: ServedModels = group(ServedModels)
    likelihoods: str = setting("none", choices=LIKELIHOODS)
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = setting(64, above=0)
    timeout: float = setting(120.0, above=0)
    max_retries: int = setting(8, at_least=0)
    thinking_tokens: int = setting(4096, at_least=0)


@dataclass(frozen=True, kw_only=True)
class TaxSettings:
    """The check of general ability and its limits; by default nothing is measured.

    Attributes:
        measure: Whether likelihood of general text, everyday instructions and drift from the base are measured.
        max_new_tokens: Longest answer to an everyday instruction, in tokens.
        max_nll_increase: Limit of the rise in negative log-likelihood of general text, in nats per token.
        max_accuracy_drop: Limit of the drop in the share of everyday instructions that are done right, from 0 to 1.
    """

    measure: bool = False
    max_new_tokens: int = setting(24, above=0)
    max_nll_increase: float = setting(0.1, at_least=0)
    max_accuracy_drop: float = setting(0.1, at_least=0, at_most=1)


@dataclass(frozen=True, kw_only=True)
class PolicyProbeSettings:
    """Probes of the document's own rules: what is allowed, what is denied, and where that ends.

    Attributes:
        questions: ``made`` from the document, ``shipped`` with it, or a file of probes (``.jsonl``); None for none.
        kinds: Kinds that are made, or asked of those that are given.
        max_clauses: Clauses about which probes are made, spread over the document; None for all.
    """

    questions: str | None = None
    kinds: tuple[str, ...] = setting(POLICY_KINDS, choices=POLICY_KINDS)
    max_clauses: int | None = setting(None, above=0)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What the arms are asked, and how their answers are measured.

    Attributes:
        questions: File of other questions (``.jsonl``) than the document's.
        max_new_tokens: Longest answer, in tokens.
        batch_tokens: Most padded tokens in a batch; None for as many as a GPU's free memory holds.
        bootstrap: Bootstrap samples behind each interval.
        judge: Who judges pairs of answers; None for nobody.
        judge_tie: Largest difference in cosine that the judge ``reference`` calls a tie.
        judge_model: The model of the judges ``local``, ``vllm``, ``api`` and ``batch``.
        policy_judge: The model that says of each answer whether it follows its clause; None for nobody.
        probes: ``shipped``, or a file of probes (``.jsonl``); None for none.
        policy_probes: Probes of the document's own rules.
        tax: The check of general ability.
        metrics: Names of the metrics that are scored and shown.
        engine: What computes the arms' answers and likelihoods: this process, or a vLLM that it starts.
        vllm: How vLLM is started.
        server: Through which the arms answer, where that is one of the user's.
    """

    questions: str | None = None
    max_new_tokens: int = setting(above=0)
    batch_tokens: int | None = setting(above=0)
    bootstrap: int = setting(at_least=100)
    judge: str | None = setting(None, choices=JUDGES)
    judge_tie: float = setting(0.02, at_least=0, at_most=2)
    judge_model: TeacherSettings | None = None
    policy_judge: TeacherSettings | None = None
    probes: str | None = None
    policy_probes: PolicyProbeSettings = group(PolicyProbeSettings)
    tax: TaxSettings = group(TaxSettings)
    metrics: tuple[str, ...] = setting(tuple(METRICS), choices=tuple(METRICS))
    engine: str = setting("local", choices=ENGINES)
    vllm: VllmSettings = group(VllmSettings)
    server: ServerSettings = group(ServerSettings)
