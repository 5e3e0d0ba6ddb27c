"""Whether the record of equity is what the broker's events and its own marks make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from levibot.equity.document import equity_reader
from levibot.equity.journal import FILE
from levibot.equity.rows import VALUES, symbol_of, valuation_of
from levibot.equity.valuation import SymbolValue, Valuation, unmarked, value
from levibot.errors import LeviBotError
from levibot.execution.reader import StoreReader
from levibot.reports.difference import Difference
from levibot.reports.tally import AccountTally

_SHOWN = 3
_NAMES = ("equity", "cash", "funds", "realized", "unrealized", "fees", "funding")


@dataclass(frozen=True, slots=True)
class _Stored:
    what: str
    valuation: Valuation
    day: int | None


class EquityAudit:
    """Follows the audit of the broker's events, and reckons each stored valuation again where it was made.

    It is opened before the broker's books, so that the broker knows every event that is counted in here.

    Parameters
    ----------
    state_dir
        Folder of the record; one that is missing is nothing wrong.
    """

    def __init__(self, state_dir: Path) -> None:
        self.differences: list[Difference] = []
        self.checked: dict[str, str] = {}
        self._reader: StoreReader | None = None
        self._days: dict[int, dict[str, SymbolValue]] = {}
        self._waiting: list[_Stored] = []
        self._compared = self._older = 0
        try:
            self._reader = equity_reader(state_dir) if (state_dir / FILE).exists() else None
        except LeviBotError as error:
            self.differences.append(Difference(FILE, "unreadable", str(error)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.__exit__(kind, error, trace)

    def begin(self, generation: str) -> None:
        """Read what was stored over the broker's present database; what was before it cannot be reckoned again."""
        if self._reader is None:
            return
        try:
            self.differences += [Difference(FILE, "pages", found) for found in self._reader.damage()]
            stored = [one for one in self._stored(self._reader) if one.valuation.generation == generation]
            (every,) = self._reader.row("SELECT (SELECT COUNT(*) FROM points) + (SELECT COUNT(*) FROM days)")
            self._older = every - len(stored)
            for day, *row in self._reader.rows("SELECT * FROM day_symbols"):
                self._days.setdefault(day, {})[row[0]] = symbol_of(row)
        except LeviBotError as error:
            self.differences.append(Difference(FILE, "unreadable", str(error)))
            return
        self._waiting = sorted(stored, key=lambda one: -one.valuation.seq)

    def before(self, seq: int, tally: AccountTally) -> None:
        """Event `seq` is counted in next: compare what was stored before it."""
        while self._waiting and self._waiting[-1].valuation.seq < seq:
            self._compare(self._waiting.pop(), tally)

    def end(self, seq: int, tally: AccountTally) -> None:
        """All events up to `seq` are counted in."""
        self.before(seq + 1, tally)
        for one in self._waiting[:_SHOWN]:
            detail = f"{one.what}: it counts event {one.valuation.seq} in, the broker has only {seq}"
            self.differences.append(Difference(FILE, "equity", detail))
        if self._reader is not None:
            older = f", {self._older} from before the account was put back, not looked at" if self._older else ""
            self.checked[FILE] = f"{self._compared} points and days{older}"

    @staticmethod
    def _stored(reader: StoreReader) -> Iterator[_Stored]:
        for minute, *row in reader.rows(f"SELECT minute, {VALUES} FROM points"):
            yield _Stored(f"minute {minute}", valuation_of(row, ""), None)
        for day, *row in reader.rows(f"SELECT day, {VALUES} FROM days"):
            yield _Stored(f"day {day}", valuation_of(row, ""), day)

    def _compare(self, stored: _Stored, tally: AccountTally) -> None:
        self._compared += 1
        was = stored.valuation
        again = value(tally, was.marks, was.generation, was.event_ms)
        if stored.day is None and (missing := unmarked(tally, was.marks)):
            self._differ(f"{stored.what}: the price of {', '.join(missing)} is missing")
        for name in _NAMES:
            found, expected = getattr(was, name), getattr(again, name)
            if found != expected:
                self._differ(f"{stored.what}: {name} is {found}, events and prices make it {expected}")
        if stored.day is not None and self._days.get(stored.day, {}) != again.symbols:
            self._differ(f"{stored.what}: its symbols are not what their events make them")

    def _differ(self, detail: str) -> None:
        if len([one for one in self.differences if one.name == "equity"]) < _SHOWN:
            self.differences.append(Difference(FILE, "equity", detail))
