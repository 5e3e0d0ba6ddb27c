"""Can the exchange be reached, does it have the symbols, and may it be asked often enough?"""

from __future__ import annotations

import asyncio
import difflib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from levibot.clock import boot_ns
from levibot.config import Config
from levibot.doctor.account import judge_account
from levibot.doctor.finding import Finding, Patient
from levibot.errors import BackOffError, CoolDownError, ExchangeRefusedError, LeviBotError, StopError

if TYPE_CHECKING:
    from levibot.exchange.session import ExchangeSession

_PATIENCE_S = 20.0  # for everything; without a network it is over within a few seconds
_PROXY_PATIENCE_S = 3.0
_BARS_A_MINUTE = 5.0  # for each symbol: of a silent one while the feed is sparing, and to check each closed bar


def check_exchange(patient: Patient) -> Iterator[Finding]:
    """The exchange of a live source, asked a few things as a download would be; ccxt is loaded for it."""
    config = patient.config
    if config.feed.is_artificial:
        return
    if config.exchange.proxy is not None:
        proxy = _proxy(config.exchange.proxy)
        yield proxy
        if proxy.level == "fail":
            return
    from levibot.exchange.cooldown import FILE, CoolDown

    cool_down = CoolDown(config.state_dir / FILE)
    if (left_s := cool_down.remaining_s()) > 0:
        yield _left_alone(config, f"{cool_down.reason}, for another {left_s:.0f} s")
        return
    yield from asyncio.run(_ask(patient))


def _proxy(url: str) -> Finding:
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or 80}"
    try:
        socket.create_connection((parts.hostname, parts.port or 80), _PROXY_PATIENCE_S).close()
    except OSError as error:
        remedy = "start it, or correct [exchange] proxy"
        return Finding("exchange proxy", "fail", f"{place} cannot be reached: {error}", remedy)
    return Finding("exchange proxy", "ok", f"{place} takes connections")


async def _ask(patient: Patient) -> list[Finding]:
    """What the exchange says; whatever goes wrong is a finding."""
    config = patient.config
    findings: list[Finding] = []
    try:
        async with asyncio.timeout(_PATIENCE_S), _session(config) as session:
            began = boot_ns()
            await session.open()
            findings += _judge_answer(config, session, (boot_ns() - began) / 1e9)
            findings.append(await _judge_rate(config, session))
            findings += [finding async for finding in judge_account(patient, session)]
    except (LeviBotError, TimeoutError) as error:
        findings.append(_failure(config, error))
    return findings


@asynccontextmanager
async def _session(config: Config) -> AsyncIterator[ExchangeSession]:
    """A session that touches no state: the daemon's may be another user's, and in use."""
    from levibot.exchange.session import ExchangeSession

    with tempfile.TemporaryDirectory(prefix="levibot-") as folder:
        settings = config.exchange.model_copy(update={"requests_per_minute": None})  # for a handful no one waits
        session = ExchangeSession(config.exchange_id, settings, "download", Path(folder))
        try:
            yield session
        finally:
            await session.close()


def _judge_answer(config: Config, session: ExchangeSession, took_s: float) -> Iterator[Finding]:
    sandbox = " (sandbox)" if config.exchange.sandbox else ""
    yield Finding(
        "exchange", "ok", f"{session.id}{sandbox} told of {len(session.markets)} markets in {took_s:.1f} s"
    )
    skew_s, limit_s = session.skew_ms / 1000, config.alerts.clock_skew
    if abs(skew_s) > limit_s:
        way = "ahead of" if skew_s > 0 else "behind"
        remedy = "switch time synchronisation on: `timedatectl set-ntp true`, or install chrony"
        yield Finding("exchange clock", "fail", f"this clock is {abs(skew_s):.1f} s {way} the exchange's", remedy)
    else:
        yield Finding("exchange clock", "ok", f"this clock is {session.skew_ms:+d} ms from the exchange's")
    wrong = list(_judge_symbols(config.symbols, session))
    yield from wrong or [Finding("symbols", "ok", f"all {len(config.symbols)} are traded on {session.id}")]


def _judge_symbols(symbols: Iterable[str], session: ExchangeSession) -> Iterator[Finding]:
    for symbol in symbols:
        try:
            active = session.spec(symbol).active
        except ExchangeRefusedError as error:
            if ":" in symbol:
                remedy = f"only spot markets are streamed: write {symbol.partition(':')[0]}"
            else:
                base = symbol.partition("/")[0]  # another coin would be another trade, not a correction
                same = [name for name in session.markets if name.partition("/")[0] == base and ":" not in name]
                near = difflib.get_close_matches(symbol, same, n=1, cutoff=0.0)
                remedy = f"did you mean {near[0]}? Correct symbols" if near else "correct symbols"
            yield Finding(f"symbol {symbol}", "fail", str(error), remedy)
            continue
        if not active:
            found = f"{session.id} does not trade it now: its engine can only sell"
            yield Finding(
                f"symbol {symbol}", "warn", found, "wait until it is traded again, or remove it from symbols"
            )


async def _judge_rate(config: Config, session: ExchangeSession) -> Finding:
    """Whether the feed's share is enough if every symbol is silent, and has to be asked about all the time.

    The best prices of all are asked for at half of `stale_after`; what that costs is tried.
    """
    from levibot.exchange.budget import Allowance
    from levibot.exchange.candles import closed_until_ms
    from levibot.exchange.public import best_prices, newest_bars

    symbols = [symbol for symbol in config.symbols if symbol in session.markets] or list(session.markets)[:1]
    before = session.budget.used_last_minute
    await best_prices(session, symbols)
    prices = session.budget.used_last_minute - before
    await newest_bars(session, symbols[0], closed_until_ms(session.exchange_ms()))
    bars = session.budget.used_last_minute - before - prices
    share = Allowance.of(config.exchange, "feed", 60_000 / session.exchange.rateLimit).ordinary
    needed = prices * 120 / config.feed.stale_after + bars * _BARS_A_MINUTE * len(config.symbols)
    found = (
        f"{len(config.symbols)} symbols need up to {needed:.0f} of the {share:.0f} a minute that are the feed's"
    )
    if needed <= share:
        return Finding("rate limit", "ok", found)
    remedy = "raise [exchange] feed_share or requests_per_minute if the exchange allows it, or trade fewer symbols"
    return Finding("rate limit", "warn", f"{found}: silence is confirmed too late, and markets go stale", remedy)


def _failure(config: Config, error: LeviBotError | TimeoutError) -> Finding:
    text = str(error) or "no answer in time"
    if isinstance(error, StopError):
        return Finding(
            "exchange", "fail", text, "correct [exchange]; `levibotctl config check` tells when it is right"
        )
    if isinstance(error, CoolDownError):
        return _left_alone(config, text)
    if isinstance(error, ExchangeRefusedError | BackOffError):
        return Finding("exchange", "fail", text, "mend what it names; is this address allowed there?")
    remedy = "look at this machine's network, [exchange.urls] and proxy, and at the exchange's status page"
    return Finding("exchange", "fail", f"{config.exchange_id} cannot be reached: {text}", remedy)


def _left_alone(config: Config, why: str) -> Finding:
    return Finding(
        "exchange",
        "warn",
        f"{config.exchange_id} wants to be asked nothing: {why}",
        "ask again then; end what else asks this exchange from the same address",
    )
