"""Labels of headings in many languages: ``Article 5``, ``Artículo 5``, ``§ 5``, ``第五条`` and their like.

A label's word and number have one spelling, the English one with digits, so that a clause has the same id in every
language that its document is published in.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

OUTER_WORDS = {"book": 1, "part": 1, "annex": 1, "appendix": 1, "schedule": 1, "title": 2, "chapter": 3}
"""Words whose sections hold others, with their ranks."""
INNER_WORDS = (
    "article", "section", "rule", "clause", "principle", "canon", "standard", "amendment", "paragraph", "norm",
    "guideline", "value", "commitment", "duty", "commandment", "provision",
)  # fmt: skip
TRANSLATED = {
    "book": "livre libro livro buch boek księga книга kitap",
    "part": "partie parte teil deel del część часть частина kısım μέρος phần",  # noqa: RUF001
    "annex": "annexe anexo anhang anlage allegato bijlage bilaga vedlegg załącznik приложение додаток παράρτημα",
    "title": "titre título titel titolo tytuł τίτλος",
    "chapter": "chapitre capítulo capitolo capo kapitel kapittel hoofdstuk rozdział глава розділ bölüm κεφάλαιο "
    "kapitola chương",
    "article": "artículo artikel artikkel articolo artigo artykuł статья стаття член madde άρθρο článek articolul "
    "điều pasal المادة مادة ماده סעיף अनुच्छेद ข้อ ມາດຕາ အပိုဒ် មាត្រា มาตรา článok",
    "section": "sección sezione seção secção abschnitt afdeling avsnitt раздел धारा",
    "rule": "règle regla regel regola regra zasada правило",
    "clause": "cláusula klausel clausola пункт",
    "principle": "principe principio princípio grundsatz prinzip beginsel принцип",
    "paragraph": "paragraphe párrafo paragraf paragraaf parágrafo",
}
"""What labels are called in other languages."""
NUMBER_FIRST = {
    "artikla": "article",
    "cikk": "article",
    "madde": "article",
    "straipsnis": "article",
    "pants": "article",
    "§": "section",
}
ABBREVIATED = {
    "art": "article",
    "čl": "article",
    "arts": "article",
    "sec": "section",
    "sect": "section",
    "cap": "chapter",
}
ABBREVIATED |= {"ch": "chapter", "chap": "chapter", "kap": "chapter", "para": "paragraph", "cl": "clause"}
PREAMBLE = (
    "préambule preámbulo präambel preambolo preâmbulo preàmbul preambule preambuła преамбула преамбюл inledning "
    "indledning innledning johdanto mukadimah önsöz الديباجة คำปรารภ प्रस्तावना 序言 前言 前文 전문"
)
IDEOGRAPHIC = {
    "条": "article", "條": "article", "조": "article", "章": "chapter", "장": "chapter", "节": "section",
    "節": "section", "절": "section", "编": "book", "編": "book", "편": "book", "部分": "part", "部": "part",
    "부": "part", "款": "paragraph", "項": "paragraph", "项": "paragraph", "항": "paragraph",
}  # fmt: skip
SPELLED = "one two three four five six seven eight nine ten eleven twelve".split()
_FIRST_WORDS = "premier première primero primera primeiro primeira primo prima único única unique unico".split()
NUMERALS = "零〇一二三四五六七八九十百千"

_WORDS = {word: word for word in (*OUTER_WORDS, *INNER_WORDS)}
_WORDS |= {word: label for label, words in TRANSLATED.items() for word in words.split()}
_WORDS |= {unicodedata.normalize("NFD", word): label for word, label in _WORDS.items()}
_PREAMBLES = {"".join(filter(str.isalpha, word)) for word in PREAMBLE.split()}
_MARK = r"(?P<mark>\s*[.:)：．、]|\s*[–—-](?=\s))?"  # noqa: RUF001
_LABEL = re.compile(
    rf"(?P<word>(?i:{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?=\s)|§+"
    rf"|(?i:{'|'.join(ABBREVIATED)})\.(?=\s*\d))\s*(?P<number>\d+(?:\.\d+)*(?:[a-z]?|er|re|[ºª°])|[IVXLC]+|[A-Z]"
    rf"|[א-ת]{{1,3}}|(?i:{'|'.join([*SPELLED, *_FIRST_WORDS])}))(?=[\s.:)：．、–—-]|$){_MARK}\s*(?P<rest>.*)"  # noqa: RUF001
)
_NUMBER_FIRST = re.compile(
    rf"(?P<number>\d+)\.?\s*(?P<word>(?i:{'|'.join(NUMBER_FIRST)}))(?=[\s.:)–—-]|$){_MARK}\s*(?P<rest>.*)"  # noqa: RUF001
)
_DIVIDED = r"\s*[:：．.、]|(?=\s|[(（【][^)）】]{1,20}[)）】]|$)|(?<=[章节節编編篇分장절편])"  # noqa: RUF001
_IDEOGRAPHIC_LABEL = re.compile(
    rf"[第제]\s*(?P<number>\d+|[{NUMERALS}]{{1,9}})\s*(?P<word>{'|'.join(sorted(IDEOGRAPHIC, key=len, reverse=True))})"
    rf"(?P<inner>[之의の](?:\d+|[{NUMERALS}]{{1,9}}))?(?:{_DIVIDED})\s*(?P<rest>.*)"
)


@dataclass(frozen=True)
class SectionLabel:
    """What a heading is called before its name.

    Attributes:
        word: The label's word in English, or ``§``.
        number: In digits where its language spells it; Roman numerals and letters as they are.
        end: Offset behind the number.
        marked: Whether a mark, or in Chinese, Japanese and Korean a space, divides the label from what follows.
        rest: What follows.
    """

    word: str
    number: str
    end: int
    marked: bool
    rest: str

    @property
    def key(self) -> str:
        """The part of a clause id that the label gives."""
        return f"{'section' if self.word.startswith('§') else self.word}-{self.number.lower()}"


def read_section_label(text: str) -> SectionLabel | None:
    """Read the label with which a line begins; None where it begins with none.

    >>> [read_section_label(line).key for line in ("Article 14. Asylum", "Artículo 1.º Objeto", "§ 4", "第二十八条")]
    ['article-14', 'article-1', 'section-4', 'article-28']
    """
    if match := _IDEOGRAPHIC_LABEL.match(text):
        inner = f"-{to_digits(match['inner'][1:])}" if match["inner"] else ""
        end, rest = match.end("inner") if inner else match.end("word"), match["rest"]
        marked = bool(rest) and (end < match.start("rest") or rest[0] in "(（【")  # noqa: RUF001
        return SectionLabel(IDEOGRAPHIC[match["word"]], to_digits(match["number"]) + inner, end, marked, rest)
    if match := _NUMBER_FIRST.match(text):
        word, rest = NUMBER_FIRST[match["word"].lower()], match["rest"]
        marked = bool(match["mark"]) or (match["word"] == "§" and rest[:1].isupper())
        return SectionLabel(word, to_digits(match["number"]), match.end("word"), marked, rest)
    match = _LABEL.match(text)
    if match is None:
        return None
    said = match["word"].lower()
    word = ABBREVIATED[said[:-1]] if said.endswith(".") else _WORDS.get(said, said)
    number, rest, marked = match["number"], match["rest"], bool(match["mark"])
    if number.lower() in _FIRST_WORDS:
        number = "1"
    elif ordinal := re.fullmatch(r"(\d+)(?:er|re|[ºª°])", number):
        number, marked = to_digits(ordinal[1]), marked or (number[-1] in "ºª°" and rest[:1].isupper())
    elif number.isdecimal():
        number = to_digits(number)
    if marked and (ordinal := re.match(r"[ºª°](?=[\s.:)–—-]|$)[.:]?\s*", rest)):  # noqa: RUF001
        rest = rest[ordinal.end() :]
    return SectionLabel(word, number, match.end("number"), marked, rest)


def is_preamble(heading: str) -> bool:
    """Tell whether a heading calls its section a preamble, in another language than English."""
    return "".join(filter(str.isalpha, heading.lower())) in _PREAMBLES


def to_digits(number: str) -> str:
    """Return a Chinese number under ten thousand in digits, and digits of any script as ASCII ones.

    >>> to_digits("二百三十四"), to_digits("十"), to_digits("३")
    ('234', '10', '3')
    """
    if number.isdecimal():
        return "".join(str(unicodedata.decimal(digit)) for digit in number)
    total = digit = 0
    plain = ""
    for character in number:
        value = int(unicodedata.numeric(character))
        if value >= 10:
            total, digit = total + max(digit, 1) * value, 0
        else:
            plain, digit = f"{plain}{value}", value
    return str(total + digit) if total else str(int(plain))
