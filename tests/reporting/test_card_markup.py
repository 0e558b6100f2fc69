"""No text of a document, a question or an answer becomes markup, a link or front matter in an alignment card."""

from __future__ import annotations

import dataclasses
import re

import pytest
import yaml
from aligned import aligned_arm, aligned_comparison
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from valign.core.records import Answer, Passage
from valign.core.text import markdown
from valign.models.terms import BaseModel
from valign.reporting.card import alignment_card
from valign.reporting.comparison import Comparison

HOSTILE = [
    "</td><script>alert(1)</script><img src=http://evil.example/x.png>",
    "![x](http://evil.example/x.png) [y](javascript:alert(1)) <http://evil.example>",
    "a | b || c",
    "\n\n---\nlicense: evil\n---\n\n# Heading\n",
    "---\nlicense: evil\n---",
    "`code` ``` fence\n```\nfence\n```",
    "- item\n1. item\n> quote\n    code",
    "see https://evil.example, www.evil.example or mail evil@evil.example, @somebody",
    "&lt;b&gt; &#91;x&#93;(http://evil.example) $\\alpha$ **bold** _it_ ~~gone~~",
    "[ref]: http://evil.example\n[ref]",
    "{{ 7*7 }}{% raw %}",
    "abc\n===\ndef\n---",
    "\u202eevil\u202c \x1b[31m",
    'quoted "text" with: colon # and hash',
]


ALIVE = {
    *("html_block", "html_inline", "link_open", "image", "fence", "code_block", "code_inline", "hr", "s_open"),
    *("blockquote_open", "ordered_list_open", "em_open"),
}
"""What the parser names that no text may become."""


def hostile(text: str) -> Comparison:
    """Return the comparison with a text in the place of every other."""
    plain = aligned_comparison()

    def swap(answer: Answer) -> Answer:
        said = text if answer.answer.startswith("I am") else f"{answer.answer} {text}"
        clause = answer.clause + text
        return dataclasses.replace(answer, question=text, reference=text, answer=said, clause=clause)

    arms = []
    for result in (aligned_arm("base"), aligned_arm("sft_dpo")):
        values = [{**row, "clause": str(row["clause"]) + text} for row in result.values]
        scores = {**result.scores, "by_kind": {"metrics": {f"verdict_accuracy/{text}": {"mean": 0.5, "ci95": [0, 1]}}}}
        scores["metrics"] = {**scores["metrics"], text: {"mean": 0.5, "ci95": [0.1, 0.9], "n": 9}}
        arms.append(
            dataclasses.replace(result, answers=[swap(a) for a in result.answers], values=values, scores=scores)
        )
    rows = {text: [dataclasses.replace(row, provenance=dataclasses.replace(row.provenance, teacher=f"given: {text}"))
                   for row in next(iter(plain.examples.values()))]}  # fmt: skip
    counts = {"made": 2, "dropped": {text: 1}, "kept": 1, "per_clause": {text: 1}}
    audit = {"auc": 0.9, "kinds": {text: 0.9}, "words": {"chosen": [text], "rejected": [text]}, "cause": text}
    return dataclasses.replace(
        plain,
        title=text,
        experiment=text,
        document_sha256=text,
        document_name=text,
        arms=arms,
        passages=[Passage(p.clause + text, (text,), text, 0, 5) for p in plain.passages],
        funnel={"sft": counts, "preference": {**counts, "audit": audit}},
        examples=rows,
        config={**plain.config, "teacher": {"kind": text, "model": text}, "synthesis": {"filters": {"waive": [text]}}},
        artifacts={"data": text, "sft": text},
        base_model=BaseModel(text, text, "other", text, (text,), text),
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_text(text: str) -> None:
    """The card has the headings of any other, no element, no link, and no reader sees an address in it."""
    card, plain = alignment_card(hostile(text)), alignment_card(hostile("plain"))
    body, known = (one.split("\n---\n", 1)[1] for one in (card, plain))
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(body)
    inside = [token for block in tokens for token in block.children or []]
    kinds = {token.type for token in (*tokens, *inside)}
    assert not kinds & ALIVE
    headings = [line for line in body.splitlines() if re.match(r"#|===|---", line)]
    assert [line.partition(":")[0] for line in headings] == [
        line.partition(":")[0] for line in known.splitlines() if re.match(r"#|===|---", line)
    ]
    shown = "".join(token.content for token in inside if token.type == "text")
    assert not re.search(r"\w://|www\.|\w@\w|(?:^|\s)@\w", shown, re.I)
    for block in re.findall(r"(?:^\|.*\n)+", body, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_brings_in_no_front_matter(text: str) -> None:
    """The keys are those of any card, the licence is the base's, and the text stands whole in its own fields."""
    card = alignment_card(hostile(text))
    read = ModelCard(card).data.to_dict()
    assert set(read) == set(ModelCard(alignment_card(aligned_comparison())).data.to_dict()) | {
        "license_name",
        "license_link",
    }
    assert read["license"] == "other" and read["library_name"] == "peft"
    lines = card.splitlines()
    assert lines[0] == "---" and lines.index("---", 1) < lines.index(next(one for one in lines if one.startswith("# ")))
    assert yaml.safe_load("\n".join(lines[1 : lines.index("---", 1)])).keys() == read.keys()
    assert "<script" not in "\n".join(lines[lines.index("---", 1) :]).replace("\\<script", "")


def test_marks_at_the_beginning_and_addresses() -> None:
    """A mark is escaped where it would begin a list or underline a heading, and nowhere else."""
    begun = [markdown(text) for text in ("- a", "+ a", "1. a", "12) a", "---", "===", "-5", "0.5", "+0.54", "e-mail")]
    assert begun == ["\\- a", "\\+ a", "1\\. a", "12\\) a", "\\---", "\\===", "-5", "0.5", "+0.54", "e-mail"]
    assert (
        markdown("https://a.b www.a.b a@b.c @c name@1a2b")
        == "https:\u200b//a.b www\u200b.a.b a@\u200bb.c @\u200bc name@1a2b"
    )
    assert markdown("R&D costs $5") == "R\\&D costs \\$5"
