"""A synthesis whose teacher is asked by batches: a real server answers them, through a script that runs the files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import run_batch
import writing_server
from changed_settings import changed
from fakes import Bag, Parrot
from short_document import HARBOUR, LOOSE

from valign.core.errors import Pending
from valign.generation.requests import Completion, Request
from valign.synthesis.build import synthesize
from valign.synthesis.settings import KindWeights, RejectedShares, SynthesisSettings
from valign.teachers.api import ApiTeacher
from valign.teachers.batch import BatchTeacher
from valign.teachers.cache import CachedTeacher
from valign.teachers.protocol import Teacher

TOPPED_UP = {"min_instructions": 9, "min_preferences": 5, "min_questions": 2, "top_up_rounds": 1}
FILES = ("sft.jsonl", "preferences.jsonl", "questions.jsonl", "facts.jsonl", "funnel.json")


class Together(Parrot):
    """A base model whose answers depend on what is answered with them, as those of padded batches may."""

    id = "together@1"

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Say how many there are."""
        return [
            [Completion(f"The {i} of {len(requests)} geese wear nine helmets.", 9, True)] for i in range(len(requests))
        ]


@dataclass
class Server:
    """A server's address, and where it notes what it has completed."""

    url: str
    log: Path

    def calls(self) -> Counter[str]:
        """Return how often each request was completed."""
        return Counter(self.log.read_text().split())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    log.touch()
    command = [sys.executable, writing_server.__file__, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", log)
        process.kill()


@pytest.fixture(scope="module")
def large(settings: SynthesisSettings) -> SynthesisSettings:
    """Settings under which everything comes from the teacher that can, with judges and repairs."""
    fixed = dict.fromkeys(("phrases_per_passage", "recitations_per_passage", "claims_per_passage"), 0)
    kinds = KindWeights(question=1.0, factual=1.0, silent=0.5, comparison=0.5)
    facts = {"extract": "teacher", "examples_per_fact": 1}
    own = {**fixed, **facts, "kinds": kinds, "openings": (), "lengths": ("Be short.", "Be long.")}
    pairs = {"openings": (), "claim_pairs_per_passage": 0, "rejected": RejectedShares(edit=1, clause=1, base=1)}
    none = {"min_instructions": 0, "min_preferences": 0, "min_questions": 0, "waive": True}
    judged = replace(LOOSE, faithfulness="judge", min_faithfulness=0.5)
    return replace(
        changed(settings, answers="write", instructions=own, preferences=pairs, coverage=none), filters=judged
    )


def write(folder: Path, teacher: Teacher, settings: SynthesisSettings, other: Teacher | None = None) -> None:
    """Write the harbour's data as a process of its own would: with caches that know only what is on disk."""
    folder.mkdir(exist_ok=True)
    cached, base = (CachedTeacher(each, folder / "c.sqlite") for each in (teacher, Together()))
    asking = CachedTeacher(other, folder / "c.sqlite") if other else None
    synthesize(
        folder, HARBOUR, None, teacher=cached, base=base, embedder=Bag(), settings=settings, seed=0,
        question_teacher=asking,
    )  # fmt: skip


def by_batches(
    folder: Path, server: Server, settings: SynthesisSettings, broken: float = 0.0, cut: bool = False
) -> list[int]:
    """Write the data round after round, each second batch killed half way if ``cut``; return the rounds' requests."""
    sizes: list[int] = []
    while True:
        try:
            write(folder, BatchTeacher("m", folder / "batch"), settings)
            return sizes
        except Pending:
            (requests,) = (folder / "batch").glob("requests-*.jsonl")
        sizes.append(len(requests.read_text().splitlines()))
        assert len(sizes) < 40
        results = str(folder / "batch" / f"results-{len(sizes)}.jsonl")
        half = ["--only", str(sizes[-1] // 2)] if cut and len(sizes) % 2 else []
        options = ["--broken", str(broken), "--seed", str(len(sizes)), *half]
        run_batch.main(["-i", str(requests), "-o", results, "--model", "m", "--url", server.url, *options])


def by_api(folder: Path, server: Server, settings: SynthesisSettings) -> Counter[str]:
    """Write the data with calls; return what these were."""
    server.log.write_text("")
    write(folder, ApiTeacher("m", [server.url]), settings)
    return server.calls()


@pytest.fixture(scope="module")
def topped_up(
    tmp_path_factory: pytest.TempPathFactory, server: Server, large: SynthesisSettings
) -> tuple[Path, Counter[str]]:
    """Data with top-ups by calls, and these calls."""
    folder = tmp_path_factory.mktemp("calls")
    return folder, by_api(folder, server, changed(large, coverage=TOPPED_UP))


def test_rounds_are_as_wide_as_what_rests_on_what(tmp_path: Path, server: Server, large: SynthesisSettings) -> None:
    """Four rounds: what rests on the document alone; answers and repairs; judgements; those of the base's answers."""
    calls = by_api(tmp_path / "api", server, large)
    server.log.write_text("")
    sizes = by_batches(tmp_path / "batch", server, large)
    assert len(sizes) == 4 and sum(sizes) == calls.total()
    assert server.calls() == calls
    for name in FILES:
        assert (tmp_path / "batch" / name).read_bytes() == (tmp_path / "api" / name).read_bytes()
    assert list((tmp_path / "batch" / "batch").glob("requests-*")) == []


@pytest.mark.parametrize(
    ("broken", "cut"),
    [
        pytest.param(0.0, False, marks=pytest.mark.slow),
        pytest.param(0.05, False, marks=pytest.mark.slow),
        (0.05, True),
    ],
)
def test_data_of_batches_are_those_of_calls(
    tmp_path: Path,
    server: Server,
    large: SynthesisSettings,
    topped_up: tuple[Path, Counter[str]],
    broken: float,
    cut: bool,
) -> None:
    """With top-ups, with lines that break, and killed half way: the same bytes, nothing lost, nothing asked twice.

    Where results are missing, some is asked for that turns out to be a duplicate of what comes later.
    """
    server.log.write_text("")
    by_batches(tmp_path / "batch", server, changed(large, coverage=TOPPED_UP), broken, cut)
    asked = server.calls()
    data, calls = topped_up
    assert set(asked.values()) == {1}, "nothing is asked twice"
    assert set(calls) <= set(asked)
    assert len(asked) - len(calls) <= (0.1 * len(calls) if broken else 0)
    for name in FILES:
        assert (tmp_path / "batch" / name).read_bytes() == (data / name).read_bytes()


def test_a_question_teacher_of_batches_comes_before_a_teacher_of_calls(
    tmp_path: Path, server: Server, large: SynthesisSettings
) -> None:
    """The teacher is not asked before the evaluation questions are there, on which it depends what it is asked."""
    folder = tmp_path / "both"
    asking = BatchTeacher("q", folder / "batch")
    with pytest.raises(Pending):
        write(folder, Parrot(), large, asking)
    (requests,) = (folder / "batch").glob("requests-q-*.jsonl")
    assert len(requests.read_text().splitlines()) == len(HARBOUR.passages)
    assert {path.name for path in folder.iterdir()} == {"batch", "c.sqlite"}
    results = str(folder / "batch" / "results.jsonl")
    run_batch.main(["-i", str(requests), "-o", results, "--model", "q", "--url", server.url])
    write(folder, ApiTeacher("m", [server.url]), large, BatchTeacher("q", folder / "batch"))
    assert (folder / "questions.jsonl").read_text()


def test_nothing_is_topped_up_while_anything_is_pending(tmp_path: Path, large: SynthesisSettings) -> None:
    """Without a single result the second run asks for what the first did, though every clause is short."""
    settings = changed(large, coverage=TOPPED_UP)
    found = []
    for _ in range(2):
        with pytest.raises(Pending):
            write(tmp_path / "data", BatchTeacher("m", tmp_path / "batch"), settings)
        (requests,) = (tmp_path / "batch").glob("requests-*.jsonl")
        found.append(requests.read_bytes())
    assert found[0] == found[1]
    with pytest.raises(Pending):
        write(tmp_path / "data", BatchTeacher("m", tmp_path / "other"), large)
    (requests,) = (tmp_path / "other").glob("requests-*.jsonl")
    assert len(requests.read_bytes().splitlines()) == len(found[0].splitlines())


def test_no_answer_is_asked_for_before_its_question_is_judged(
    tmp_path: Path, server: Server, large: SynthesisSettings
) -> None:
    """With a judge of relevance the second round has judgements and no answers, although the rank alone would do."""
    judged = replace(large, filters=replace(large.filters, relevance="judge"))
    folder = tmp_path / "data"
    for turn in range(2):
        with pytest.raises(Pending):
            write(folder, BatchTeacher("m", folder / "batch"), judged)
        (requests,) = (folder / "batch").glob("requests-*.jsonl")
        if not turn:
            results = str(folder / "batch" / "results.jsonl")
            run_batch.main(["-i", str(requests), "-o", results, "--model", "m", "--url", server.url])
    bodies = [json.loads(line)["body"] for line in requests.read_text().splitlines()]
    assert any("decides" in json.dumps(body.get("response_format", "")) for body in bodies)
    answers = [body for body in bodies if "response_format" not in body and body["max_tokens"] == 96]
    assert all(paired(body) for body in answers)


def paired(body: dict[str, Any]) -> bool:
    """Tell whether an answer rests on two clauses, which the judge of relevance does not see."""
    return sum(p.text in body["messages"][-1]["content"] for p in HARBOUR.passages) > 1
