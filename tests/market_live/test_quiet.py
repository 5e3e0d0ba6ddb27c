"""A symbol that trades once in ten minutes, and whose book moves as seldom, raises no alarm."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from levibot.bus.messages import Bar, MarketGap, MarketStale
from tests.exchange.settings import DialectName, Settings
from tests.market_live.truth import Faithfulness, compare_all
from tests.market_live.world import FeedWorld, fast, feed_world

BUSY, QUIET = "BTC/USDT", "ETH/USDT"
STALE_AFTER_S = 4.0  # real seconds; ten minutes of the market are twenty to thirty of them


@pytest.mark.parametrize(
    ("minutes", "speed"), [(4, 20.0), pytest.param(60, 30.0, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
@pytest.mark.parametrize("dialect", ["binance", "mexc"])
def test_a_quiet_symbol_raises_no_alarm(dialect: DialectName, run_dir: Path, minutes: int, speed: float) -> None:
    settings = Settings(dialect=dialect, symbols=(BUSY, QUIET), quiet=(QUIET,), trades_per_s=10.0)
    with feed_world(run_dir, fast(settings, speed), feed={"stale_after": STALE_AFTER_S}) as world:
        world.start()
        world.wait_bars(minutes, seconds=2 * minutes * 60 / speed + 20)
        health = world.listener.reports[-1][2].live
        assert health is not None
        quiet = health.markets[QUIET]
        assert (quiet.stales, quiet.gaps, quiet.renewals, quiet.malformed) == (0, 0, 0, 0)
        assert [e for e in world.listener.events(QUIET) if isinstance(e, MarketStale | MarketGap)] == []
        assert longest_silence_s(world) > STALE_AFTER_S, "there was a silence that had to be asked about"
        assert health.probes > minutes * 60 / speed / STALE_AFTER_S
        assert len(world.listener.of(Bar, QUIET)) >= minutes
        assert compare_all(world) == Faithfulness()


def longest_silence_s(world: FeedWorld) -> float:
    """Real seconds between two things of the quiet symbol that streams could tell, since the feed has listened."""
    journal, clock = world.exchange.journal, world.exchange.exchange.clock
    begun_ms = world.listener.of(Bar, QUIET)[0].open_ms
    happened = [e.time_ms for e in [*list(journal.trades[QUIET]), *list(journal.books[QUIET])]]
    moments = [begun_ms, *sorted(at_ms for at_ms in happened if at_ms > begun_ms), clock.market_ms()]
    return max(after - before for before, after in pairwise(moments)) / 1000 / float(clock.speed)
