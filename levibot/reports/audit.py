"""Whether broker, ledgers and the record of equity agree to the last digit; everything is added up anew.

While the daemon runs, events are under way. A ledger is read before the broker's books, and the broker
commits an event before it tells of it: so whatever a ledger knows must be in the books, and the two are
compared up to the last event that the ledger knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from zlib import crc32

from levibot.bus.codec import Decoder
from levibot.bus.messages import OrderEvent, OrderFilled, OrderPartiallyFilled, OrderSubmitted, Side
from levibot.equity.audit import EquityAudit
from levibot.errors import LeviBotError, MalformedMessageError
from levibot.execution.orders import TERMINAL_STATES, IllegalTransitionError, OrderState, next_state
from levibot.execution.position import ZERO
from levibot.execution.reader import StoreReader
from levibot.reports.difference import Difference
from levibot.reports.sources import BROKER, broker_reader, ledger_files, ledger_reader, opening_cash
from levibot.reports.tally import AccountTally, SymbolTally, UnknownOrderError

_SHOWN = 3  # differences of one kind in one file
_ROUNDING = Decimal("1e-18")  # of the entry price, relative to what is held


@dataclass
class Books:
    """What the broker's events add up to.

    Attributes
    ----------
    events
        By symbol, oldest first; those of the account as a whole under the empty name.
    bodies
        The same, as they are stored.
    """

    events: dict[str, list[OrderEvent]] = field(default_factory=dict)
    bodies: dict[str, list[bytes]] = field(default_factory=dict)
    fills: int = 0
    positions: dict[str, Decimal] = field(default_factory=dict)


@dataclass
class Audit:
    """Result of an audit.

    Attributes
    ----------
    differences
        Empty if everything agrees.
    books
        As far as they could be read.
    behind
        Ledgers by symbol, and how many events of the broker each has not heard of yet: it asks for them at its
        next connection.
    checked
        What was looked at, by file, in words.
    """

    differences: list[Difference] = field(default_factory=list)
    books: Books = field(default_factory=Books)
    behind: dict[str, int] = field(default_factory=dict)
    checked: dict[str, str] = field(default_factory=dict)


def audit(state_dir: Path) -> Audit:
    """Look at broker, ledgers and equity of a state directory; nothing in it is changed."""
    result = Audit()
    with ExitStack() as open_files:
        ledgers: dict[Path, StoreReader] = {}
        for path in ledger_files(state_dir):
            try:
                ledgers[path] = open_files.enter_context(ledger_reader(path))
            except LeviBotError as error:
                result.differences.append(Difference(path.name, "unreadable", str(error)))
        equity = open_files.enter_context(EquityAudit(state_dir))
        try:
            broker = open_files.enter_context(broker_reader(state_dir))
            _BrokerAudit(broker, equity, result).run()
        except LeviBotError as error:
            if not (state_dir / BROKER).exists() and not ledgers:
                return result  # nothing was ever traded
            result.differences.append(Difference(BROKER, "unreadable", str(error)))
        else:
            result.differences += equity.differences
            result.checked |= equity.checked
            for path, ledger in ledgers.items():
                try:
                    _LedgerAudit(path, ledger, result).run()
                except LeviBotError as error:
                    result.differences.append(Difference(path.name, "unreadable", str(error)))
    return result


class _Orders:
    """States of orders, as their events lead to them."""

    def __init__(self) -> None:
        self.states: dict[str, OrderState] = {}
        self.filled: dict[str, Decimal] = {}
        self.sides: dict[str, Side] = {}
        self.twice: list[str] = []

    def side_of(self, client_id: str) -> Side:
        """Side of an order that has ended, for a fill that came late."""
        if client_id not in self.sides:
            raise UnknownOrderError(f"a fill of order {client_id}, which was never submitted")
        return self.sides[client_id]

    def apply(self, event: OrderEvent) -> None:
        """Take in the next event."""
        name = event.client_id
        if isinstance(event, OrderSubmitted):
            if name in self.states:
                self.twice.append(name)
                return
            self.states[name], self.filled[name], self.sides[name] = OrderState.INTENT, ZERO, event.intent.side
        if name not in self.states:
            return
        if isinstance(event, OrderPartiallyFilled | OrderFilled):
            self.filled[name] += event.fill.quantity
        try:
            self.states[name] = next_state(self.states[name], event)
        except IllegalTransitionError:
            return  # kept by whoever wrote it, and changes nothing


class _FileAudit:
    """What is looked at in each file.

    Parameters
    ----------
    where
        Its name.
    reader
        Of it.
    result
        Where differences are put.
    """

    def __init__(self, where: str, reader: StoreReader, result: Audit) -> None:
        self._where = where
        self._reader = reader
        self._result = result
        self._decode: Decoder[OrderEvent] = Decoder(OrderEvent)
        self._counts: dict[str, int] = {}

    def _differ(self, name: str, detail: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] <= _SHOWN:
            self._result.differences.append(Difference(self._where, name, detail))

    def expect(self, name: str, what: str, found: Any, expected: Any) -> None:
        """Note a difference, if there is one."""
        if found != expected:
            self._differ(name, f"{what} is {found}, its events make it {expected}")

    def _check_pages(self) -> None:
        for found in self._reader.damage():
            self._differ("pages", found)

    def _events(self, key: str, last: int, checksum: int | None) -> Iterator[tuple[bytes, OrderEvent]]:
        """All events in their order; those that do not decode are told and left out."""
        expected, found = 0, 0
        for number, body in self._reader.rows(f"SELECT {key}, body FROM events ORDER BY {key}"):
            expected += 1
            found = crc32(body, found)
            if number != expected:
                self._differ("sequence", f"event {number} follows event {expected - 1}")
                expected = number
            try:
                yield body, self._decode(body)
            except MalformedMessageError as error:
                self._differ("history", f"event {number} is damaged: {error}")
        if expected != last:
            self._differ("sequence", f"the last event is {expected}, it should be {last}")
        if checksum is not None and found != checksum:
            self._differ("checksum", "an event is not what was written")


class _BrokerAudit(_FileAudit):
    def __init__(self, reader: StoreReader, equity: EquityAudit, result: Audit) -> None:
        super().__init__(BROKER, reader, result)
        self._equity = equity
        self._orders = _Orders()
        self._fills: dict[tuple[str, str], int] = {}

    def run(self) -> None:
        """Add all events up, and compare."""
        self._check_pages()
        seq, quote, cash, checksum, generation = self._reader.row(
            "SELECT seq, quote, cash, history_crc, generation FROM account"
        )
        opening = opening_cash(self._reader)
        tally, books = AccountTally(quote, opening), self._result.books
        tally.side_of = self._orders.side_of
        self._equity.begin(generation)
        for body, event in self._events("seq", seq, checksum):
            known = books.events.setdefault(event.symbol, [])
            known.append(event)
            books.bodies.setdefault(event.symbol, []).append(body)
            if event.symbol_seq != len(known):
                self._differ(
                    "sequence", f"event {event.seq} is number {event.symbol_seq} of {event.symbol or 'none'}"
                )
            self._orders.apply(event)
            self._note_fill(event)
            self._equity.before(event.seq, tally)
            try:
                tally.apply(event)
            except LeviBotError as error:
                self._differ("fill", f"event {event.seq}: {error}")
        self._equity.end(seq, tally)
        self._compare(tally, Decimal(cash))
        self._check_conservation(tally, opening)
        books.positions = {symbol: one.position.quantity for symbol, one in tally.symbols.items()}
        self._result.checked[BROKER] = (
            f"{seq} events, {len(self._orders.states)} orders, {books.fills} fills; cash {cash} {quote}"
        )

    def _note_fill(self, event: OrderEvent) -> None:
        if isinstance(event, OrderPartiallyFilled | OrderFilled):
            key = event.symbol, event.fill.fill_id
            if key in self._fills:
                self._differ("fill", f"{event.symbol}: fill {event.fill.fill_id} is counted twice")
            self._fills[key] = event.seq
            self._result.books.fills += 1

    def _compare(self, tally: AccountTally, cash: Decimal) -> None:
        self.expect("cash", "the cash", cash, tally.cash)
        found = {asset: Decimal(amount) for asset, amount in self._reader.rows("SELECT * FROM balances")}
        for asset in {**found, **tally.balances}:
            self.expect(
                "balance", f"the balance of {asset}", found.get(asset, ZERO), tally.balances.get(asset, ZERO)
            )
        query = "SELECT symbol, symbol_seq, quantity, entry_price, realized_pnl FROM positions"
        for symbol, symbol_seq, *money in self._reader.rows(query):
            known = len(self._result.books.events.get(symbol, ()))
            self.expect("sequence", f"the number of {symbol}'s last event", symbol_seq, known)
            _compare_position(self, symbol, money, tally.of(symbol))
        for name in self._orders.twice:
            self._differ("order", f"{name} was submitted twice")
        stored = set()
        query = "SELECT client_id, state, open, filled FROM orders"
        for client_id, state, is_open, filled in self._reader.rows(query):
            stored.add(client_id)
            expected = self._orders.states.get(client_id)
            self.expect("order", f"the state of {client_id}", state, expected)
            self.expect("order", f"{client_id}'s filled", Decimal(filled), self._orders.filled.get(client_id))
            if expected is not None:
                self.expect("order", f"{client_id}'s being open", bool(is_open), expected not in TERMINAL_STATES)
        for client_id in self._orders.states.keys() - stored:
            self._differ("order", f"{client_id} was submitted, and is not among the orders")
        self._compare_fills()

    def _compare_fills(self) -> None:
        listed = set(self._reader.rows("SELECT symbol, fill_id FROM fills"))
        for symbol, fill_id in listed - self._fills.keys():
            self._differ("fill", f"{symbol}: fill {fill_id} is listed, and no event tells of it")
        # Those from before there was a list of them are in the events alone.
        first = min((self._fills[key] for key in listed & self._fills.keys()), default=None)
        for (symbol, fill_id), seq in self._fills.items():
            if first is not None and seq > first and (symbol, fill_id) not in listed:
                self._differ("fill", f"{symbol}: fill {fill_id} is not listed, so it could be counted again")

    def _check_conservation(self, tally: AccountTally, opening: Decimal) -> None:
        """What was put in and what was earned is what is there, at cost; but for the rounding of averages."""
        held = [one.position for one in tally.symbols.values()]
        cost = sum((position.quantity * position.entry_price for position in held), ZERO)
        earned = sum((position.realized_pnl for position in held), ZERO)
        room = _ROUNDING * (abs(tally.cash) + abs(cost) + abs(opening) + 1)
        if abs(tally.cash + cost - tally.funds - earned) > room:
            detail = (
                f"cash {tally.cash} and positions at cost {cost} are not {tally.funds} put in and {earned} earned"
            )
            self._differ("conservation", detail)


class _LedgerAudit(_FileAudit):
    def __init__(self, path: Path, reader: StoreReader, result: Audit) -> None:
        super().__init__(path.name, reader, result)

    def run(self) -> None:
        """Compare a ledger with its own events, and these with the broker's."""
        self._check_pages()
        symbol, last, checksum, trades, *money = self._reader.row(
            "SELECT symbol, last_seq, history_crc, trade_count, quantity, entry_price, realized_pnl FROM ledger"
        )
        books = self._result.books
        bodies, events = books.bodies.get(symbol, []), books.events.get(symbol, [])
        tally, orders = AccountTally("", ZERO), _Orders()
        tally.side_of = orders.side_of
        for number, (body, event) in enumerate(self._events("symbol_seq", last, checksum)):
            if number < len(bodies) and body != bodies[number] and event != events[number]:
                self._differ("history", f"event {number + 1} differs from the broker's")
            orders.apply(event)
            try:
                tally.apply(event)
            except LeviBotError as error:
                self._differ("fill", f"event {number + 1}: {error}")
        one = tally.of(symbol)
        _compare_position(self, symbol, money, one)
        self.expect("position", "the count of positions opened", trades, one.opened)
        self._compare_orders(orders)
        if last > len(bodies):
            self._differ("history", f"it knows {last} events, the broker only {len(bodies)}")
        self._result.behind[symbol] = max(0, len(bodies) - last)
        waiting = f", {len(bodies) - last} to be heard of" if last < len(bodies) else ""
        self._result.checked[self._where] = f"{last} events{waiting}; {money[0]} {symbol}, realised {money[2]}"

    def _compare_orders(self, orders: _Orders) -> None:
        for client_id, state, is_open in self._reader.rows("SELECT client_id, state, open FROM orders"):
            expected = orders.states.pop(client_id, None)
            if expected is None and state in (OrderState.INTENT, OrderState.DENIED):
                continue  # on its way to the broker, or it never got there
            self.expect("order", f"the state of {client_id}", state, expected)
            if expected is not None:
                self.expect("order", f"{client_id}'s being open", bool(is_open), expected not in TERMINAL_STATES)
        for client_id in orders.states:
            self._differ("order", f"{client_id} was submitted, and is not among the orders")


def _compare_position(audit: _FileAudit, symbol: str, money: Sequence[str], one: SymbolTally) -> None:
    quantity, entry_price, realized = map(Decimal, money)
    position = one.position
    audit.expect("position", f"the quantity of {symbol}", quantity, position.quantity)
    audit.expect("position", f"the entry price of {symbol}", entry_price, position.entry_price)
    audit.expect("position", f"the realised profit of {symbol}", realized, position.realized_pnl)
