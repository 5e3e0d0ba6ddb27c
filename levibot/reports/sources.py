"""What broker and engines have on disk, read whether they run or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from levibot.bus.codec import Decoder
from levibot.bus.messages import Intent, OrderEvent
from levibot.errors import CorruptStoreError, DataStoreError, LeviBotError, MalformedMessageError
from levibot.execution import books_schema, ledger_state
from levibot.execution.orders import OrderState
from levibot.execution.position import ZERO
from levibot.execution.reader import StoreReader
from levibot.reports.history import SymbolHistory
from levibot.reports.tally import AccountTally
from levibot.symbols import on_disk

BROKER = "broker.sqlite"
LEDGERS = "ledgers"
_RESTORE = "look after the disk, then put a backup in its place: `levibotctl restore FILE`"
_REBUILD = "`levibotctl start`, or `restart` while it runs, rebuilds it from the broker's books"


def broker_reader(state_dir: Path) -> StoreReader:
    """The broker's books; `DataStoreError` if they cannot be read."""
    return StoreReader(state_dir / BROKER, books_schema.MIGRATIONS)


def ledger_reader(path: Path) -> StoreReader:
    """A ledger; `DataStoreError` if it cannot be read."""
    return StoreReader(path, ledger_state.MIGRATIONS)


def ledger_files(state_dir: Path) -> list[Path]:
    """Ledgers on disk, also of symbols that are traded no more; damaged ones that were set aside are none."""
    return sorted((state_dir / LEDGERS).glob("*.sqlite"))


@dataclass
class Records:
    """All that is on disk of a state directory.

    Attributes
    ----------
    histories
        By symbol.
    quote
        Asset in which the account is kept; empty if the broker's books cannot be read.
    troubles
        Files that could not be read, and what helps; the rest is here all the same.
    unknown
        Ledgers, by the names of their files, of whose symbols nothing is known for that.
    """

    histories: dict[str, SymbolHistory] = field(default_factory=dict)
    quote: str = ""
    troubles: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def read_records(state_dir: Path) -> Records:
    """Read all of it.

    The broker's books know everything that became of orders. An engine's ledger adds what it has not sent
    yet, and stands in where the books are damaged, or know less because they were put back from a copy.
    """
    records = Records()
    books: dict[str, list[OrderEvent]] = {}
    terms: list[tuple[Intent, OrderState]] = []
    if (state_dir / BROKER).exists():
        try:
            with broker_reader(state_dir) as reader:
                (records.quote,) = reader.row("SELECT quote FROM account")
                for event in decoded(reader, "SELECT body FROM events ORDER BY seq"):
                    books.setdefault(event.symbol, []).append(event)
                terms = _orders(reader, "SELECT state, intent FROM orders WHERE open = 1")
        except LeviBotError as error:
            records.troubles.append(f"{error}; shown is what the engines' ledgers know{_remedy(error, _RESTORE)}")
            books, terms = {}, []
    books.pop("", None)  # events of the account, not of a symbol
    unsent: dict[str, list[tuple[Intent, OrderState]]] = {}
    for path in ledger_files(state_dir):
        try:
            with ledger_reader(path) as reader:
                symbol, last_seq = reader.row("SELECT symbol, last_seq FROM ledger")
                query = "SELECT state, intent FROM orders WHERE state IN (?, ?) ORDER BY rowid"
                unsent[symbol] = _orders(reader, query, OrderState.INTENT, OrderState.DENIED)
                if last_seq > len(books.setdefault(symbol, [])):
                    books[symbol] = list(decoded(reader, "SELECT body FROM events ORDER BY symbol_seq"))
        except LeviBotError as error:
            symbol = next((known for known in books if on_disk(known) == path.stem), "")
            shown = (
                f"{symbol} is shown as the broker's books know it" if symbol else "nothing is known of its symbol"
            )
            if not symbol:
                records.unknown.append(path.stem)
            records.troubles.append(f"{error}; {shown}{_remedy(error, _REBUILD)}")
    for symbol, events in sorted(books.items()):
        history = records.histories[symbol] = SymbolHistory(symbol)
        try:
            for event in events:
                history.apply(event)
        except LeviBotError as error:
            records.troubles.append(f"{symbol}: {error}; `levibotctl doctor --ledger` looks closer")
        for intent, state in unsent.get(symbol, ()):
            history.note_unsent(intent, state)
    for intent, _ in terms:
        records.histories[intent.symbol].note_terms(intent)
    return records


def _remedy(error: LeviBotError, of_damage: str) -> str:
    """What is wrong with a file that is not damaged, the error itself says."""
    return f". {of_damage}" if isinstance(error, CorruptStoreError) else ""


def decoded(reader: StoreReader, query: str, *arguments: object) -> Iterator[OrderEvent]:
    """Events whose bodies a query tells.

    Raises
    ------
    DataStoreError
        If one does not decode.
    """
    decode: Decoder[OrderEvent] = Decoder(OrderEvent)
    try:
        for (body,) in reader.rows(query, *arguments):
            yield decode(body)
    except MalformedMessageError as error:
        raise DataStoreError(
            reader.path, f"an event is damaged ({error}): see `levibotctl doctor --ledger`"
        ) from error


def symbols_on_disk(state_dir: Path) -> Iterable[str]:
    """Symbols that have a ledger, for the completion of shells; files that cannot be read are passed over."""
    for path in ledger_files(state_dir):
        try:
            with ledger_reader(path) as reader:
                yield from reader.row("SELECT symbol FROM ledger")
        except DataStoreError:
            continue


def _orders(reader: StoreReader, query: str, *arguments: object) -> list[tuple[Intent, OrderState]]:
    """Orders that a query tells by state and intent."""
    decode: Decoder[Intent] = Decoder(Intent)
    try:
        return [(decode(intent), OrderState(state)) for state, intent in reader.rows(query, *arguments)]
    except (MalformedMessageError, ValueError) as error:
        remedy = "see `levibotctl doctor --ledger`"
        raise DataStoreError(reader.path, f"an order is damaged ({error}): {remedy}") from error


def opening_cash(reader: StoreReader) -> Decimal:
    """What the account began with, in its quote asset."""
    cash, opening, quote = reader.row("SELECT cash, opening, quote FROM account")
    if opening:
        return Decimal(opening)
    flows = AccountTally(quote, ZERO)  # of a time when it was not written down: what the events leave
    for event in decoded(reader, "SELECT body FROM events ORDER BY seq"):
        flows.apply(event)
    return Decimal(cash) - flows.cash
