"""The stages of the method, each a folder in the artifact store; the entry points put them together."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from valign.config.arguments import limits_of, plain, settings_of, teacher_of
from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl, to_dict, write_jsonl
from valign.core.records import Answer, Instruction, Passage, Preference, Question
from valign.core.store import build_artifact, code_digest, digest, file_digest
from valign.documents.changes import compare_versions
from valign.documents.clauses import clause_text
from valign.documents.shipped import shipped_questions
from valign.evaluation.answer_server import AnswerServer
from valign.evaluation.answering import answer_questions
from valign.evaluation.context_check import check_room
from valign.evaluation.judging.model_family import kinship
from valign.evaluation.judging.model_judge import by_model, template
from valign.evaluation.leakage import overlap
from valign.evaluation.probes.items import probes
from valign.evaluation.questions import as_filtered, check_questions
from valign.evaluation.scores import question_values
from valign.evaluation.tax.items import everyday_tasks, general_texts
from valign.models.chat_template import as_template_takes
from valign.models.load import context_length, load_tokenizer
from valign.pipeline.context import CACHE
from valign.pipeline.data_stage import NOT_HASHED, REPLAY
from valign.pipeline.recipes import Arm
from valign.pipeline.training_stage import curves_by_step
from valign.pipeline.worker import ANSWERS, Process
from valign.retrieval.embedder import SentenceEmbedder
from valign.retrieval.search import SEARCHES, WHOLE_DOCUMENT, recall_at_k, select_passages
from valign.runs.layout import JUDGEMENTS
from valign.runs.tracking import ignore_lost_logger
from valign.synthesis.budget import Budget, DryTeacher, dry_pass
from valign.synthesis.build import TEMPLATES, synthesize
from valign.synthesis.dataset import FUNNEL, PREFERENCES, QUESTIONS, SFT, latest_source, write_source
from valign.synthesis.evaluation_questions import no_questions
from valign.synthesis.held_out_clauses import exposure
from valign.synthesis.replay import general_instructions, replay_rows
from valign.synthesis.templates import load_template
from valign.teachers.cache import CachedTeacher
from valign.teachers.completion_store import CompletionStore
from valign.teachers.local import LocalTeacher
from valign.teachers.protocol import Teacher

log = logging.getLogger(__name__)

SYNTHESIS = ("synthesis", "documents/clauses.py", "core/text.py")
TRAINING = ("training", "models", "distributed/devices.py")
ANSWERING = ("evaluation", "retrieval", "models", "generation", "documents/clauses.py", "core/text.py")


@dataclass
class Pipeline(Process):
    """The process that goes through the stages, decides and writes; the others do their part where it orders.

    Attributes:
        timings: Seconds that each stage took when it was built, from its manifest.
        hashes: Folder name of each stage's artifact.
        pinned: Folder names that a finished run noted: these artifacts are taken as they are and never built anew.
    """

    timings: dict[str, float] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    _replayed: set[Path] = field(default_factory=set)

    @cached_property
    def artifacts(self) -> Path:
        """The artifact store."""
        return Path(self.config.artifacts).expanduser()

    @cached_property
    def given_questions(self) -> list[Question] | None:
        """The evaluation questions that the config names; None where they are to be made."""
        where = self.config.evaluation.questions or self.config.document.questions
        if where is None:
            return None
        questions = (
            shipped_questions(self.document.name)
            if where == "shipped"
            else read_jsonl(Path(where).expanduser(), Question)
        )
        check_questions(questions, where, self.document)
        return questions

    @cached_property
    def probe_questions(self) -> list[Question]:
        """The questions of the probes that the config names; none where it names none."""
        where = OmegaConf.select(self.config, "evaluation.probes")
        return [q for probe in probes(where, self.document) for q in probe.questions] if where else []

    @cached_property
    def embedder(self) -> SentenceEmbedder:
        """The sentence embedder of filters, retrieval and metrics."""
        return SentenceEmbedder()

    def stage(self, name: str, config: dict[str, Any], inputs: dict[str, str], build: Any, key: str = "") -> Path:
        """Build or find an artifact and note its hash and time under ``key`` (the stage's name by default)."""
        if (key or name) in self.pinned:
            folder = self.artifacts / name / self.pinned[key or name]
            if not (folder / "manifest.json").is_file():
                raise ValignError(f"{folder} is not there; start from the folder that the run was started from.")
        else:
            say = log.debug if (key or name) in self.hashes else log.info  # told once in a run
            folder = build_artifact(self.artifacts, name, config, inputs, build, say=say)
        self.hashes[key or name] = folder.name
        self.timings[key or name] = float(read_json(folder / "manifest.json")["seconds"])
        return folder

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, not loaded and not asked yet."""
        return teacher_of(self.config.teacher, "teacher")

    @property
    def base_teaches(self) -> bool:
        """Whether the teacher is the base model itself."""
        return bool(self.config.teacher.kind == "local" and self.config.teacher.model == self.config.base_model.model)

    @property
    def _base(self) -> Teacher:
        """The base model as a teacher."""
        c = self.config
        if self.base_teaches:
            return self.teacher
        return LocalTeacher(c.base_model.model, c.base_model.precision, c.evaluation.batch_tokens, "evaluation")

    @property
    def replays(self) -> bool:
        """Whether SFT learns general instructions beside D_sft."""
        share = OmegaConf.select(self.config, "sft.replay")  # runs of earlier versions have no such key
        return bool(share) and "sft" in self.config.recipe.stages

    @cached_property
    def replay(self) -> Path:
        """General instructions with the base model's answers; the folder holds ``replay.jsonl``."""
        c = self.config
        given = general_instructions(c.sft.replay_file)
        count = max(1, round(c.sft.replay * len(read_jsonl(self.data / SFT, Instruction))))
        config = {"rows": count, "seed": c.seed, "system_prompt": self.system_prompt}
        inputs = {
            "instructions": digest([to_dict(item) for item in given]),
            "base_model": self.model[1],
            "code": code_digest("synthesis/replay.py"),
        }

        def build(folder: Path) -> dict[str, Any]:
            base = CachedTeacher(self._base, self.artifacts / CACHE)
            try:
                rows = replay_rows(given, count, base, c.seed, self.system_prompt)
            finally:
                base.close()
            write_jsonl(folder / REPLAY, rows)
            return {"general": len(rows), "calls": base.calls, "calls_cached": base.hits}

        return self.stage("replay", config, inputs, build)

    def budget(self) -> Budget:
        """Say what the teacher's calls for the data would take, without making one."""
        c = self.config
        store = CompletionStore(self.artifacts / CACHE)
        tokens = self.teacher.count_prompt_tokens if isinstance(self.teacher, LocalTeacher) else None
        writer = DryTeacher(self.teacher.id, store, tokens)
        base = writer if self.base_teaches else DryTeacher("base model", None)
        settings = settings_of(plain(c.synthesis))
        steps = dry_pass(self.document, self.given_questions, settings, c.seed, self.system_prompt, writer, base)
        at_once = c.teacher.concurrency if c.teacher.kind == "api" else 1
        prices = c.teacher.price_in, c.teacher.price_out
        return Budget(tuple(steps), store.spent_by(writer.id), at_once, *prices, settings.top_up_rounds)

    @cached_property
    def data(self) -> Path:
        """The synthesis stage's folder: D_sft, D_pref, held-out questions, funnel."""
        c = self.config
        synthesis = plain(c.synthesis)
        settings, limits = settings_of(synthesis), limits_of(synthesis)
        cache = self.artifacts / CACHE
        number, among = (int(part) for part in (OmegaConf.select(c, "teacher.share") or "0/1").split("/"))
        writer = CachedTeacher(self.teacher, cache, share=(number, among))
        base = writer
        if not self.base_teaches:
            base = CachedTeacher(self._base, cache, share=(number, among))
        asking = None
        if c.synthesis.question_teacher is not None:
            other = teacher_of(c.synthesis.question_teacher, "synthesis.question_teacher")
            asking = CachedTeacher(other, cache, share=(number, among))
        templates = [load_template(name, settings.templates) for name in TEMPLATES]
        inputs = {
            "document": digest([self.document.sha256, [to_dict(p) for p in self.document.passages]]),
            "questions": digest([as_filtered(q) for q in self.given_questions or []]),
            "teacher": writer.id,
            **({"question_teacher": asking.id} if asking and self.given_questions is None else {}),
            "base_model": self.model[1],
            "embedder": self.embedder.id,
            "code": code_digest(*SYNTHESIS),
            **{f"template/{template.id}": template.hash for template in templates},
        }
        chosen = {key: value for key, value in synthesis.items() if key not in NOT_HASHED}
        config = {"synthesis": chosen, "seed": c.seed, "system_prompt": self.system_prompt}

        teachers = {writer, base, *([asking] if asking else [])}

        def build(folder: Path) -> dict[str, Any]:
            write_source(folder, self.document, c.document.path, templates)
            try:
                counts = synthesize(
                    folder,
                    self.document,
                    self.given_questions,
                    teacher=writer,
                    base=base,
                    embedder=self.embedder,
                    settings=settings,
                    limits=limits,
                    seed=c.seed,
                    system_prompt=self.system_prompt,
                    question_teacher=asking,
                )
            finally:
                for teacher in teachers:
                    teacher.close()
            new, cached = (sum(counter) for counter in zip(*((t.calls, t.hits) for t in teachers), strict=True))
            log.info("%s; teacher calls: %d from the cache, %d new", self._changes(), cached, new)
            spent = writer.spent()
            tokens = {"prompt_tokens": spent.prompt_tokens, "completion_tokens": spent.completion_tokens}
            return {**counts, "calls": new, "calls_cached": cached, **tokens}

        if number > 0:
            with tempfile.TemporaryDirectory() as scratch:  # the first share writes; this one's work is in the cache
                build(Path(scratch))
            log.info("share %d of %d is done", number, among)
        return self.stage("data", config, inputs, build)

    def _changes(self) -> str:
        """Say what changed in the document since the store's last data about it."""
        last = latest_source(self.artifacts, self.document.name)
        if last is None:
            return f"document: no earlier data about {self.document.name}"
        folder, source = last
        return f"document, against {folder}: {compare_versions(source.passages, self.document.passages).line()}"

    @cached_property
    def questions(self) -> list[Question]:
        """The evaluation questions, given or made."""
        if self.given_questions:
            return self.given_questions
        made = read_jsonl(self.data / QUESTIONS, Question)
        if not made:
            raise no_questions(self.document.name)
        return made

    def adapters(self, stages: Sequence[str]) -> list[Path]:
        """Train what is not trained yet and return the weights of each stage, in order."""
        weights: list[Path] = []
        for i, name in enumerate(stages):
            folder = self._train(name, tuple(stages[: i + 1]), weights)
            weights = [*weights, next(f for f in (folder / "adapter", folder / "model") if f.is_dir())]
        return weights

    def _train(self, name: str, path: tuple[str, ...], before: list[Path]) -> Path:
        """Train one stage on top of those before it."""
        c = self.config
        rows = SFT if name == "sft" else PREFERENCES
        settings = {key: value for key, value in plain(c[name]).items() if not key.startswith("replay")}
        replay = str(self.replay / REPLAY) if name == "sft" and self.replays else ""
        config = {
            "stage": name,
            "settings": settings,
            "adapter": plain(c.adapter),
            "seed": c.seed,
            **self.weights_as,
            "system_prompt": self.system_prompt,
        }
        inputs = {
            "base_model": self.model[1],
            "data": file_digest(self.data / rows),
            **({"replay": file_digest(Path(replay))} if replay else {}),
            "before": digest([folder.parent.name for folder in before]),
            "code": code_digest(*TRAINING),
        }
        fresh = []

        def build(folder: Path) -> dict[str, Any]:
            fresh.append(folder)
            part = {"name": name, "folder": str(folder), "rows": str(self.data / rows), "replay": replay}
            self.ranks.command("train", **part, before=[str(path) for path in before])
            return self.train_part(**part, before=[str(path) for path in before])

        folder = self.stage(name, config, inputs, build, key="_".join(path))
        if self.logger and not fresh and folder not in self._replayed:
            with ignore_lost_logger(name, f"its curves are in {folder}"):
                for step, values in curves_by_step(folder):
                    self.logger.log_metrics({f"{name}/{key}": value for key, value in values.items()}, step)
        self._replayed.add(folder)
        return folder

    def evaluate(self, arm: Arm, questions: Sequence[Question] | None = None, noted_as: str = "answers") -> Path:
        """Let an arm answer and measure it; the folder holds ``answers.jsonl`` and ``values.jsonl``.

        Args:
            arm: Who answers.
            questions: What it is asked; None for the evaluation questions.
            noted_as: Under which name, with the arm's behind it, the run notes the stage.
        """
        asked = list(questions if questions is not None else self.questions)
        weights = self.adapters(arm.stages)
        c = self.config
        config = {
            "arm": arm.name,
            "max_new_tokens": c.evaluation.max_new_tokens,
            **self.weights_as,
            "system_prompt": self.system_prompt,
            "retrieval": self._retrieval(arm),
            **({"server": self.server.decides(arm.stages)} if self.server else {}),
        }
        inputs = {
            "base_model": self.model[1],
            "weights": digest([folder.parent.name for folder in weights]),
            "questions": digest([to_dict(q) for q in asked]),
            "document": digest([to_dict(p) for p in self.document.passages]),
            "embedder": self.embedder.id,
            "code": code_digest(*ANSWERING),
        }
        return self.stage(
            "answers",
            config,
            inputs,
            lambda folder: self._answer(folder, arm, weights, asked),
            f"{noted_as}/{arm.name}",
        )

    def exposure(self, questions: Sequence[Question] | None = None) -> dict[str, str]:
        """Say of each question's clause whether it was ``seen`` in training."""
        held_out = OmegaConf.select(self.config, "synthesis.hold_out_clauses") or ()  # earlier runs have no such key
        asked = questions if questions is not None or not held_out else self.questions
        return exposure(self.document, held_out, {q.clause for q in asked or ()})

    @property
    def measures_tax(self) -> bool:
        """Whether the general ability of models is measured; that takes the whole model in a process."""
        wanted = OmegaConf.select(self.config, "evaluation.tax.measure")  # runs of earlier versions have no such key
        return bool(wanted) and (self.server is None or self.server.measures)

    def tax(self, stages: Sequence[str]) -> Path:
        """Measure the general ability of the model behind some stages; the folder holds ``values.jsonl``."""
        weights = self.adapters(stages)
        c = self.config
        settings = c.evaluation.tax
        name = "_".join(stages) or "base"
        config = {
            "max_new_tokens": settings.max_new_tokens,
            **self.weights_as,
            "system_prompt": self.system_prompt,
        }
        inputs = {
            "base_model": self.model[1],
            "weights": digest([folder.parent.name for folder in weights]),
            "items": digest([to_dict(item) for item in (*general_texts(), *everyday_tasks())]),
            "code": code_digest(*ANSWERING),
        }

        def build(folder: Path) -> dict[str, Any]:
            part: dict[str, Any] = {"name": name, "folder": str(folder), "weights": [str(path) for path in weights]}
            self.ranks.command("tax", **part)
            return self.tax_part(**part)

        return self.stage("tax", config, inputs, build, f"tax/{name}")

    def _retrieval(self, arm: Arm) -> dict[str, Any] | None:
        """Return the settings by which an arm finds passages; None where it sees none."""
        if not arm.retrieval:
            return None
        if arm.retriever in (None, *SEARCHES):
            return {**plain(self.config.retrieval), **({"kind": arm.retriever} if arm.retriever else {})}
        return {"kind": arm.retriever}

    def check_room(self, arms: Sequence[Arm], questions: Sequence[Question] | None = None) -> None:
        """Refuse an arm whose prompt, the whole document, does not fit the model's context, before it is trained.

        Raises:
            ValignError: It does not fit; the message says by how many tokens.
        """
        whole = [arm.name for arm in arms if arm.retriever == WHOLE_DOCUMENT]
        if not whole:
            return
        base = self.config.base_model
        path = self.model[0]
        check_room(
            load_tokenizer(path, base.trust_remote_code),
            list(questions if questions is not None else self.questions),
            self.document.passages,
            arm=whole[0],
            context=context_length(path, base.trust_remote_code),
            max_new_tokens=self.config.evaluation.max_new_tokens,
            system=self.system_prompt,
        )

    def _answer(self, folder: Path, arm: Arm, weights: Sequence[Path], questions: list[Question]) -> dict[str, Any]:
        """Fill the folder of an evaluation stage."""
        retrieved: list[list[Any]] = [[] for _ in questions]
        counts: dict[str, Any] = {"questions": len(questions)}
        if arm.retrieval:
            found = self._retrieval(arm) or {}
            kind, top_k = str(found["kind"]), int(found.get("top_k", 1))
            retrieved = select_passages(kind, questions, self.document.passages, self.embedder, top_k)
            counts["retrieval_recall"] = recall_at_k(retrieved, [q.clause for q in questions])
        place = {(passage.clause, passage.start): i for i, passage in enumerate(self.document.passages)}
        part: dict[str, Any] = {
            "arm": arm.name,
            "folder": str(folder),
            "weights": [str(path) for path in weights],
            "retrieved": [[place[passage.clause, passage.start] for passage in shown] for shown in retrieved],
        }
        answers, likely = [], None
        if self.server is not None:
            answers = self._ask_server(self.server, folder, arm, questions, retrieved)
            part["measure_only"] = True
        if self.server is None or self.server.measures:
            self.ranks.command("answer", **part, questions=[to_dict(q) for q in questions])
            own, likely = self.answer_part(**part, questions=questions)
            answers = answers or own
        measured = (likely.reference_nll, likely.verdict_preference) if likely else (None, None)
        values = question_values(answers, self.document.passages, self.embedder, *measured)
        write_jsonl(folder / "answers.jsonl", answers)
        write_jsonl(folder / "values.jsonl", values)
        (folder / ANSWERS).unlink(missing_ok=True)
        return counts

    def _ask_server(
        self,
        server: AnswerServer,
        folder: Path,
        arm: Arm,
        questions: Sequence[Question],
        retrieved: Sequence[Sequence[Passage]],
    ) -> list[Answer]:
        """Let an arm's model answer behind its server; the turns are those that it would be sent in this process."""
        turns: dict[str, Any] = {}
        if self.system_prompt:
            tokenizer = load_tokenizer(self.model[0], self.config.base_model.trust_remote_code)
            turns["turns"] = partial(as_template_takes, tokenizer)
        return answer_questions(
            server.teacher(arm.stages),
            questions,
            retrieved,
            arm=arm.name,
            cache=folder / ANSWERS,
            max_new_tokens=self.config.evaluation.max_new_tokens,
            system=self.system_prompt,
            **turns,
        )

    @property
    def judge(self) -> dict[str, Any] | None:
        """What is noted of the judge of pairs: kind, model, margin of a tie, warning; None where there is none."""
        evaluation = self.config.evaluation
        kind = OmegaConf.select(evaluation, "judge")
        if kind is None:
            return None
        model = str(evaluation.judge_model.model) if kind != "reference" else ""
        warning = kinship(model, str(self.config.teacher.model)) if model else ""
        return {"kind": str(kind), "model": model, "tie": float(evaluation.judge_tie), "warning": warning}

    def judgements(self, arms: Sequence[str], answers: Sequence[Path]) -> Path | None:
        """Let a model judge every pair of arms; None where no model is the judge.

        Args:
            arms: The arms' names.
            answers: Their folders, as ``evaluate`` gave them.

        Returns:
            A folder with ``judgements.jsonl``.
        """
        judge = self.judge
        if judge is None or not judge["model"]:
            return None

        if judge["warning"]:
            log.warning("%s", judge["warning"])
        asked = teacher_of(self.config.evaluation.judge_model, "evaluation.judge_model")
        inputs = {
            "judge": asked.id,
            "prompt": template()[0],
            "document": digest([to_dict(p) for p in self.document.passages]),
            "code": code_digest("evaluation/judging"),
            **{f"answers/{arm}": folder.name for arm, folder in zip(arms, answers, strict=True)},
        }

        def build(folder: Path) -> dict[str, Any]:
            said = [read_jsonl(place / "answers.jsonl", Answer) for place in answers]
            pairs = [(said[j], said[i]) for j in range(len(said)) for i in range(j)]
            clauses = {a.clause: clause_text(a.clause, self.document.passages) for row in said for a in row}
            teacher = CachedTeacher(asked, self.artifacts / CACHE)
            try:
                found = by_model(teacher, pairs, clauses)
            finally:
                teacher.close()
            write_jsonl(folder / JUDGEMENTS, found)
            return {"judgements": len(found), "calls": teacher.calls, "calls_cached": teacher.hits}

        return self.stage("judgements", {"judge": judge["kind"]}, inputs, build)

    def leak(self, questions: Sequence[Question] | None = None) -> dict[str, Any]:
        """Measure how far evaluation questions occur in the training data."""
        asked = [q.question for q in (questions if questions is not None else self.questions)]
        rows = [
            *(row.question for row in read_jsonl(self.data / SFT, Instruction)),
            *(row.question for row in read_jsonl(self.data / PREFERENCES, Preference)),
            *(row.question for row in (read_jsonl(self.replay / REPLAY, Instruction) if self.replays else ())),
        ]
        return overlap(asked, rows, n=6)

    def funnel(self) -> dict[str, Any]:
        """Return the counts of synthesis."""
        counts: dict[str, Any] = read_json(self.data / FUNNEL)
        return counts


def pinned_by(details: Mapping[str, Any]) -> dict[str, str]:
    """Return the data and the weights that a run noted in its ``run.json``, for ``Pipeline.pinned``."""
    made_anew = ("answers/", "judgements", "probes/", "tax/")
    return {key: name for key, name in details["artifacts"].items() if not key.startswith(made_anew)}
