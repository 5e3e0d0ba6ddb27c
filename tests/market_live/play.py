"""Playing a fault row against a live feed: when it was noticed, when data were fresh again, what was amiss."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from levibot.bus.messages import Bar, Book, FeedReport, MarketGap, MarketRecovered, MarketStale, Tick, Trades
from levibot.clock import boot_ns
from levibot.market.bars import MINUTE_MS
from tests.deadline import wait_for
from tests.exchange.settings import DialectName, Settings
from tests.market_live.fault_rows import Row
from tests.market_live.truth import Faithfulness, compare_all
from tests.market_live.world import SYMBOLS, FeedWorld, fast, feed_world

PATIENCE_S = 30.0
_GRACE_S = 1.0  # a row that need not be noticed is watched this long after it
_BARS_AFTER = 2


@dataclass(frozen=True)
class Outcome:
    """What came of one row.

    Parameters
    ----------
    row, dialect
        Which.
    detected_s
        Seconds from arming to the first sign, an event on the bus or a count in the report; None: no sign.
    sign
        What it was.
    fresh_s
        Seconds from arming, or lifting, until trades, ticks and books that left after the sign had come for all
        symbols and none was stale; None: never.
    bystanders
        Symbols that the fault did not concern and that went stale all the same.
    faithful
        Bars and trades from the minute before the row to two bars after it.
    """

    row: Row
    dialect: str
    detected_s: float | None
    sign: str
    fresh_s: float | None
    bystanders: tuple[str, ...]
    faithful: Faithfulness


def play_alone(folder: Path, dialect: DialectName, row: Row) -> Outcome:
    """Play a row on an exchange and a feed of its own: after many losses a feed dials less and less often."""
    folder.mkdir(parents=True)
    settings = fast(Settings(dialect=dialect, symbols=SYMBOLS, trades_per_s=10.0, quotes_per_s=10.0))
    with feed_world(folder, settings) as world:
        world.start()
        world.wait_bars(1, seconds=60)
        outcome = play(world, row)
        world.stop()
    return outcome


def play(world: FeedWorld, row: Row, patience_s: float = PATIENCE_S) -> Outcome:
    """Arm a row's faults, see what follows, and lift them."""
    exchange, listener = world.exchange, world.listener
    began_ms = exchange.exchange.clock.market_ms()
    before = _signs(listener.reports[-1][2])
    armed_ns = boot_ns()
    for fault in row.faults(exchange.dialect):
        exchange.arm(**fault)
    if row.drops:
        exchange.drop_connections()
    watched_s = patience_s if row.interrupts else (row.lasts_s or 0.0) + _GRACE_S
    lift_ns = armed_ns + int((row.lasts_s or 0.0) * 1e9)
    sign: tuple[int, str] | None = None
    lifted_ns: int | None = None
    while boot_ns() < armed_ns + watched_s * 1e9 and (sign is None or (row.lasts_s and lifted_ns is None)):
        sign = sign or _first_sign(world, armed_ns, before)
        if row.lasts_s and lifted_ns is None and boot_ns() >= lift_ns:
            exchange.clear()
            lifted_ns = boot_ns()
        time.sleep(0.005)
    since_ns = max(sign[0] if sign else armed_ns, lifted_ns or 0)
    fresh_ns = _wait_fresh(world, since_ns, patience_s)
    exchange.clear()
    outcome = Outcome(
        row,
        exchange.dialect,
        (sign[0] - armed_ns) / 1e9 if sign else None,
        sign[1] if sign else "",
        (fresh_ns - (lifted_ns if row.from_lifting and lifted_ns else armed_ns)) / 1e9 if fresh_ns else None,
        _bystanders(world, row, armed_ns),
        Faithfulness(),
    )
    if fresh_ns:
        world.wait_bars(_BARS_AFTER, seconds=60)
    minute_ms = began_ms - began_ms % MINUTE_MS - MINUTE_MS
    until_ms = MINUTE_MS + min(listener.of(Bar, symbol)[-1].open_ms for symbol in world.symbols)
    _await_corrections(world, minute_ms, until_ms)
    return replace(outcome, faithful=compare_all(world, minute_ms, until_ms))


def _signs(report: FeedReport) -> dict[str, int]:
    """Counts that grow when a live source notices something."""
    if report.live is None:
        return {}
    names = ("duplicates", "stales", "gaps", "missed", "corrections", "renewals", "malformed")
    signs = {name: sum(getattr(h, name) for h in report.live.markets.values()) for name in names}
    return {**signs, "reconnects": report.live.reconnects, "cool-down": int(report.live.cool_down_s > 0)}


def _first_sign(world: FeedWorld, armed_ns: int, before: dict[str, int]) -> tuple[int, str] | None:
    signs = [
        (at_ns, type(message).__name__ + _reason(message))
        for at_ns, message in world.listener.since(armed_ns)
        if isinstance(message, MarketStale | MarketGap)
    ]
    for at_ns, _, report in reversed(world.listener.reports):
        if at_ns < armed_ns:
            break
        grown = [name for name, count in _signs(report).items() if count > before.get(name, 0)]
        if grown:
            signs.append((at_ns, ", ".join(grown)))
    return min(signs, default=None)


def _reason(message: MarketStale | MarketGap) -> str:
    return f": {message.reason}" if isinstance(message, MarketStale) else ""


def _wait_fresh(world: FeedWorld, since_ns: int, patience_s: float) -> int | None:
    """When the last symbol had all that it needs to be fresh; None: it did not come in time."""

    def fresh() -> int | None:
        moments = [_fresh_at(world, symbol, since_ns) for symbol in world.symbols]
        return None if None in moments else max(moment for moment in moments if moment is not None)

    try:
        return wait_for(fresh, "fresh data", seconds=patience_s, every=0.01)
    except AssertionError:
        return None


def _fresh_at(world: FeedWorld, symbol: str, since_ns: int) -> int | None:
    wanted: dict[type, int] = {}
    recovered_ns = 0
    for at_ns, message in world.listener.since(since_ns):
        if message.symbol != symbol:
            continue
        if isinstance(message, Tick | Book | Trades) and message.received_ns >= since_ns:
            if not (isinstance(message, Trades) and message.backfilled):
                wanted.setdefault(type(message), at_ns)
        elif isinstance(message, MarketRecovered):
            recovered_ns = at_ns
    report = world.listener.reports[-1]
    live = report[0] > since_ns and report[2].symbols.get(symbol) == "live"
    return max(*wanted.values(), recovered_ns) if live and len(wanted) == 3 else None


def _bystanders(world: FeedWorld, row: Row, armed_ns: int) -> tuple[str, ...]:
    concerned = {arm.get("symbol") for arm in row.arms}
    if row.drops or not concerned or None in concerned:
        return ()
    stale = {m.symbol for _, m in world.listener.since(armed_ns) if isinstance(m, MarketStale)}
    return tuple(sorted(stale - concerned))


def _await_corrections(world: FeedWorld, since_ms: int, until_ms: int) -> None:
    """Give the feed's own check of its bars the time to put right what differs; there are always newer ones."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and compare_all(world, since_ms, until_ms).wrong_bars:
        time.sleep(0.2)
