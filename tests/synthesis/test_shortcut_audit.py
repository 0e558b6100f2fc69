"""The shortcut audit on hand-made pairs whose answer is known."""

from __future__ import annotations

import random

from valign.core.records import Preference, Provenance
from valign.synthesis.shortcut_audit import audit_lines, audit_shortcuts

ORIGIN = Provenance("words", 0, 5, "frame/claim", "hash", "valign", {})
WORDS = "lamp oil pier gate goose fog helmet purser oar rope tide bell".split()


def pair(i: int, chosen: str, rejected: str, kind: str = "edit", clauses: int = 10) -> Preference:
    """Return pair i on one of the clauses, in turn."""
    return Preference(f"p{i}", (f"d/{i % clauses}",), "situation", f"Question {i}?", chosen, rejected, kind, ORIGIN)


def drawn(source: random.Random, length: int = 6) -> str:
    return " ".join(source.choice(WORDS) for _ in range(length))


def test_answers_from_one_distribution_are_told_by_chance() -> None:
    """Both answers are six words drawn alike, so nothing but chance is left: 400 answers, 0.5 give or take 0.1."""
    source = random.Random(1)
    report = audit_shortcuts([pair(i, drawn(source), drawn(source)) for i in range(200)])
    assert 0.4 < report["auc"] < 0.6
    assert report["length_auc"] == 0.5
    assert (report["cause"], report["longer"], report["folds_by"]) == ("", "neither", "clause")


def test_a_tell_tale_word_is_found_and_named() -> None:
    """Each rejected answer, and no other, says "actually", so every held-out pair is told apart."""
    source = random.Random(2)
    pairs = [pair(i, drawn(source, 7), f"actually {drawn(source)}") for i in range(60)]
    report = audit_shortcuts(pairs)
    assert report["auc"] == 1.0
    assert report["length_auc"] == 0.5
    assert report["words"]["rejected"][0] == "actually"
    assert "rejected answers have: actually" in report["cause"]
    assert "longer" not in report["cause"]
    assert "AUC 1.00, of the length alone 0.50 (edit 1.00)" in audit_lines(report)[0]
    assert "synthesis.preferences.rejected" in audit_lines(report)[1]


def test_length_is_named_as_the_cause() -> None:
    """Rejected answers have twelve words of the same kind, chosen ones six."""
    source = random.Random(3)
    report = audit_shortcuts([pair(i, drawn(source), drawn(source, 12)) for i in range(60)])
    assert (report["length_auc"], report["longer"]) == (1.0, "rejected")
    assert "the rejected answers are longer" in report["cause"]


def test_each_kind_has_its_own_figure() -> None:
    """Half of the pairs have a tell-tale word, half have answers with the same words; a third kind has one pair."""
    source = random.Random(4)
    pairs = [pair(i, drawn(source), f"hm {drawn(source, 5)}", "base") for i in range(40)]
    for i in range(40, 80):
        words = drawn(source).split()
        pairs.append(pair(i, " ".join(words), " ".join(reversed(words)), "edit"))
    pairs.append(pair(80, drawn(source), drawn(source), "clause"))
    report = audit_shortcuts(pairs)
    assert report["kinds"] == {"base": 1.0, "clause": None, "edit": 0.5}
    assert 0.5 < report["auc"] < 1.0


def test_clauses_stay_together() -> None:
    """Each clause's chosen answers share a word that no other clause has: nothing of it helps with another clause."""
    pairs = [pair(i, f"word{i % 10} stays", f"other{i % 10} stays") for i in range(50)]
    assert audit_shortcuts(pairs)["auc"] == 0.5


def test_too_few_pairs_have_no_figure_but_a_reason() -> None:
    few = audit_shortcuts([pair(i, "nine days", "ten days") for i in range(19)])
    assert few["auc"] is None
    assert few["reason"] == "19 pairs are too few, 20 are needed"
    assert audit_lines(few) == ["    shortcut audit: not measured, 19 pairs are too few, 20 are needed"]
    same = [pair(0, "nine days", "ten days")] * 20
    assert audit_shortcuts(same)["reason"] == "1 situations are too few, 5 are needed"


def test_situations_stay_together_where_clauses_are_few() -> None:
    report = audit_shortcuts([pair(i, "nine days", "actually ten days", clauses=2) for i in range(20)])
    assert (report["folds_by"], report["auc"]) == ("situation", 1.0)


def test_the_same_pairs_give_the_same_report() -> None:
    source = random.Random(5)
    pairs = [pair(i, drawn(source), drawn(source)) for i in range(40)]
    assert audit_shortcuts(pairs) == audit_shortcuts(pairs)
