"""The names of a document, to exchange one for another that a text does not have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Names(Sequence[str]):
    """Names in order, without repetition; those that a text lacks are found by reading the text, not all names."""

    def __init__(self, names: Iterable[str]) -> None:
        """Note each name's place."""
        self._names = list(dict.fromkeys(names))
        self._places = {name: i for i, name in enumerate(self._names)}
        self._lengths = sorted({len(name) for name in self._names})

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        """Return the name at a place."""
        return self._names[index]

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Tell whether this is one of the names."""
        return name in self._places

    def outside(self, text: str, without: Iterable[str] = ()) -> Sequence[str]:
        """Return the names, in order, that do not occur in a text, without some more."""
        found = {text[i : i + n] for i in range(len(text)) for n in self._lengths if text[i : i + n] in self._places}
        return _Rest(self._names, sorted(self._places[name] for name in {*found, *without} if name in self._places))


class _Rest(Sequence[str]):
    """A list without some of its places."""

    def __init__(self, names: list[str], gone: list[int]) -> None:
        self.names, self.gone = names, gone

    def __len__(self) -> int:
        return len(self.names) - len(self.gone)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        for place in self.gone:
            index += place <= index
        return self.names[index]
