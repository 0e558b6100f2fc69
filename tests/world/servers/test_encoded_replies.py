"""Replies that a server or a proxy compresses."""

from __future__ import annotations

import pytest
from odd_server import QUESTION
from odd_servers import Face, bodies, one

from valign.core.errors import ValignError
from valign.generation.requests import Completion


@pytest.mark.parametrize("face", ["gzip", "deflate"])
def test_compressed_replies_are_read(odd: Face, face: str) -> None:
    assert one(odd(face)) == Completion(QUESTION, 9, True)
    assert len(bodies(odd(face))) == 1


def test_the_words_of_a_compressed_refusal_are_read(odd: Face) -> None:
    """A refused parameter is left out; another refusal is shown."""
    assert one(odd("gzip-refuses")).text == QUESTION
    assert ["seed" in body for body in bodies(odd("gzip-refuses"))] == [True, False]
    with pytest.raises(ValignError, match=r"answered with status 400 \(The model is in a bad mood\)"):
        one(odd("gzip-wrong"))


@pytest.mark.parametrize(
    ("face", "words"),
    [
        ("gzip-unsaid", r"answered without a completion \(gzip, which no Content-Encoding says\); is it an OpenAI-"),
        (
            "gzip-false",
            r"sends a reply that is not compressed as its Content-Encoding says; check that the server runs",
        ),
        ("gzip-cut", r"answered without a completion \(\{\"object\": \"chat\.completion\""),
    ],
)
def test_what_cannot_be_unpacked_is_one_line(odd: Face, face: str, words: str) -> None:
    """After a second attempt."""
    with pytest.raises(ValignError, match=words) as caught:
        one(odd(face))
    assert "\n" not in str(caught.value)
    assert len(bodies(odd(face))) == 2
