"""Text and Markdown are read in time that grows with their length, whatever stands in them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from valign.core.errors import ValignError
from valign.documents.read import parse_document

CLAUSES: dict[str, Callable[[int], str]] = {
    "named": lambda k: f"## {k + 1}. Rule on gifts\n\nAt most {k} *marks* from [one giver](http://x.org/{k}).\n",
    "alike": lambda k: f"## Rule\n\nAt most {k} marks.\n",
    "lists": lambda k: f"You must do this:\n\n1. Take {k} marks\n\n2. Or more.\n",
    "notes": lambda k: f"## R{k}\n\nAt most {k} marks[^{k}].\n\n[^{k}]: Net {k}.\n",
}
LONG: dict[str, Callable[[int], str]] = {
    "spaces in a heading": lambda n: f"# a{' ' * n}b\n\nBe kind.\n",
    "underscores in a heading": lambda n: f"# a{'_' * n}b\n\nBe kind.\n",
    "spaces before braces": lambda n: f"# a {'{#a ' * (n // 4)}\n\nBe kind.\n",
    "attributes without an end": lambda n: f"# a {{{'#a ' * (n // 3)}\n\nBe kind.\n",
    "blank lines": lambda n: f"{'word ' * 400}{chr(10) * n}{'word ' * 400}\n",
    "fences": lambda n: " ```\n" * (n // 5) + "Be kind.\n",
    "brackets": lambda n: "[" * (n // 8) + "x\n",
    "open links": lambda n: "[a](<b" * (n // 6) + "x\n",
    "emphasis": lambda n: "*a _b " * (n // 6) + "x\n",
    "open tags": lambda n: "a <b c='" * (n // 8) + "x\n",
    "open comments": lambda n: "a <!--" * (n // 6) + "x\n",
    "tags": lambda n: "<b>" * (n // 3) + "x\n",
    "code": lambda n: f"```\na{' ' * n}b\n```\n",
    "superscripts": lambda n: "a^" * (n // 16) + "x\n",
    "tildes": lambda n: "~a " * (n // 3) + "x\n",
    "front matter": lambda n: "---\n" + "a: b\n" * (n // 50) + "---\nBe kind.\n",
}


def seconds(text: str, suffix: str) -> float:
    start = time.process_time()
    try:
        parse_document(text.encode(), "x", suffix=suffix)
    except ValignError as error:
        assert "nested" in str(error)
    return time.process_time() - start


@pytest.mark.parametrize("suffix", ["md", "txt"])
@pytest.mark.parametrize("kind", CLAUSES)
def test_four_times_the_clauses_take_about_four_times_as_long(kind: str, suffix: str) -> None:
    """What is quadratic takes 16 times as long; half a second is allowed for chance."""
    few, many = ("\n".join(CLAUSES[kind](k) for k in range(count)) for count in (500, 2000))
    seconds(few[:2000], suffix)
    assert min(seconds(many, suffix), seconds(many, suffix)) < 8 * seconds(few, suffix) + 0.5


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["md", "txt"])
@pytest.mark.parametrize("kind", ["named", "alike"])
def test_twenty_thousand_clauses(kind: str, suffix: str) -> None:
    sizes = {}
    for count in (5_000, 20_000):
        text = "# Code\n\n" + "\n".join(CLAUSES[kind](k) for k in range(count))
        sizes[count] = seconds(text, suffix)
        assert len(parse_document(text.encode(), "x", suffix=suffix).passages) == count
    assert sizes[20_000] < 8 * sizes[5_000] + 1


@pytest.mark.parametrize("suffix", ["md", "txt"])
@pytest.mark.parametrize("kind", LONG)
def test_no_run_of_characters_takes_more_than_its_share(kind: str, suffix: str) -> None:
    """20,000 characters take milliseconds; what was quadratic took 3 to 20 s."""
    assert seconds(LONG[kind](20_000), suffix) < 2.5
