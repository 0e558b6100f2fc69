"""Replies as public bug reports show them: thoughts in every dress, marks of turns, odd contents, ends and errors."""

from __future__ import annotations

from typing import Any

import pytest
from odd_server import QUESTION, THOUGHT

from valign.generation.requests import Completion, Request, Sampling
from valign.generation.thoughts import Visible, without_thoughts
from valign.teachers.calls import Call
from valign.teachers.faults import reply_fault
from valign.teachers.protocol import Job
from valign.teachers.replies import Reply, parse_reply
from valign.teachers.turn_marks import plain_text

T, Q = THOUGHT, QUESTION
ASKED = Request(({"role": "user", "content": "Ask."},), Sampling(64))


def read(content: Any, finish: Any = "stop", usage: Any = None, **message: Any) -> Reply:
    """Return what is read of a reply with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return parse_reply(Call(Job("k", ASKED, (0,)), (0,)), {"choices": [choice], "usage": usage}, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        f'<thinking mode="deep">{T}</thinking>\n{Q}',
        f"<scratchpad>{T}</scratchpad>{Q}",
        f"<inner_monologue>{T}</inner_monologue>{Q}",
        f"<analysis>{T}</analysis>{Q}",
        f"<REASONING>\n{T}\n</REASONING>\n<SOLUTION>\n{Q}\n</SOLUTION>",
        f"<start_working_out>{T}<end_working_out><SOLUTION>{Q}</SOLUTION>",
        f"<thinking>{T}<reflection>No.</reflection>{T}</thinking>\n<output>\n{Q}\n</output>",
        f"<grok:think>{T}</grok:think>{Q}",
        f"<mm:think>{T}</mm:think>{Q}",
        f"<longcat_think>\n{T}\n</longcat_think>{Q}",
        f"<think_fast>{T}</think_fast>{Q}",
        f"<think_never_used_51bce0c785ca2f68081bfa7d91973934>{T}</think_never_used_51bce0c785ca2f68081bfa7d91973934>{Q}",
        f"<seed:think>{T}<seed:cot_budget_reflect>Half.</seed:cot_budget_reflect>{T}</seed:think>{Q}",
        f"&lt;think&gt;{T}&lt;/think&gt;{Q}",
        f'<details type="reasoning" done="true">\n<summary>Thought for 3 s</summary>\n> {T}\n</details>\n{Q}',
        f"<|channel>thought\n{T}<channel|>{Q}",
        f"<|START_THINKING|>{T}<|END_THINKING|><|START_RESPONSE|>{Q}<|END_RESPONSE|>",
        f"<|START_THINKING|>{T}<|END_THINKING|><|START_TEXT|>{Q}",
        f"<|begin_of_thought|>{T}<|end_of_thought|>\n<|begin_of_solution|>{Q}",
        f"<|begin_of_thinking|>{T}<|end_of_thinking|>{Q}",
        f"<|inner_prefix|>{T}<|inner_suffix|>{Q}",
        f"[unused16]{T}[unused17]{Q}",
        f"<think>{T}</think><|begin_of_box|>{Q}<|end_of_box|>",
        f"Here is my thought process:\n{T}\n\nHere is my response:\n{Q}",
        f"Here's my thought process: {T} Here's my response: {Q}",
        f"analysisthe user asks.assistantfinal{Q}",
        f"analysis\n{T}\nassistantfinal\n{Q}",
        f"<|channel|>analysis<|message|>{T}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{Q}",
        f"<think>\n{T}\n</think>\n<answer>\n{Q}",
        f"{T}\n</think>\n\n<response>\n{Q}\n</response>",
        f"{T}</longcat_think>{Q}",
    ],
    ids=range(31),
)
def test_thoughts_in_every_dress_are_taken_off(text: str) -> None:
    assert without_thoughts(text).text == Q
    assert read(text).result.completions == {0: Completion(Q, 10, True)}


@pytest.mark.parametrize(
    "text",
    [
        "The analysis is short; my response: yes.",
        "<details><summary>More</summary>One euro.</details>",
        "Rethinking helps. [1] A & B.",
        "<analyst>Yes.</analyst>",
        "Here is my response: yes.",
        "analysis of the rule: yes.",
        "At most <s>50</s> 30 euros.",
    ],
)
def test_a_text_without_thoughts_is_left_alone(text: str) -> None:
    assert without_thoughts(text) == Visible(text)
    assert read(text).result.completions[0].text == text


def test_a_broken_block_of_thoughts_is_no_text() -> None:
    """Whichever dress they are in, and where they hold what was asked for."""
    for text in (f'<details type="reasoning">{T}', f"<|START_THINKING|>{T}", f"Here is my thought process: {T}"):
        found = read(text, "length")
        assert (found.result.completions, found.empty, found.overrun) == ({}, (0,), (0,))
    assert read('<grok:think>{"question": "Wrong?"}</grok:think>{"question": "Right?"}').result.completions[0].text == (
        '{"question": "Right?"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        f"{Q}<|im_end|>",
        f"{Q}</s>",
        f"{Q}<|eot_id|>",
        f"{Q}<end_of_turn>\n",
        f"{Q}<|endoftext|><|endoftext|>",
        f"{Q}<|end|>",
        f"{Q}<\uff5cend\u2581of\u2581sentence\uff5c>",
        f"{Q}<|im_end|>\n<|im_start|>user\nAnd for meals?",
        f"{Q}\n<|user|>\nAnd for meals?",
        f"{Q}[INST] And for meals? [/INST]",
        f"<|im_start|>assistant\n{Q}<|im_end|>",
        f"<|start_header_id|>assistant<|end_header_id|>\n\n{Q}<|eot_id|>",
        f"<start_of_turn>model\n{Q}<end_of_turn>",
        f"<|start|>assistant<|message|>{Q}<|return|>",
        f"assistant\n\n{Q}",
        f"[/INST] {Q}</s>",
        f"{Q}</s><s>[INST] And for meals? [/INST] Yes.</s>",
        f"<think>{T}</think>\n{Q}<|im_end|>",
        f"<think>{T}</think>\n<answer>{Q}</answer><|eos|>",
        f"\ufeff{Q}\u200b",
        f"\x1b[1m{Q}\x1b[0m\x00",
    ],
    ids=range(21),
)
def test_marks_of_turns_and_control_characters_are_taken_off(text: str) -> None:
    """A server with a wrong template leaves them in, and lets the model go on with turns of its own making."""
    assert read(text).result.completions[0].text == Q


def test_line_ends_are_those_of_a_text() -> None:
    assert read("One.\r\nTwo.\rThree.").result.completions[0].text == "One.\nTwo.\nThree."


@pytest.mark.parametrize(
    "end",
    [
        "model_context_window_exceeded", "token_limit", "truncated", "sensitive", "SPII", "LANGUAGE", "OTHER",
        "MALFORMED_FUNCTION_CALL", "guardrail_intervened", "time_limit", "timeout", "preempted", "pause_turn",
        "partial", {"type": "length", "length": 64},
    ],
)  # fmt: skip
def test_other_names_of_an_end_that_is_none(end: Any) -> None:
    assert not read(Q, end).result.completions[0].finished


@pytest.mark.parametrize("end", ["stop", {"type": "stop", "matched": 2}, 0, "", "unknown"])
def test_other_names_of_an_end(end: Any) -> None:
    assert read(Q, end).result.completions[0].finished


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([None, 1, {"type": "text", "text": Q}], Q),
        ([{"type": "text", "text": {"value": Q, "annotations": []}}], Q),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": Q}], Q),
        ([{"type": "reasoning", "text": T}, {"type": "output_text", "text": Q}], Q),
        ([{"type": "text", "text": f"<think>{T}"}, {"type": "text", "text": f"</think>{Q}"}], Q),
        ({"question": "Who?"}, '{"question": "Who?"}'),
        ([], None),
        (12, None),
        (True, None),
        ("\u200b \n", None),
        ([{"type": "refusal", "refusal": "No."}], None),
    ],
)
def test_contents_of_every_type(content: Any, text: str | None) -> None:
    found = read(content)
    assert [one.text for one in found.result.completions.values()] == ([] if text is None else [text])
    assert found.empty == ((0,) if text is None else ())


def test_a_message_that_is_null_is_no_text() -> None:
    call = Call(Job("k", ASKED, (0,)), (0,))
    assert parse_reply(call, {"choices": [{"message": None, "finish_reason": "stop"}]}, 1.0).empty == (0,)


def test_a_refusal_is_no_answer() -> None:
    found = read(None, refusal="I cannot help with that.")
    assert (found.empty, found.why) == ((0,), "no text, finish_reason refusal")
    assert not read("I cannot.", refusal="I cannot.").result.completions[0].finished
    assert read(Q, refusal=None).result.completions[0].finished


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "reasoning_text", "thinking_content", "thoughts"])
def test_thoughts_beside_the_text_are_no_tokens_of_it(name: str) -> None:
    found = read(f"<answer>{Q}</answer>", usage={"completion_tokens": 500}, **{name: T})
    assert found.result.completions == {0: Completion(Q, 10, True)}
    assert found.result.usage.completion_tokens == 500


def test_thoughts_that_are_counted_and_not_shown() -> None:
    """As of OpenAI's models, and of Gemini's, which count them in the sum alone: a cut call gets more room."""
    counted = {"prompt_tokens": 5, "completion_tokens": 64, "completion_tokens_details": {"reasoning_tokens": 60}}
    assert read(Q, usage=counted).result.completions == {0: Completion(Q, 10, True)}
    assert read("What is", "length", counted).overrun == (0,)
    found = read("", "length", counted)
    assert (found.overrun, found.why) == ((0,), "thoughts and no answer, finish_reason length")
    assert read(None, "length", {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 69}).overrun == (0,)
    assert read("What is", "length", {"completion_tokens": 64}).overrun == ()


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        ({"choices": [{"message": {"content": ""}, "error": {"code": 502, "message": "Gone"}}]}, "down", "502 .Gone."),
        ({"choices": [{"message": {"content": "Y"}, "error": {"message": "Gone"}}]}, "call", "an error .Gone."),
        ({"object": "error", "message": "No such model.", "code": 404}, "fatal", "404 .No such model."),
        ({"message": "rate limit", "code": 429}, "busy", "429 .rate limit."),
        ({"code": 500, "msg": "internal", "data": None}, "call", "500 .internal."),
        ([{"error": {"code": 503, "message": "overloaded"}}], "down", "503 .overloaded."),
        ({"detail": "Not Found"}, "call", "an error .Not Found."),
        ({"error_code": 110, "error_msg": "token invalid"}, "call", "an error .token invalid."),
        ({"choices": None, "error": "went away"}, "call", "an error .went away."),
    ],
)
def test_errors_with_the_status_of_success(data: Any, kind: str, words: str) -> None:
    fault = reply_fault(data, ())
    assert fault is not None and fault.kind == kind
    with pytest.raises(type(fault), match=words):
        raise fault


@pytest.mark.parametrize("data", [[], None, {"message": {"content": "Yes"}, "done": True}, {"choices": ["Yes"]}, "Yes"])
def test_what_is_no_error(data: Any) -> None:
    assert reply_fault(data, ()) is None


@pytest.mark.parametrize(
    "answer",
    [
        "Send the <risk_analysis> and <cost> files to the board by noon.",
        "A List<Analysis> holds them.",
        "The &lt;analysis&gt; element is read.",
        "Write it so:\n<risk_analysis>high</risk_analysis>",
        "Write `<think>` first.",
        "Guests may smoke <s>indoors</s> <b>outdoors only</b>. They must pay.",
        "<s>10</s>[^1] euros.",
        "Use `<|im_end|>` at the end of a turn.",
    ],
)
def test_marks_that_an_answer_uses_itself_stay(answer: str) -> None:
    assert plain_text(answer) == answer
    assert without_thoughts(answer) == Visible(answer)


@pytest.mark.parametrize(
    "reply",
    [
        "<analysis>hm</analysis>Yes.",
        "hm\n</analysis>\n\nYes.",
        "<my_thoughts>a</my_thoughts><analysis>b</analysis>Yes.",
        "&lt;think&gt;a&lt;/think&gt;Yes.",
    ],
)
def test_the_same_marks_around_thoughts_are_taken_off(reply: str) -> None:
    assert without_thoughts(reply).text == "Yes."
