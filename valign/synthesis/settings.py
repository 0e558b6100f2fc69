"""Settings of the synthesis: what is written, how much of it, and what the filters let pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from valign.core.settings import group, setting
from valign.teachers.settings import TeacherSettings

PAIRED_KINDS = ("conflict", "comparison")
WRITTEN_KINDS = (*PAIRED_KINDS, "silent")
WAIVABLE = ("language", "relevance", "leak", "duplicate", "repetition", "grounding", "faithfulness", "contrast")


@dataclass(frozen=True, kw_only=True)
class KindWeights:
    """How a passage's questions divide among the kinds of question, by weight.

    Attributes:
        question: Any question about the passage, after worked examples in the prompt; for small teachers.
        factual: A number, a name, a time limit, a condition that the passage states.
        everyday: A situation told by somebody who is in it.
        edge: Borderline cases: exceptions, conditions, limits.
        conflict: Two passages that pull in different directions. This kind and the next ones need written answers.
        comparison: What only two passages together answer.
        silent: What the document does not say, and the answer says so.
    """

    question: float = setting(0.0, at_least=0)
    factual: float = setting(0.0, at_least=0)
    everyday: float = setting(0.0, at_least=0)
    edge: float = setting(0.0, at_least=0)
    conflict: float = setting(0.0, at_least=0)
    comparison: float = setting(0.0, at_least=0)
    silent: float = setting(0.0, at_least=0)


@dataclass(frozen=True, kw_only=True)
class RejectedShares:
    """Shares of the kinds of rejected answer, drawn by lot; they need not add up to 1.

    Attributes:
        contradiction: The chosen answer with every statement turned into its opposite.
        edit: The chosen answer with one condition or fact broken.
        clause: The right answer to another situation, whose rejected answer is this one's in turn.
        base: The base model's own answer, where the filters find it unfaithful.
        teacher: Written by the teacher together with the question and the chosen answer, so as to contradict the
            clause. This share of the situations is asked for in structured calls.
    """

    contradiction: float = setting(0.0, at_least=0)
    edit: float = setting(0.0, at_least=0)
    clause: float = setting(0.0, at_least=0)
    base: float = setting(0.0, at_least=0)
    teacher: float = setting(0.0, at_least=0)


@dataclass(frozen=True, kw_only=True)
class InstructionSettings:
    """What is written for D_sft.

    Attributes:
        questions_per_passage: Questions that the teacher asks about each passage.
        kinds: How these questions divide among the kinds.
        personas: Sentences on who asks; one is drawn for each question.
        lengths: Sentences on how long an answer is, drawn in the same way; with written answers.
        reasons: Whether answers of structured calls are followed by a reason.
        openings: First words of the questions, in turn; none for a teacher that varies by itself.
        examples_per_fact: Phrasings that ask for each fact.
        extract: Who lists the facts: ``rules`` (English, French), or the ``teacher``, in JSON.
        phrases_per_passage: Questions for phrases that only this passage has.
        recitations_per_passage: Requests for the passage's own words.
        claims_per_passage: Yes/no questions about statements, right and wrong in turn.
        chosen_answers: Whether pairs with a teacher's rejected answer are learned by SFT as well, by their chosen one.
    """

    questions_per_passage: int = setting(at_least=0)
    kinds: KindWeights = field(default_factory=lambda: KindWeights(question=1.0))
    personas: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    reasons: bool = False
    openings: tuple[str, ...]
    examples_per_fact: int = setting(0, at_least=0)
    extract: str = setting("rules", choices=("rules", "teacher"))
    phrases_per_passage: int = setting(at_least=0)
    recitations_per_passage: int = setting(at_least=0, at_most=3)
    claims_per_passage: int = setting(at_least=0)
    chosen_answers: bool = False


@dataclass(frozen=True, kw_only=True)
class PreferenceSettings:
    """What is written for D_pref.

    Attributes:
        scenarios_per_passage: Everyday situations that each passage decides.
        claim_pairs_per_passage: Yes/no questions about statements, the right verdict against the wrong one.
        openings: First words of the situations, in turn; none for a teacher that varies by itself.
        situations_per_call: Situations that the teacher writes in one structured call, each with both answers.
        rejected: Shares of the kinds of rejected answer.
    """

    scenarios_per_passage: int = setting(at_least=0)
    claim_pairs_per_passage: int = setting(at_least=0)
    openings: tuple[str, ...]
    situations_per_call: int = setting(1, at_least=1)
    rejected: RejectedShares = group(RejectedShares)


@dataclass(frozen=True, kw_only=True)
class EvaluationQuestionSettings:
    """What is written where a document has no evaluation questions.

    Attributes:
        per_passage: Questions for each passage, at most.
    """

    per_passage: int = setting(at_least=1)


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """How the teacher's questions and situations are drawn; its answers are greedy.

    Attributes:
        temperature: Of the softmax; 0 for greedy decoding.
        top_p: Smallest probability mass that is sampled from.
        max_new_tokens: Tokens of the longest question; of a structured call, of the longest item if that is more.
    """

    temperature: float = setting(at_least=0)
    top_p: float = setting(above=0, at_most=1)
    max_new_tokens: int = setting(above=0)


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """Thresholds of the filters; a candidate beyond one of them is dropped.

    Attributes:
        relevance: Who says whether a passage decides a question: ``embedding`` (cosine and rank), or ``judge`` (the
            teacher, shown the nearest passages; where its reply cannot be read, the rank decides).
        relevance_clauses: Passages that this judge is shown.
        min_relevance: Lowest cosine of question and passage; a judge's reply counts instead.
        max_rank: The passage must be among so many nearest to its question.
        rank_margin: Passages nearer by no more than this do not count in the rank.
        faithfulness: Who judges answers: ``embedding`` (cosine), ``judge`` (the teacher: entailed 1, not in the passage
            0.25, contradicted 0) or ``nli`` (probability of entailment).
        faithfulness_model: Folder or hub id of the entailment model, for ``nli``.
        min_faithfulness: Lowest score of an answer.
        max_duplicate: Highest cosine with a question kept before.
        max_wording: Highest share of runs of letters in common with a question kept before.
        max_overlap: Highest share of words in common with an evaluation question; six in a row are always too many.
        max_evaluation: Highest cosine with an evaluation question.
        min_language: Lowest fit to the document's script and stop words, from 0 to 1.
        max_repetition: Highest share of an answer's runs of three words that occurred in it before.
        waive: Filters that given rows need not pass: some of ``WAIVABLE``.
    """

    relevance: str = setting("embedding", choices=("embedding", "judge"))
    relevance_clauses: int = setting(4, at_least=2, at_most=16)
    min_relevance: float = setting(at_least=-1, at_most=1)
    max_rank: int = setting(at_least=1)
    rank_margin: float = setting(0.0, at_least=0, at_most=2)
    faithfulness: str = setting("embedding", choices=("embedding", "judge", "nli"))
    faithfulness_model: str | None = None
    min_faithfulness: float = setting(at_least=-1, at_most=1)
    max_duplicate: float = setting(above=0, at_most=1)
    max_wording: float = setting(1.0, above=0, at_most=1)
    max_overlap: float = setting(above=0, at_most=1)
    max_evaluation: float = setting(0.95, above=0, at_most=1)
    min_language: float = setting(0.0, at_least=0, at_most=1)
    max_repetition: float = setting(1.0, at_least=0, at_most=1)
    waive: tuple[str, ...] = setting((), choices=WAIVABLE)


@dataclass(frozen=True, kw_only=True)
class CoverageSettings:
    """The fewest items that every clause is to have.

    Attributes:
        min_instructions: Examples in D_sft; clauses with fewer are topped up, or the build fails.
        min_preferences: Pairs in D_pref, in the same way.
        min_questions: Evaluation questions; where the user wrote them, a lack is a warning.
        top_up_rounds: How often the teacher is asked again before fixed sentences stand in.
        waive: Whether a clause that stays short is a warning.
    """

    min_instructions: int = setting(0, at_least=0)
    min_preferences: int = setting(0, at_least=0)
    min_questions: int = setting(0, at_least=0)
    top_up_rounds: int = setting(0, at_least=0)
    waive: bool = False


@dataclass(frozen=True, kw_only=True)
class SynthesisSettings:
    """Everything that decides what the synthesis writes about a document.

    Attributes:
        prompts: ``small``: a call for each question or several of one kind, with worked examples; ``large``: planned
            questions with their answers, several in a structured call, for capable teachers.
        items_per_call: Questions with answers in one structured call of D_sft.
        answers: ``quote``: the passage's own words; ``write``: the teacher writes them, shown the passage.
        cite: Whether answers end with the clause that they rest on.
        max_quote_words: Words of the longest quote; a longer passage is quoted in part.
        templates: Folder with prompt templates of the user's own; None for the package's.
        rows: File of given rows (``.jsonl``), ``shipped`` for those that come with the document, or None.
        review: File of what people decided about rows, as ``valign.review`` writes it, or None.
        require_review: Share of the rows for training that a person has to have read before anything is trained.
        hold_out_clauses: Ids of clauses that no training example is about.
        question_teacher: Who writes evaluation questions that are made; None for the teacher.
        instructions: What is written for D_sft.
        preferences: What is written for D_pref.
        evaluation_questions: What is written where a document has no evaluation questions.
        sampling: How the teacher's questions are drawn.
        filters: Thresholds of the filters.
        coverage: The fewest items that every clause is to have.
    """

    prompts: str = setting("small", choices=("small", "large"))
    items_per_call: int = setting(8, at_least=1)
    answers: str = setting(choices=("quote", "write"))
    cite: bool = False
    max_quote_words: int = setting(at_least=5)
    templates: str | None = None
    rows: str | None = None
    review: str | None = None
    require_review: float = setting(0.0, at_least=0, at_most=1)
    hold_out_clauses: tuple[str, ...] = ()
    question_teacher: TeacherSettings | None = None
    instructions: InstructionSettings = group(InstructionSettings)
    preferences: PreferenceSettings = group(PreferenceSettings)
    evaluation_questions: EvaluationQuestionSettings = group(EvaluationQuestionSettings)
    sampling: SamplingSettings = group(SamplingSettings)
    filters: FilterSettings = group(FilterSettings)
    coverage: CoverageSettings = group(CoverageSettings)
