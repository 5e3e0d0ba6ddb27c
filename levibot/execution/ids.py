"""Client order ids: who made the order, and which of theirs it is; encoded, so that they can be read back."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from levibot.bus.messages import Role

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_GENERATION_LENGTH = 8
_CODES: dict[Role, str] = {"entry": "E", "exit": "X", "stop": "S", "take_profit": "T", "emergency": "M"}
_ROLES: dict[str, Role] = {code: role for role, code in _CODES.items()}
_VALID = re.compile(r"[A-Za-z0-9-]{1,32}")
_OURS = re.compile(r"([A-Za-z0-9]{4})-([0-9a-z]{8})-([0-9a-z]{1,12})-([EXSTM])")


@dataclass(frozen=True)
class ClientId:
    """Parts of a client order id.

    Attributes
    ----------
    instance
        Four characters that name the state directory.
    generation
        Random, made with the ledger: a new or restored ledger counts anew under another one.
    sequence
        Grows with each order of the generation.
    role
        What the order is for.
    """

    instance: str
    generation: str
    sequence: int
    role: Role

    def __str__(self) -> str:
        return f"{self.instance}-{self.generation}-{_base36(self.sequence)}-{_CODES[self.role]}"

    @classmethod
    def parse(cls, text: str) -> ClientId | None:
        """Parts of `text`, or None if it is not an id of this form."""
        match = _OURS.fullmatch(text)
        if match is None:
            return None
        return cls(match[1], match[2], int(match[3], 36), _ROLES[match[4]])


def is_valid(client_id: str) -> bool:
    """Tell whether exchanges take this text as a client order id."""
    return _VALID.fullmatch(client_id) is not None


def new_generation() -> str:
    """A random name for a new ledger."""
    return "".join(secrets.choice(_DIGITS) for _ in range(_GENERATION_LENGTH))


def _base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text
