"""Trading of the product on an account of the loopback exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from levibot.config_market import ExchangeConfig
from levibot.exchange.credentials import Credentials
from levibot.exchange.private import PrivateTrading
from levibot.exchange.session import ExchangeSession, Listeners
from tests.exchange.running import RunningExchange
from tests.exchange.settings import KEY, SECRET

LOOPBACK = Credentials(KEY, SECRET)
_PLENTY = 60_000.0  # requests a minute, so that nobody waits for a turn


@asynccontextmanager
async def open_trading(
    exchange: RunningExchange,
    state_dir: Path,
    credentials: Credentials = LOOPBACK,
    listeners: Listeners | None = None,
) -> AsyncIterator[PrivateTrading]:
    """A session of the broker, and trading in it, both open; both are closed in the end."""
    place = exchange.connection()
    config = ExchangeConfig(id=place.id, urls=dict(place.urls), requests_per_minute=_PLENTY)
    session = ExchangeSession(place.id, config, "broker", state_dir, listeners)
    trading = PrivateTrading(session, credentials)
    try:
        await session.open()
        await trading.open()
        yield trading
    finally:
        await trading.close()
        await session.close()
