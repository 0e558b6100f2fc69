"""Reading which of some letters a judge's reply names."""

from __future__ import annotations

import re

from valign.teachers.json_replies import read_object


def find_letters(reply: str, key: str, letters: str) -> list[str] | None:
    """Return which of some letters a reply names, in its order; an empty list for none, None where it says nothing.

    The letters stand under ``key`` of a JSON object, as a list or as one text. Failing that, the first word of the
    reply counts, if it is one of the letters or "none", and then single letters in brackets or behind "clause".

    >>> find_letters('{"decides": ["B", "A"]}', "decides", "ABC"), find_letters("B. It says so.", "decides", "ABC")
    (['B', 'A'], ['B'])
    >>> find_letters("None of them.", "decides", "ABC"), find_letters("Well, I think so.", "decides", "ABC")
    ([], None)
    """
    data = read_object(reply, [key])
    if data is not None:
        value = data.get(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        named = [word for item in items if isinstance(item, str) for word in re.findall(r"\w+", item.upper())]
        found = list(dict.fromkeys(word for word in named if word in letters and len(word) == 1))
        said_none = not items or any(word in ("NONE", "NEITHER", "NO") for word in named)
        return found if found or said_none else None
    first = re.match(rf"\W*(?:(none|neither)\b|([{letters}])(?![\w']))(.?)", reply.strip(), re.I)
    if first and first.group(1):
        return []
    if first and (first.group(3) or " ") in " .,:;)\n\"'" and not re.match(r"\W*a [a-z]", reply.strip(), re.I):
        return [first.group(2).upper()]
    named = re.findall(rf"(?:\bclauses? |\()([{letters}])\b", reply)
    return list(dict.fromkeys(named)) or None
