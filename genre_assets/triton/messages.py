"""Typed messages between the steps of the ensemble: frozen dataclasses that travel as JSON."""

import json
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Dataclass = DataclassInstance
else:
    Dataclass = object


class Message(Dataclass):
    """A dataclass of texts, numbers and tuples of them. While a release comes in, two steps may know other fields of it.

    So a value that is the field's default is left out, and a field that the reader does not know is passed over.
    """

    def encode(self) -> bytes:
        """As JSON."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return json.dumps({n: v for n, v in values.items() if v != self.defaults().get(n, MISSING)}).encode()

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """From JSON. Raises `ValueError` for what is no message of this kind."""
        said = json.loads(text)
        if not isinstance(said, dict):
            raise ValueError(f"no {cls.__name__}: {text[:80]!r}")  # noqa: TRY004  # as of what is no JSON
        known = {one.name: _tupled(said[one.name]) for one in fields(cls) if one.name in said}
        missing = [one.name for one in fields(cls) if one.name not in known and one.name not in cls.defaults()]
        if missing:
            raise ValueError(f"a {cls.__name__} without {', '.join(missing)}: {text[:80]!r}")
        return cls(**known)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """What the fields are of which nothing is said."""
        return {one.name: one.default for one in fields(cls) if one.default is not MISSING}


def _tupled(value: Any) -> Any:
    """JSON has lists only; a frozen dataclass has tuples."""
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
