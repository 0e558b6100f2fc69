"""Documents: clause ids, offsets, structure and messages."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents import read
from valign.documents.outline import slug
from valign.documents.read import READERS, parse_document, read_document
from valign.documents.settings import SUFFIXES, shipped_names
from valign.documents.shipped import shipped_document, shipped_questions

DATA = Path(__file__).parents[2] / "valign" / "documents" / "data"
# Number of numbered or separate paragraphs of each article that has more than one; the other 16 articles have one.
UDHR_PARAGRAPHS = {2: 2, 11: 2, 13: 2, 14: 2, 15: 2, 16: 3, 17: 2, 20: 2, 21: 3, 23: 4, 25: 2, 26: 3, 27: 2, 29: 3}


def parse(text: str, **options: object) -> Document:
    return parse_document(text.encode(), "x", **options)  # type: ignore[arg-type]


def clauses(text: str, **options: object) -> dict[str, str]:
    """Return the text of each clause; the ids must be unique and the offsets right."""
    document = parse(text, **options)
    ids = [passage.clause for passage in document.passages]
    assert len(ids) == len(set(ids))
    assert all(document.text[p.start : p.end] == p.text == p.text.strip() for p in document.passages)
    return {passage.clause: passage.text for passage in document.passages}


def outside(document: Document) -> list[str]:
    """Return the lines of a document that lie in no passage; two passages must not overlap."""
    position, rest = 0, ""
    for passage in document.passages:
        assert passage.start >= position
        rest += document.text[position : passage.start] + "\n"
        position = passage.end
    return [line.strip() for line in (rest + document.text[position:]).split("\n") if line.strip()]


def test_udhr_has_exactly_its_clauses() -> None:
    """8 paragraphs of the preamble + 16 articles of one paragraph + 34 paragraphs in 14 articles = 58."""
    expected = [f"udhr/preamble/{k}" for k in range(1, 9)]
    for article in range(1, 31):
        count = UDHR_PARAGRAPHS.get(article, 1)
        own = [f"udhr/article-{article}/{k}" for k in range(1, count + 1)]
        expected += own if count > 1 else [f"udhr/article-{article}"]
    document = shipped_document("udhr")
    assert [passage.clause for passage in document.passages] == expected
    assert len(expected) == 58
    assert document.title == "Universal Declaration of Human Rights"


def test_udhr_passages_are_the_file_word_for_word() -> None:
    """What is left beside the passages: the title, 'Preamble', 30 headings and the labels of numbered paragraphs."""
    document = shipped_document("udhr")
    raw = (DATA / "udhr.txt").read_bytes()
    assert document.text == raw.decode()
    assert document.sha256 == hashlib.sha256(raw).hexdigest()
    labels = [f"({k})" for article, count in UDHR_PARAGRAPHS.items() if article != 2 for k in range(1, count + 1)]
    left = outside(document)
    assert left[:2] == ["Universal Declaration of Human Rights", "Preamble"]
    assert [line for line in left if line.startswith("Article")] == [f"Article {k}" for k in range(1, 31)]
    assert sorted(line for line in left if line.startswith("(")) == sorted(labels)
    assert len(left) == 2 + 30 + len(labels)
    by_clause = {passage.clause: passage for passage in document.passages}
    asylum = by_clause["udhr/article-14/1"]
    assert asylum.text == "Everyone has the right to seek and to enjoy in other countries asylum from persecution."
    assert asylum.heading == ("Universal Declaration of Human Rights", "Article 14")
    assert document.text[asylum.start : asylum.end] == asylum.text
    assert asylum.page is None


@pytest.mark.parametrize("name", ["lanternfield", "saltmarsh"])
def test_invented_documents_have_one_passage_a_rule(name: str) -> None:
    document = shipped_document(name)
    headings = [line for line in document.text.split("\n") if re.match(r"(Rule|Section) \d+\. ", line)]
    assert outside(document) == [document.title, *headings]
    kind = headings[0].split()[0].lower()
    assert [p.clause for p in document.passages] == [f"{name}/{kind}-{k}" for k in range(1, len(headings) + 1)]
    assert [p.heading for p in document.passages] == [(document.title, heading) for heading in headings]


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_questions_name_clauses_that_exist(name: str) -> None:
    ids = [passage.clause for passage in shipped_document(name).passages]
    questions = shipped_questions(name)
    assert questions
    wrong = [q.clause for q in questions if not any(f"{i}/".startswith(f"{q.clause}/") for i in ids)]
    assert wrong == []


def test_markdown_headings_nest_and_repeated_ones_take_their_parents_slug() -> None:
    text = (
        "# Code\n\nIntro here.\n\n## Gifts and hospitality\n\nNo gifts.\n\n1. One thing.\n2. Two things,\nno more.\n\n"
        "### Exceptions\n\nTea:\n\n- a\n- b\n\n## Travel\n\n### Exceptions\n\nNone.\n\nTrains ##\n-----\nUse trains.\n"
    )
    assert clauses(text) == {
        "x/paragraph-1": "Intro here.",
        "x/gifts-and-hospitality/0": "No gifts.",
        "x/gifts-and-hospitality/1": "One thing.",
        "x/gifts-and-hospitality/2": "Two things,\nno more.",
        "x/gifts-and-hospitality-exceptions": "Tea:\n\n- a\n- b",
        "x/travel-exceptions": "None.",
        "x/trains": "Use trains.",
    }
    document = parse(text)
    assert document.title == "Code"
    assert document.passages[4].heading == ("Code", "Gifts and hospitality", "Exceptions")


def test_numbered_titles_are_headings_and_numbered_sentences_are_paragraphs() -> None:
    text = (
        "Staff policy\n\n1. Purpose\n\nThis policy.\n\n2. Gifts\n\n2.1 Scope\n\nStaff only.\n\n"
        "2.2 Staff must not take gifts.\n\n2.3 Limits\nTen euro.\n\n3. Duties\n\nYou must:\n\n1. Wear a badge\n\n"
        "2. Lock doors\n\n4. Leave\n4.1 Staff have 25 days\nof leave.\n4.2 Leave cannot be sold.\n"
    )
    assert clauses(text) == {
        "x/section-1": "This policy.",
        "x/section-2.1": "Staff only.",
        "x/section-2.2": "Staff must not take gifts.",
        "x/section-2.3": "Ten euro.",
        "x/section-3": "You must:\n\n1. Wear a badge\n\n2. Lock doors",
        "x/section-4/4.1": "Staff have 25 days\nof leave.",
        "x/section-4/4.2": "Leave cannot be sold.",
    }
    assert parse(text).passages[1].heading == ("Staff policy", "2. Gifts", "2.1 Scope")


def test_chapters_hold_articles_and_a_name_below_a_bare_label_belongs_to_it() -> None:
    text = (
        "CONSTITUTION\n\nPREAMBLE\n\nWe the people.\n\nCHAPTER I\n\nGENERAL PROVISIONS\n\nArticle 1\n\nPurpose\n\n"
        "The purpose is.\n\nArticle 2\n\nNo gifts\n\nChapter II\n\nArticle 1\n\nAgain.\n\nFinal words\n\nBye now.\n"
    )
    document = parse(text)
    assert [(p.clause, p.heading[1:], p.text) for p in document.passages] == [
        ("x/preamble", ("PREAMBLE",), "We the people."),
        ("x/chapter-i-article-1", ("CHAPTER I. GENERAL PROVISIONS", "Article 1. Purpose"), "The purpose is."),
        ("x/article-2", ("CHAPTER I. GENERAL PROVISIONS", "Article 2"), "No gifts"),
        ("x/chapter-ii-article-1", ("Chapter II", "Article 1"), "Again."),
        ("x/final-words", ("Chapter II", "Final words"), "Bye now."),
    ]


def test_a_rule_on_one_line_is_heading_and_body() -> None:
    text = (
        "Rules\n\nRule 1: Always be kind\nRule 2: Never lie to anyone\nRule 3. Do not steal.\n"
        "Rule 4. Every boat must carry a light after\nthe sun has set.\nRule 5. Reserved\n"
    )
    assert clauses(text) == {
        "x/rule-1": "Always be kind",
        "x/rule-2": "Never lie to anyone",
        "x/rule-3": "Do not steal.",
        "x/rule-4": "Every boat must carry a light after\nthe sun has set.",
    }


def test_roman_numbers_hold_letters() -> None:
    text = "CODE\n\nI. GENERAL\n\nA. Scope\n\nAll staff.\n\nB. Aim\n\nTrust.\n\nC. Law\n\nObey.\n\n"
    text += "II. DUTIES\n\nA. Care\n\nCare."
    assert list(clauses(text)) == [
        "x/section-i-section-a", "x/section-b", "x/section-c", "x/section-ii-section-a",
    ]  # fmt: skip


def test_references_and_wrapped_lines_are_no_headings() -> None:
    text = (
        "Notes\n\nSection 3: Dogs\nDogs bark. In the sense of\nArticle 5 of the treaty, that is\n2. nothing new.\n\n"
        "Article 9 shall apply to all.\n\n§ 4 Cats\n(a) They meow;\n(b) they sleep.\n\n2.5 million people agree.\n"
    )
    assert clauses(text) == {
        "x/section-3/1": "Dogs bark. In the sense of\nArticle 5 of the treaty, that is\n2. nothing new.",
        "x/section-3/2": "Article 9 shall apply to all.",
        "x/section-4/1": "(a) They meow;\n(b) they sleep.",
        "x/section-4/2": "2.5 million people agree.",
    }


def test_fences_and_front_matter() -> None:
    text = "---\ntitle: Foo\ntags:\n- a\n---\n# Gifts\n\n```\n# no heading\n\ncode\n```\n\n## Tea\n\nDrink.\n"
    assert clauses(text) == {"x/paragraph-1": "```\n# no heading\n\ncode\n```", "x/tea": "Drink."}


def test_texts_without_structure_are_merged_or_cut() -> None:
    """Budget 8: the paragraphs of 4 + 3 words go together; 10 words in three sentences become 2 parts of 5."""
    text = "Be honest and kind.\n\nShare your food.\n\nOne two three. Four five. Six seven eight nine ten.\n"
    assert clauses(text, max_words=8) == {
        "x/paragraph-1": "Be honest and kind.\n\nShare your food.",
        "x/paragraph-2/part-1": "One two three. Four five.",
        "x/paragraph-2/part-2": "Six seven eight nine ten.",
    }
    assert clauses("a b c d e f g", max_words=3) == {
        "x/paragraph-1/part-1": "a b c",
        "x/paragraph-1/part-2": "d e f",
        "x/paragraph-1/part-3": "g",
    }
    assert clauses("Be honest") == {"x/paragraph-1": "Be honest"}
    assert clauses("# Values\n\n## Be kind\n\n## Never lie") == {"x/paragraph-1": "Be kind\n\n## Never lie"}


def test_a_long_numbered_paragraph_is_cut_below_its_own_id() -> None:
    text = "T\n\nArticle 1\n\n(1) See Art. 5 of it. Dr. Who agrees now.\n\n(2) Short.\n"
    assert clauses(text, max_words=5) == {
        "x/article-1/1/part-1": "See Art. 5 of it.",
        "x/article-1/1/part-2": "Dr. Who agrees now.",
        "x/article-1/2": "Short.",
    }


def test_a_long_list_is_not_joined_to_its_introduction() -> None:
    """Introduction and list have 2 + 4 + 4 = 10 words with their numbers: more than 9, and not more than 10."""
    text = "T\n\nArticle 1\n\nYou must:\n\n1. be very kind,\n\n2. be very fair.\n"
    assert list(clauses(text, max_words=9)) == ["x/article-1/0", "x/article-1/1", "x/article-1/2"]
    assert list(clauses(text, max_words=10)) == ["x/article-1"]


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Article 14", "article-14"),
        ("ARTICLE 14. Asylum", "article-14"),
        ("Rule 7. Night lights", "rule-7"),
        ("§ 4", "section-4"),
        ("2.3 Gifts", "section-2.3"),
        ("Chapter IV", "chapter-iv"),
        ("Preamble", "preamble"),
        ("Gifts & hospitality", "gifts-hospitality"),
        ("Children's rights", "childrens-rights"),
        ("Préambule", "preamble"),
        ("A fair deal", "a-fair-deal"),
        ("???", "section"),
    ],
)
def test_slug(heading: str, expected: str) -> None:
    assert slug(heading) == expected


def test_every_word_of_random_documents_lies_in_one_passage() -> None:
    """Body words are made unique (w0, w1, ...), headings use other words; all body words come back once, in order."""
    for seed in range(200):
        draw = random.Random(seed)
        count, parts = 0, ["A Title Of Things"]
        for _ in range(draw.randint(1, 12)):
            form = draw.choice(
                ["# {}", "### {}", "Article {}", "Rule {}. Night lights", "ON BOATS {}", "Name {}", "{}. Aim"]
            )
            parts.append(form.format(draw.randint(1, 4)))
            for _ in range(draw.randint(1, 3)):
                size = draw.randint(1, 30)
                words = [f"w{count + i}{'.' if draw.random() < 0.2 else ''}" for i in range(size)]
                words[-1] = words[-1].rstrip(".") + draw.choice([".", ":", ";"])
                count += size
                joined = "".join(w + draw.choice([" ", " ", "\n", "\n- "]) for w in words).rstrip(" \n-")
                parts.append(draw.choice(["", "(1) ", "2. ", "- ", "(a) ", "   "]) + joined)
        text = "\n\n".join(parts)
        budget = draw.choice([3, 10, 160])
        document = parse(text, max_words=budget)
        found = re.findall(r"\bw\d+", " ".join(passage.text for passage in document.passages))
        assert found == [f"w{i}" for i in range(count)], seed
        assert all(len(passage.text.split()) <= budget for passage in document.passages)
        assert len({passage.clause for passage in document.passages}) == len(document.passages)


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfPolicy\r\n\r\nSection 1: Tea\r\n\r\nDrink tea.\r\nEvery day.\r\n"
    path = tmp_path / "policy.TXT"
    path.write_bytes(raw)
    document = read_document(path, "policy")
    assert document.text == "Policy\n\nSection 1: Tea\n\nDrink tea.\nEvery day.\n"
    assert document.sha256 == hashlib.sha256(raw).hexdigest()
    assert (document.title, document.passages[0].text) == ("Policy", "Drink tea.\nEvery day.")
    assert read_document(path, "policy", title="Mine").passages[0].heading == ("Mine", "Section 1: Tea")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_its_mark(encoding: str) -> None:
    raw = "\ufeffPolicy\r\n\r\nArticle 1\r\n\r\nCafés close at 9 €.".encode(encoding)
    document = parse_document(raw, "x")
    assert document.text == "Policy\n\nArticle 1\n\nCafés close at 9 €."
    assert [(p.clause, p.text) for p in document.passages] == [("x/article-1", "Cafés close at 9 €.")]


def test_a_text_beyond_the_limit_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHARS", 1000)
    assert len(parse("ab " * 333).text) == 999
    with pytest.raises(ValignError, match="has 1,002 characters, more than 1,000; split it into several files"):
        parse("ab " * 334)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("Rule 1\n\nBe kind.")
    (tmp_path / "link.md").symlink_to(tmp_path / "real.txt")
    assert [p.clause for p in read_document(tmp_path / "link.md", "x").passages] == ["x/rule-1"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("gone.txt", None, "does not exist"),
        ("empty.txt", b" \n\t\n--\n", "is empty"),
        ("latin.txt", b"caf\xe9", "is not UTF-8 text (byte 3)"),
        ("bom.md", b"\xef\xbb\xbfcaf\xe9!", "is not UTF-8 text (byte 6)"),
        ("wide.txt", "hello".encode("utf-16-le"), "UTF-16 without its mark (NUL at byte 1)"),
        ("odd.txt", b"\xff\xfeh\x00e\x00l", "is broken UTF-16 (byte 6)"),
        ("wider.txt", "hello".encode("utf-32"), "is UTF-32, which is not supported"),
        ("image.txt", b"\x89PNG\r\n\x1a\n\x00\x00", "is binary"),
        ("guide.txt", b"%PDF-1.7 ...", "is no text but a PDF file; rename it to end in .pdf"),
        ("word.md", b"PK\x03\x04...", "rename a Word file to end in .docx"),
        ("void.pdf", b"", "is empty"),
        (
            "policy.rtf",
            b"text",
            "has the suffix '.rtf', which is not supported; save it as one of: txt, md, html, htm, docx, pdf.",
        ),
        ("title.md", b"# Only a title\n", "holds no paragraph"),
    ],
)
def test_bad_files(tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValignError) as caught:
        read_document(path, "x")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_folder_and_large_file(tmp_path: Path) -> None:
    with pytest.raises(ValignError, match="is a folder"):
        read_document(tmp_path, "x")
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(50 * 2**20 + 1)
    with pytest.raises(ValignError, match="more than the 50 MB allowed"):
        read_document(path, "x")


def test_bad_settings() -> None:
    with pytest.raises(ValignError, match="max_words=0 must be at least 1"):
        parse("Text.", max_words=0)
    with pytest.raises(ValignError, match="without '/'"):
        parse_document(b"Text.", "a/b")
    with pytest.raises(ValignError, match="choose one of: udhr, lanternfield, saltmarsh, udhr_counterfactual"):
        shipped_document("bill")
    with pytest.raises(ValignError, match="no shipped document"):
        shipped_questions("../udhr")


def test_every_suffix_that_is_offered_has_a_reader() -> None:
    assert tuple(READERS) == SUFFIXES
