"""What a card says of a base model: its name without a path, its weights, and its licence from its own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from valign.models.identity import DIGEST
from valign.models.terms import describe_base, short_name, terms_files

APACHE = "                                 Apache License\n                           Version 2.0, January 2004\n"
MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person"


def base(folder: Path, **files: str) -> Path:
    """Write a model's folder with some files beside its weights."""
    folder.mkdir(parents=True)
    for name, text in {DIGEST: "0123456789ab\n", **files}.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "license"),
    [
        (APACHE, "apache-2.0"),
        (MIT, "mit"),
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "llama3.1"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
        ("LLAMA 2 COMMUNITY LICENSE AGREEMENT", "llama2"),
        ("Gemma Terms of Use\n\nLast modified", "gemma"),
        ("Redistribution and use in source and binary forms, with or without", "bsd-2-clause"),
        ("Terms of our own", "other"),
    ],
)
def test_a_licence_is_known_by_its_words(text: str, license: str, tmp_path: Path) -> None:
    found = describe_base("my-model", base(tmp_path / "my-model", LICENSE=text, NOTICE="Copyright"))
    assert (found.name, found.version, found.license) == ("my-model", "0123456789ab", license)
    assert found.terms == ("LICENSE", "NOTICE")
    assert found.license_name == ("LICENSE" if license == "other" else "")


def test_the_models_own_card_comes_first_and_a_damaged_one_does_not_count(tmp_path: Path) -> None:
    """A licence there is a name of the hub; what is none, or is not YAML, is left to the licence's text."""
    own = base(tmp_path / "a", README__md="---\nlicense: other\nlicense_name: own-terms\n---\nText", LICENSE=APACHE)
    assert (describe_base("a", own).license, describe_base("a", own).license_name) == ("other", "own-terms")
    for i, front in enumerate(("license: [a, b]", "license: 'Evil\nlicence'", "license: {", "- list", "")):
        folder = base(tmp_path / f"b{i}", README__md=f"---\n{front}\n---\n", LICENSE=MIT)
        assert describe_base("b", folder).license == "mit", front
    assert describe_base("c", base(tmp_path / "c")).license == "unknown"


def test_a_name_has_no_path(tmp_path: Path) -> None:
    folder = base(tmp_path / "deep" / "mine")
    assert describe_base(str(folder), folder).name == "mine"
    names = ("owner/name", "name", "embedded:smollm2-135m", "/a/b/c", "~/c/", "./c", "a/b/c", "C:\\a\\c")
    assert [short_name(name) for name in names] == ["owner/name", "name", "smollm2-135m", *["c"] * 5]


def test_nothing_is_fetched_for_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were fetched before are read; without them nothing is known, and no request is sent."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("fetched"))
    assert describe_base("owner/never-seen", "owner/never-seen").license == "unknown"
    assert terms_files("no id at all!") == []
    cached = base(tmp_path / "snapshot", LICENSE=APACHE, config__json="{}")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(cached / "config.json"))
    found = describe_base("owner/name", "owner/name")
    assert (found.name, found.version, found.license, found.terms) == ("owner/name", "", "apache-2.0", ("LICENSE",))


def test_weights_from_a_package_are_named_after_their_origin(tmp_path: Path) -> None:
    """The licence is that of the package, whose files lie elsewhere; a folder of that name alone is not enough."""
    folder = base(tmp_path / "smollm2-135m-0.1.2")
    found = describe_base("embedded:smollm2-135m", folder)
    assert (found.name, found.license) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert found.terms == ("LICENSE",) and "four bits" in found.note
    (folder / DIGEST).unlink()
    assert terms_files(folder) == []
