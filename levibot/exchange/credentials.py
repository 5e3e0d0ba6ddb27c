"""The key to an account: where it comes from, and that nobody sees it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_FINGERPRINT_LENGTH = 12


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """Key, secret and, where the exchange wants one, password. Its text holds none of them."""

    key: str
    secret: str
    password: str = ""

    @property
    def fingerprint(self) -> str:
        """Names the key without telling it."""
        return hashlib.sha256(f"levibot {self.key}".encode()).hexdigest()[:_FINGERPRINT_LENGTH]

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that must be in no text."""
        return tuple(text for text in (self.secret, self.password, self.key) if text)

    def __repr__(self) -> str:
        return f"key {self.fingerprint}"
