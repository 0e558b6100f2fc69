"""The reference of every config key: values and meanings from ``conf/``, types and limits from the schema."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
LONGEST = 60  # characters of a value in the tables
KEY = re.compile(r"^( *)([A-Za-z_]\w*):(?: +(.*))?$")
WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null", Any: "anything"}
SIGNS = {"above": ">", "at_least": "≥", "below": "<", "at_most": "≤"}
SETTINGS = "settings of a teacher"


@dataclass(frozen=True)
class Entry:
    """A key in a YAML file: its value as it stands there, and the comment behind it."""

    value: str
    comment: str


@dataclass(frozen=True)
class Key:
    """A key of the schema: its dotted name, its type in words, and its default where no file gives one."""

    name: str
    kind: str
    default: str


def page() -> str:
    """Return the page in Markdown."""
    schemas = schema_module().SCHEMAS
    parts = [
        "# Config keys\n",
        "Made from the files in `conf/` and from the schema when these pages are built. A key is set on the command "
        "line as `key=value`, an option of a group as `group=option`, an experiment as `+experiment=NAME`. "
        "`--cfg job` shows what a command would use. `???` has to be given.\n",
        *training(schemas["config"]),
        *experiments(),
        "## Other commands\n",
    ]
    for name in sorted(set(schemas) - {"config"}):
        entries = read(CONF / f"{name}.yaml")
        parts += [f"### valign.{name}\n", *heading(CONF / f"{name}.yaml")]
        found = list(keys(schemas[name]))
        own = [key for key in found if key.name in entries or not (CONF / key.name.split(".")[0]).is_dir()]
        parts += [table(own, {"": entries}, f"{name}.")]
        parts += [f"And the keys of [{group}](#{group}).\n" for group in groups(found, own)]
    return "\n".join(parts)


def groups(found: list[Key], own: list[Key]) -> list[str]:
    """Return the groups of which no key is among a command's own, because they have options and a section."""
    names = dict.fromkeys(key.name.split(".")[0] for key in found)
    return [name for name in names if not any(key.name.split(".")[0] == name for key in own)]


def schema_module() -> Any:
    """Import the schema from this repository."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module("valign.config.schema")


def training(schema: type) -> Iterator[str]:
    """Yield what ``valign.train`` and ``valign.synthesize`` read: plain keys, then one section for each group."""
    own, found = read(CONF / "config.yaml"), list(keys(schema))
    plain = [key for key in found if "." not in key.name and key.kind]
    yield "## valign.train and valign.synthesize\n"
    yield table(plain, {"": own}, "")
    for group in (key.name for key in found if "." not in key.name and not key.kind):
        inside = [key for key in found if key.name.startswith(f"{group}.")]
        options = sorted((CONF / group).glob("*.yaml"))
        yield f"### {group}\n"
        if options:
            yield option_table(group, options)
            yield table(inside, {file.stem: prefixed(read(file), group) for file in options}, "")
        else:
            yield from sections(inside, own, group)


def sections(inside: list[Key], entries: Mapping[str, Entry], group: str) -> Iterator[str]:
    """Yield a group's own keys, then those of each group inside it."""
    inner = [key.name for key in inside if not key.kind]
    yield table([key for key in inside if key.kind and key.name.rpartition(".")[0] == group], {"": entries}, "")
    for name in inner:
        meaning = entries[name].comment if name in entries else ""
        yield f"#### {name}\n\n{sentence(meaning)}\n"
        yield table([key for key in inside if key.kind and key.name.rpartition(".")[0] == name], {"": entries}, "")


def experiments() -> Iterator[str]:
    """Yield the table of experiments, and the keys of the SLURM launcher."""
    yield "### experiment\n\nEach changes other groups and keys; its file in `conf/experiment/` says which.\n"
    yield "| experiment | what it is | command |\n| --- | --- | --- |"
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        lines = header(file)
        commands = [row for row in lines if re.match(r"(python|sbatch|srun|vllm) ", row)]
        meaning = re.sub(" (?=(?:sft|dpo): )", "<br>", cell(" ".join(row for row in lines if row not in commands)))
        yield f"| `{file.stem}` | {meaning} | {'<br>'.join(code(c) for c in map(shortened, commands))} |"
    launcher = CONF / "hydra/launcher/slurm.yaml"
    yield "\n### hydra/launcher=slurm\n"
    yield from heading(launcher)
    rows = {f"hydra.launcher.{name}": entry for name, entry in read(launcher).items()}
    yield table([Key(name, " ", "") for name in rows], {"": rows}, "")


def shortened(command: str) -> str:
    """Return a command without the remark behind it."""
    return re.sub(r" {2,}\(.*\)$", "", command)


def keys(schema: type, before: str = "") -> Iterator[Key]:
    """Yield the keys of a schema in their order; a group comes before what is in it and has no type."""
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name, hint = before + field.name, hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield Key(name, "", "")
            yield from keys(typing.cast(type, hint), f"{name}.")
        else:
            yield Key(name, kind(hint, field.metadata), default(field))


def default(field: dataclasses.Field[Any]) -> str:
    """Return the schema's default of a field, nothing where the files have to give one."""
    if field.default_factory is not dataclasses.MISSING:
        return str(field.default_factory())
    if field.default is dataclasses.MISSING or field.default == "???":
        return ""
    return {None: "null", True: "true", False: "false"}.get(field.default, str(field.default))


def kind(hint: Any, limits: Mapping[str, Any]) -> str:
    """Return a type and its limits in words.

    >>> kind(float | None, {"above": 0, "at_most": 1})
    'number > 0, ≤ 1, or null'
    """
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    named = [word(part) for part in parts if part is not type(None)]
    if choices := limits.get("choices"):
        named = [("list of " if named[0].startswith("list") else "") + ", ".join(f"`{choice}`" for choice in choices)]
    bounds = ", ".join(f"{SIGNS[limit]} {value}" for limit, value in limits.items() if limit in SIGNS)
    text = " or ".join(named) + (f" {bounds}" if bounds else "")
    return text + (", or null" if type(None) in parts else "")


def word(hint: Any) -> str:
    """Return the name of a type in words."""
    if dataclasses.is_dataclass(hint):
        return SETTINGS
    origin = typing.get_origin(hint)
    if origin is list:
        return f"list of {word(typing.get_args(hint)[0])}s"
    return "mapping" if origin is dict else WORDS.get(hint, str(hint))


def read(file: Path) -> dict[str, Entry]:
    """Return the keys of a YAML file in dotted form, without Hydra's own, with values and comments as they stand.

    Only the forms that ``conf/`` uses are read: two spaces of indentation, a comment behind two spaces, lists in one
    line or one item a line.
    """
    entries: dict[str, Entry] = {}
    path: list[str] = []
    for row in file.read_text(encoding="utf-8").splitlines():
        if found := KEY.match(row):
            depth = len(found[1]) // 2
            path = [*path[:depth], found[2]]
            value, _, comment = f" {found[3] or ''}".partition(" # ")
            entries[".".join(path)] = Entry(value.strip(), comment.strip())
        elif path and (item := re.match(r" *- (.*?)(?:  # .*)?$", row)):
            name = ".".join(path)
            before = entries[name].value.strip("[]")
            listed = f"[{before}, {item[1]}]" if before else f"[{item[1]}]"
            entries[name] = Entry(listed, entries[name].comment)
    return {name: entry for name, entry in entries.items() if name.split(".")[0] not in ("hydra", "defaults")}


def prefixed(entries: Mapping[str, Entry], group: str) -> dict[str, Entry]:
    """Put a group's name before the keys of one of its files."""
    return {f"{group}.{name}": entry for name, entry in entries.items()}


def header(file: Path) -> list[str]:
    """Return the comment lines at the top of a file."""
    lines = []
    for row in file.read_text(encoding="utf-8").splitlines():
        if not row.startswith("#"):
            break
        lines.append(row[1:].strip())
    return [row for row in lines if not row.startswith("@package")]


def heading(file: Path) -> Iterator[str]:
    """Yield a file's first command as code, and its comment."""
    command, *rest = header(file)
    text = re.sub(r" ?Types: [^ ]*\.py\.", "", " ".join(rest))
    yield f"```sh\n{command}\n```\n\n{text}\n"


def option_table(group: str, options: list[Path]) -> str:
    """Return the table of a group's options with what their files say of them."""
    rows = [f"| `{group}={file.stem}` | {cell(' '.join(header(file)))} |" for file in options]
    return "\n".join(["| option | what it is |", "| --- | --- |", *rows, ""])


def table(found: list[Key], files: Mapping[str, Mapping[str, Entry]], anchor: str) -> str:
    """Return the table of some keys.

    Args:
        found: The keys; groups among them are left out.
        files: The entries of each option's file; one without a name where there are no options.
        anchor: What comes before the key in its anchor.
    """
    rows = []
    for key in [*found, *unknown(found, files)]:
        if not key.kind:
            continue
        given = {option: entries[key.name] for option, entries in files.items() if key.name in entries}
        meanings = dict.fromkeys(entry.comment for entry in given.values() if entry.comment)
        name = f'<code id="{anchor}{key.name}">{key.name}</code>'
        rows.append(f"| {name} | {value(given, key)} | {cell(key.kind)} | {cell(' · '.join(meanings))} |")
    if not rows:
        return ""
    return "\n".join(["| key | value | type | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def unknown(found: list[Key], files: Mapping[str, Mapping[str, Entry]]) -> list[Key]:
    """Return keys below a mapping, such as DeepSpeed's own, which the schema does not name one by one."""
    mappings = tuple(f"{key.name}." for key in found if key.kind.startswith("mapping"))
    given = ((name, entry) for entries in files.values() for name, entry in entries.items())
    names = dict.fromkeys(name for name, entry in given if mappings and name.startswith(mappings) and entry.value)
    return [Key(name, " ", "") for name in names]


def value(given: Mapping[str, Entry], key: Key) -> str:
    """Return the value of a key, for each option where they differ, or the schema's default."""
    values = {option: entry.value for option, entry in given.items() if entry.value}
    if not values:
        return code(key.default)
    if len(set(values.values())) == 1:
        return code(next(iter(values.values())))
    return "<br>".join(
        f"{code(text)}: {', '.join(option for option, other in values.items() if other == text)}"
        for text in dict.fromkeys(values.values())
    )


def code(text: str) -> str:
    """Return a value as code, a long list by its length."""
    if len(text) > LONGEST and text.startswith("["):
        return f"{text.count(',') + 1} items"
    text = text.replace("|", "\\|")
    return f"`{text}`" if text else ""


def cell(text: str) -> str:
    """Return text that can stand in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def sentence(text: str) -> str:
    """Return text with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def undocumented() -> list[str]:
    """Return the keys that no file in ``conf/`` says anything about."""
    missing = re.findall(r'^\| <code id="[^"]*">([^<]*)</code> .*\|  \|$', page(), re.MULTILINE)
    return [name for name in missing if not name.startswith("hydra.")]
