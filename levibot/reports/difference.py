"""What an audit finds wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not agree.

    Attributes
    ----------
    where
        File.
    name
        ``unreadable``, ``pages``, ``sequence``, ``checksum``, ``order``, ``fill``, ``cash``, ``balance``,
        ``position``, ``conservation``, ``history`` or ``equity``.
    detail
        What was found and what was expected.
    """

    where: str
    name: str
    detail: str
