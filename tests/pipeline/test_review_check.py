"""Nothing is trained before people have read what the settings ask for; a decision that is new makes a run anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.cli.main import config_folder
from valign.config.run_identity import result_settings
from valign.core.errors import ValignError
from valign.core.files import to_dict, write_json, write_jsonl
from valign.pipeline.context import Context
from valign.pipeline.review_check import require_review
from valign.pipeline.run import state_of
from valign.synthesis.apply_review import fingerprint
from valign.synthesis.decisions import Decision, settle

Compose = Callable[..., DictConfig]
COUNTS = {"rows": 200, "read": 0, "kept": 0, "edited": 0, "dropped": 0, "added": 0, "refused": {}}


def data(folder: Path, read: int | None) -> Path:
    """Write the funnel of 200 rows and 100 pairs, some of which were read."""
    sets = {"D_sft": {**COUNTS, "read": read}, "D_pref": {**COUNTS, "rows": 100}}
    review = {} if read is None else {"review": {"file": "review.jsonl", "sets": sets, "reviewers": {}, "stale": 0}}
    write_json(folder / "funnel.json", {"sft": {"kept": 200}, "preference": {"kept": 100}, **review})
    return folder


def test_too_few_rows_read_is_one_line_with_the_command_to_type(compose_config: Compose, tmp_path: Path) -> None:
    context = Context.of(compose_config("synthesis.require_review=0.2"))
    folder = tmp_path / "data"
    with pytest.raises(ValignError) as unread:
        require_review(context, data(folder, None))
    assert str(unread.value) == (
        "synthesis.require_review=0.2: people have read 0 of 300 rows for training, and 60 are needed; read more with "
        f"python -m valign.review artifact={folder} reviewer=NAME, then run this command with synthesis.review={folder}"
        "/review.jsonl."
    )
    with pytest.raises(ValignError, match="people have read 59 of 300 rows for training, and 60 are needed"):
        require_review(context, data(folder, 59))
    (folder / "review.jsonl").write_text("")
    with pytest.raises(ValignError) as unapplied:
        require_review(context, data(folder, None))
    assert str(unapplied.value).endswith(
        "60 are needed; what was decided beside the data does not count before it is applied: run this command with "
        f"synthesis.review={folder}/review.jsonl."
    )
    require_review(context, data(folder, 60))
    require_review(Context.of(compose_config()), data(folder, None))
    require_review(Context.of(compose_config("synthesis.require_review=0.2", "recipe=rag")), data(folder, None))
    own = tmp_path / "own.jsonl"
    own.write_text("")
    context = Context.of(compose_config("synthesis.require_review=1", f"synthesis.review={own}"))
    with pytest.raises(ValignError, match=r"300 are needed; read more with .*, then run this command again"):
        require_review(context, data(folder, 299))


def test_another_decision_is_another_result_and_what_is_required_is_none(
    compose_config: Compose, tmp_path: Path
) -> None:
    file, rows = tmp_path / "review.jsonl", tmp_path / "rows.jsonl"
    row = '{"clause": "saltmarsh/section-1", "question": "Why?", "answer": "So."}\n'
    line = Decision("keep", "k", "ann", "2026-11-29T00:00:00.000000+00:00", "d1", "D_sft", "d/1")
    write_jsonl(file, [line])
    rows.write_text(row)
    chosen = ("document=saltmarsh", f"synthesis.review={file}", f"synthesis.rows={rows}")
    first = state_of(Context.of(compose_config(*chosen)))
    assert state_of(Context.of(compose_config(*chosen, "synthesis.require_review=0.5"))) == first
    rows.write_text(row * 2)
    other = state_of(Context.of(compose_config(*chosen)))
    rows.write_text(row)
    write_jsonl(file, [line, Decision("drop", "k", "ann", "2027", "d2", "D_sft", "d/1")])
    assert len({first, other, state_of(Context.of(compose_config(*chosen)))}) == 3
    noted = Context.of(compose_config("synthesis.require_review=0.5")).noted
    assert noted["synthesis"]["require_review"] == 0.5
    assert "require_review" not in result_settings(noted)["synthesis"]


def test_data_go_by_what_decisions_come_to() -> None:
    """Neither the order of lines nor what was undone makes other data; who decided does, as it is noted in them."""
    one = Decision("keep", "k", "ann", "2026-11-29T00:00:00.000000+00:00", "d1", "D_sft", "d/1")
    two = Decision("drop", "j", "bob", "2026-11-29T00:00:01.000000+00:00", "d2", "D_sft", "d/1")
    undo = Decision("undo", "j", "bob", "2026-11-29T00:00:02.000000+00:00", "d3", of="d2")
    assert fingerprint(settle([one, two])) == fingerprint(settle([two, one]))
    assert fingerprint(settle([one, two, undo])) == fingerprint(settle([one])) != fingerprint(settle([one, two]))
    other = Decision(**{**to_dict(one), "reviewer": "bob"})
    assert fingerprint(settle([other])) != fingerprint(settle([one]))


def test_the_reviews_config_needs_a_run_or_data(compose_config: Compose, tmp_path: Path) -> None:
    from valign.config.checks import check_config

    assert (config_folder() / "review.yaml").is_file()
    with pytest.raises(ValignError, match=r"run and artifact are missing; .* python -m valign\.review run="):
        check_config(compose_config(name="review"))
    with pytest.raises(ValignError, match="exclude each other"):
        check_config(compose_config("run=a", "artifact=b", name="review"))
    with pytest.raises(ValignError, match=r"synthesis\.review=gone\.jsonl does not exist"):
        check_config(compose_config("synthesis.review=gone.jsonl"))
