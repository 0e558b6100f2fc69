"""What a teacher can be told; judges of answers are told the same."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import group, setting
from valign.models.settings import PRECISIONS
from valign.serving.settings import VllmSettings

TEACHERS = ("local", "vllm", "replay", "api", "batch", "none")


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Which model writes or judges, and how it is asked.

    Attributes:
        kind: In this process, by a vLLM of this run, from a recording, behind an API, by files of requests and
            results, or none.
        model: ``embedded:``, hub id or folder of a local model; the model's name on a server; the id of a recording.
        precision: Of a local model's weights.
        batch_tokens: Most padded tokens in a batch of a local model; None for as many as a GPU's free memory holds.
        recording: File of recorded completions (``.jsonl``).
        base_urls: Addresses up to and including ``/v1`` of servers that share the calls.
        api_key_env: Name of the environment variable with the key.
        concurrency: Calls under way at once, over all servers.
        timeout: Seconds that a call may take, from sending to the whole reply.
        max_retries: Further tries of a failed call, each after a longer wait.
        thinking_tokens: Most tokens that a call gets on top, for a model that thinks before it answers.
        requests: Folder into which a batch teacher writes its files of requests.
        requests_per_file: Most requests in one file; a file that is not run to its end may bring nothing.
        results: File or folder of a batch's results; None for the folder of the requests.
        batch_discount: What a batch costs, as a share of the same calls one by one.
        price_in: Cost of a million prompt tokens; None where it is not known.
        price_out: Cost of a million completion tokens.
        max_cost: Stop before the calls cost more; needs both prices.
        max_tokens: Stop before the calls take more tokens, prompts included.
        vllm: How vLLM is started, for the kind ``vllm``.
        share: ``k/n`` for one of n processes that divide the calls and have one cache; None for all calls.
    """

    kind: str = setting(choices=TEACHERS)
    model: str = setting()
    precision: str = setting("auto", choices=PRECISIONS)
    batch_tokens: int | None = setting(8192, above=0)
    recording: str | None = None
    base_urls: tuple[str, ...] = ()
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = setting(64, above=0)
    timeout: float = setting(120.0, above=0)
    max_retries: int = setting(8, at_least=0)
    thinking_tokens: int = setting(4096, at_least=0)
    requests: str | None = None
    requests_per_file: int = setting(50_000, above=0, at_most=50_000)
    results: str | None = None
    batch_discount: float = setting(0.5, above=0, at_most=1)
    price_in: float | None = setting(None, at_least=0)
    price_out: float | None = setting(None, at_least=0)
    max_cost: float | None = setting(None, above=0)
    max_tokens: int | None = setting(None, above=0)
    vllm: VllmSettings = group(VllmSettings)
    share: str | None = None

    @property
    def calls_at_once(self) -> int:
        """Calls under way at once; those of a model in this process are counted as one."""
        return self.concurrency if self.kind in ("api", "vllm") else 1

    @property
    def paid_prices(self) -> tuple[float | None, float | None]:
        """The prices of a million prompt and completion tokens, a batch's discount taken off."""
        share = self.batch_discount if self.kind == "batch" else 1.0
        paid_in, paid_out = (None if price is None else price * share for price in (self.price_in, self.price_out))
        return paid_in, paid_out
