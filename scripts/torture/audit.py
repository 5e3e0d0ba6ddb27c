"""What is left after the kills: each fill counted once, money conserved, nothing unknown, nothing uncovered."""

from __future__ import annotations

import decimal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from levibot.bus.codec import Decoder
from levibot.bus.messages import FundsMoved, Intent, OrderEvent, OrderFilled, OrderPartiallyFilled, OrderSubmitted
from levibot.execution.position import ZERO
from levibot.reports.audit import audit
from levibot.reports.sources import broker_reader, decoded, ledger_files, ledger_reader, opening_cash
from scripts.torture.ground import CASH, Ground
from tests.exchange.accounts import Fill as ExchangeFill
from tests.exchange.mexc_sockets import trade_id as mexc_trade_id

FillKey = tuple[str, str, Decimal, Decimal]
"""Symbol, id, quantity and price."""

_WORTHLESS = Decimal(30)  # quote asset: what is too small to be sold needs no stop


@dataclass
class Findings:
    """Result of a run.

    Attributes
    ----------
    violations
        In words; empty if nothing was lost, doubled or left open.
    exchange, books, ledgers
        Fills that each knows.
    lost, doubled
        Fills that one of them lacks, and that one of them has twice.
    """

    violations: list[str] = field(default_factory=list)
    exchange: int = 0
    books: int = 0
    ledgers: int = 0
    lost: int = 0
    doubled: int = 0
    orders: int = 0
    events: list[OrderEvent] = field(default_factory=list)

    def expect(self, what: str, found: object, expected: object) -> None:
        """Note a violation, if there is one."""
        if found != expected:
            self.violations.append(f"{what}: {found}, expected {expected}")


def examine(ground: Ground) -> Findings:
    """Audit the state of a stopped daemon, and the exchange's own books."""
    with decimal.localcontext(decimal.Context()):  # ccxt, by which the exchange is spoken to, changes the rounding
        return _examine(ground)


def _examine(ground: Ground) -> Findings:
    findings, state = Findings(), ground.daemon.state
    result = audit(state)
    findings.violations += [f"{one.where}: {one.name}: {one.detail}" for one in result.differences]
    findings.violations += [f"{symbol}: {n} events not heard of" for symbol, n in result.behind.items() if n]
    with broker_reader(state) as reader:
        findings.events = list(decoded(reader, "SELECT body FROM events ORDER BY seq"))
        opening = opening_cash(reader)
    books, ledgers = _fills(findings.events), _ledger_fills(ground)
    findings.books, findings.ledgers = len(books), len(ledgers)
    findings.orders = sum(isinstance(event, OrderSubmitted) for event in findings.events)
    if ground.exchange is None:
        findings.expect("the cash at the start", opening, CASH)
        exchange = books  # the paper exchange keeps its fills in the broker's books
    else:
        exchange = _exchange_fills(ground)
        _examine_exchange(ground, findings)
    findings.exchange = len(exchange)
    _compare("the exchange", exchange, "the broker's books", books, findings)
    _compare("the broker's books", books, "the ledgers", ledgers, findings)
    left = unprotected(ground)
    findings.expect("positions without protection", left, [])
    return findings


def _fills(events: Iterable[OrderEvent]) -> list[FillKey]:
    return [
        (event.symbol, event.fill.fill_id, event.fill.quantity, event.fill.price)
        for event in events
        if isinstance(event, OrderFilled | OrderPartiallyFilled)
    ]


def _ledger_fills(ground: Ground) -> list[FillKey]:
    fills: list[FillKey] = []
    for path in ledger_files(ground.daemon.state):
        with ledger_reader(path) as reader:
            fills += _fills(decoded(reader, "SELECT body FROM events ORDER BY symbol_seq"))
    return fills


def _exchange_fills(ground: Ground) -> list[FillKey]:
    assert ground.exchange is not None
    name: Callable[[ExchangeFill], str] = mexc_trade_id if ground.exchange.dialect == "mexc" else _binance_trade_id
    (account,) = ground.exchange.exchange.accounts
    return [(fill.symbol, name(fill), fill.amount, fill.price) for fill in account.fills]


def _binance_trade_id(fill: ExchangeFill) -> str:
    return str(fill.trade_id)


def _compare(one: str, these: list[FillKey], other: str, those: list[FillKey], findings: Findings) -> None:
    twice = [
        key for key, count in Counter((symbol, fill_id) for symbol, fill_id, *_ in those).items() if count > 1
    ]
    missing, invented = set(these) - set(those), set(those) - set(these)
    findings.lost += len(missing)
    findings.doubled += len(twice) + len(invented)
    for what, found in (
        (f"fills twice in {other}", twice),
        (f"fills of {one} that {other} lack", missing),
        (f"fills in {other} that {one} lack", invented),
    ):
        if found:
            findings.violations.append(f"{len(found)} {what}: {sorted(found)[:3]}")


# ---------------------------------------------------------------------- the exchange's own books


def _examine_exchange(ground: Ground, findings: Findings) -> None:
    assert ground.exchange is not None
    (account,) = ground.exchange.exchange.accounts
    orders = list(account.orders.values())
    twice = [client_id for client_id, n in Counter(order.client_id for order in orders).items() if n > 1]
    findings.expect("client ids that the exchange got twice", twice, [])
    submitted = {event.client_id for event in findings.events if isinstance(event, OrderSubmitted)}
    strange = [order.client_id for order in orders if order.client_id not in submitted]
    findings.expect("orders at the exchange that the books do not know", strange, [])
    with broker_reader(ground.daemon.state) as reader:
        resting = {
            name for (name,) in reader.rows("SELECT client_id FROM orders WHERE open = 1 AND exchange_id <> ''")
        }
        (cash,) = reader.row("SELECT cash FROM account")
        positions = dict(reader.rows("SELECT symbol, quantity FROM positions"))
    there = {order.client_id for order in orders if order.open}
    findings.expect("orders open at the exchange", there, resting)

    def total(asset: str) -> Decimal:
        held = account.balances[asset]
        return held.free + held.locked - ground.opening.get(asset, ZERO)

    put_in = sum((e.amount for e in findings.events if isinstance(e, FundsMoved) and e.kind == "opening"), ZERO)
    corrected = [e for e in findings.events if isinstance(e, FundsMoved) and e.kind != "opening"]
    findings.expect("funds that moved without a reason", corrected, [])
    findings.expect("what the account's cash gained", Decimal(cash) - put_in, total("USDT"))
    for symbol, quantity in positions.items():
        findings.expect(f"the position in {symbol}", Decimal(quantity), total(symbol.partition("/")[0]))


# ---------------------------------------------------------------------- while it runs


def is_settled(ground: Ground) -> bool:
    """Whether nothing rests any more, and every ledger has heard of everything."""
    with broker_reader(ground.daemon.state) as reader:
        ((resting,),) = reader.rows("SELECT COUNT(*) FROM orders WHERE open = 1")
    return not resting and not any(audit(ground.daemon.state).behind.values())


def unprotected(ground: Ground) -> list[str]:
    """Positions, in words, that are larger than the stops that rest for them; dust is none."""
    decode: Decoder[Intent] = Decoder(Intent)
    covered: dict[str, Decimal] = {}
    with broker_reader(ground.daemon.state) as reader:
        for intent, filled in reader.rows("SELECT intent, filled FROM orders WHERE open = 1"):
            terms = decode(intent)
            if terms.kind in ("stop", "trailing_stop"):
                covered[terms.symbol] = covered.get(terms.symbol, ZERO) + terms.quantity - Decimal(filled)
        held: list[Any] = list(reader.rows("SELECT symbol, quantity, entry_price FROM positions"))
    left = []
    for symbol, quantity, price in held:
        open_quantity = abs(Decimal(quantity)) - covered.get(symbol, ZERO)
        if open_quantity * Decimal(price) > _WORTHLESS:
            left.append(f"{symbol}: {quantity} held, {covered.get(symbol, ZERO)} covered by stops")
    return left
