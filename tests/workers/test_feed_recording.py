"""What one feed worker recorded, another one publishes again, the same at any speed and in lockstep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import zmq

from levibot.bus.messages import Bar, Book, FeedReport, MarketConnected, MarketEnded, MarketStale, Tick, Trades
from levibot.bus.sockets import drain, make_socket
from levibot.clock import boot_ns
from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.market.bars import MINUTE_MS
from tests.deadline import wait_for
from tests.exchange.running import running
from tests.exchange.settings import Settings
from tests.market.recordings import BTC, ETH, START_MS, Published, content, decode, every_kind, studio
from tests.workers.feed_host import FeedHost
from tests.workers.test_feed import Participant

SYMBOLS = (BTC, ETH)
Contents = list[tuple[object, ...]]


class Tap:
    """Hears everything."""

    def __init__(self, host: FeedHost) -> None:
        self.heard: list[Published] = []
        self._socket = make_socket(host.context, zmq.SUB, connect=host.spec.endpoints.subscribers)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")

    def pump(self) -> list[Published]:
        """Take in what has come; all so far."""
        self.heard += [decode(frames[0]) for frames in drain(self._socket)]
        return self.heard

    def until_ended(self, count: int) -> list[Published]:
        """All that comes until `count` symbols have ended."""
        wait_for(lambda: len(of(MarketEnded, self.pump())) == count, "the end of the replay", seconds=60)
        return self.heard


def of(kind: type[Published], messages: Iterable[Published]) -> list[Published]:
    return [message for message in messages if isinstance(message, kind)]


def recording(folder: Path, **changes: object) -> FeedConfig:
    """A simulated feed that records."""
    fast = {"speed": 600.0, "tick_hz": 40.0, "history_bars": 100, "record": True}
    return FeedConfig.model_validate({**fast, **changes})


def replaying(folder: Path, **changes: object) -> FeedConfig:
    """A feed that plays `folder`."""
    fast = {"speed": 3000.0, "history_bars": 100, "source": "replay", "path": folder}
    return FeedConfig.model_validate({**fast, **changes})


def files_of(host: FeedHost) -> Path:
    return host.spec.state_dir / "recordings" / "feed"


def contents(messages: Sequence[Published]) -> Contents:
    return [content(message) for message in messages if not isinstance(message, MarketEnded)]


def aligned(one: Contents, other: Contents) -> tuple[Contents, Contents]:
    """The part that both heard: a subscription begins a moment after the publisher, and ends before it."""
    if one[0] in other:
        other = other[other.index(one[0]) :]
    else:
        one = one[one.index(other[0]) :]
    length = min(len(one), len(other))
    return one[:length], other[:length]


def test_a_recorded_feed_is_replayed_bit_for_bit_at_any_speed(run_dir: Path) -> None:
    with FeedHost(run_dir, SYMBOLS, recording(run_dir)) as host:
        tap = Tap(host)
        host.start()
        wait_for(lambda: len(of(Bar, tap.pump())) >= 40, "bars")
        report = host.report(lambda report: bool(report.recorder and report.recorder.messages > 100), "a report")
        host.stop()
        heard = contents(tap.pump())
        folder = files_of(host)
    assert report.recorder is not None
    assert (report.recorder.dropped, report.recorder.trouble) == (0, "")
    assert len(list(folder.iterdir())) == len(SYMBOLS)
    for speed in (1200.0, 30_000.0):
        place = run_dir / f"at-{speed:g}"
        place.mkdir()
        with FeedHost(place, SYMBOLS, replaying(folder, speed=speed)) as host:
            tap = Tap(host)
            host.start()
            again = contents(tap.until_ended(2))
        before, after = aligned(heard, again)
        assert len(before) > 0.8 * len(heard)
        assert after == before  # across symbols too


def items_of_every_kind(folder: Path, ahead_ms: int) -> list[Published]:
    """Record them; nothing happens in the first `ahead_ms`, so that a replay is heard from its first message."""
    with studio(folder) as made:
        for symbol in SYMBOLS:
            made.open(symbol, event_ms=START_MS - ahead_ms)
        for index in range(0, 40, 10):
            for symbol in SYMBOLS:
                made.play(every_kind(index, symbol), symbol)
        return made.published


def each(messages: Sequence[Published], symbol: str) -> Contents:
    return contents([message for message in messages if message.symbol == symbol])


@pytest.mark.parametrize("speed", [600.0, 10_000.0])
def test_messages_of_every_kind_come_through_the_feed_as_they_were(run_dir: Path, speed: float) -> None:
    published = items_of_every_kind(run_dir / "recorded", ahead_ms=int(speed * 1000))
    with FeedHost(run_dir, SYMBOLS, replaying(run_dir / "recorded", speed=speed)) as host:
        tap = Tap(host)
        host.start()
        heard = tap.until_ended(2)
        receiver = host.receiver()
        snapshot = receiver.snapshot(BTC, 30)
    for symbol in SYMBOLS:
        expected, again = each(published, symbol)[1:], each(heard, symbol)
        assert again[-len(expected) :] == expected
        assert again[: -len(expected)] in ([], [content(of(MarketConnected, published)[SYMBOLS.index(symbol)])])
    assert len(of(Trades, heard)) == len(of(Book, heard)) * 2 == 16
    bars = [bar for bar in of(Bar, heard) if bar.symbol == BTC]
    assert [bar.open_ms for bar in snapshot.bars] == [bar.open_ms for bar in bars[-30:] if isinstance(bar, Bar)]


def test_lockstep_passes_on_trades_and_books_too(run_dir: Path) -> None:
    published = items_of_every_kind(run_dir / "recorded", ahead_ms=1000)
    with FeedHost(run_dir, SYMBOLS, replaying(run_dir / "recorded", lockstep=True)) as host:
        tap = Tap(host)
        host.start()
        everybody = [
            *(Participant(host, f"engine-{symbol}", [symbol], [symbol]) for symbol in SYMBOLS),
            *(Participant(host, name, [], list(SYMBOLS)) for name in ("broker", "risk")),
        ]
        for participant in everybody:
            participant.join()

        def ended() -> bool:
            for participant in everybody:
                participant.step()
            return len({message.symbol for message in of(MarketEnded, tap.pump())}) == 2

        wait_for(ended, "the end", seconds=60, every=0)
        heard = tap.heard
    for symbol in SYMBOLS:
        unique = list(dict.fromkeys(each(heard, symbol)))  # a step may be repeated
        expected = list(dict.fromkeys(each(published, symbol)))
        assert unique[-len(expected) + 1 :] == expected[1:]
    assert all(message.lockstep for message in of(Tick, heard) if isinstance(message, Tick))


def test_kill_9_costs_at_most_the_last_second_and_the_joint_is_stale(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), recording(run_dir)) as host:
        tap = Tap(host)
        host.start()
        wait_for(lambda: len(of(Bar, tap.pump())) >= 30, "bars")
        host.kill()
        killed_ns = boot_ns()
        wait_for(lambda: not drain_more(tap), "silence")
        first = list(tap.heard)
        host.start()
        wait_for(lambda: len(of(Bar, tap.pump()[len(first) :])) >= 20, "bars of the second feed")
        host.stop()
        second = tap.pump()[len(first) :]
        folder = files_of(host)
    assert len(list(folder.iterdir())) == 2
    place = run_dir / "again"
    place.mkdir()
    with FeedHost(place, (BTC,), replaying(folder)) as host:
        tap = Tap(host)
        host.start()
        heard = tap.until_ended(1)
    safe = [message for message in first if received_ns(message) < killed_ns - 2_000_000_000]
    before, after = aligned(contents(safe), contents(heard))
    assert len(before) > 10
    assert after == before
    (joint,) = [message for message in of(MarketStale, heard) if isinstance(message, MarketStale)]
    assert joint.reason == "the feed was started again"
    opened = [bar.open_ms for bar in heard if isinstance(bar, Bar)]
    assert all(later - earlier == MINUTE_MS for earlier, later in pairwise(opened))
    last = max(bar.open_ms for bar in second if isinstance(bar, Bar))
    assert opened[-1] >= last


def test_live_data_of_an_exchange_are_replayed_bit_for_bit(run_dir: Path) -> None:
    with running(Settings(dialect="binance")) as exchange:
        place = exchange.connection()
        config = FeedConfig(source="ccxt", record=True, history_bars=100)
        with FeedHost(run_dir, SYMBOLS, config) as host:
            addresses = ExchangeConfig(id=place.id, urls=dict(place.urls), requests_per_minute=60_000.0)
            host.spec = host.spec.model_copy(update={"exchange": addresses, "exchange_id": place.id})
            tap = Tap(host)
            host.start(ready=False)
            wait_for(
                lambda: len(of(Trades, tap.pump())) > 20 and len(of(Book, tap.heard)) > 20,
                "trades and books of both symbols",
                seconds=60,
            )
            host.stop()
            live = tap.pump()
            folder = files_of(host)
    place_again = run_dir / "again"
    place_again.mkdir()
    with FeedHost(place_again, SYMBOLS, replaying(folder, speed=20.0)) as host:
        tap = Tap(host)
        host.start()
        again = tap.until_ended(2)
    for symbol in SYMBOLS:
        before, after = aligned(each(live, symbol), each(again, symbol))
        assert len(before) > 10
        assert after == before


def drain_more(tap: Tap) -> bool:
    count = len(tap.heard)
    return len(tap.pump()) > count


def received_ns(message: Published) -> int:
    return getattr(message, "received_ns", 0)


def test_a_damaged_recording_is_told_in_the_log_with_file_and_offset(run_dir: Path) -> None:
    folder = run_dir / "recorded"
    items_of_every_kind(folder, ahead_ms=1000)
    for path in folder.iterdir():
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
    with FeedHost(run_dir, SYMBOLS, replaying(folder)) as host:
        host.start()

        def logged() -> bool:
            text = "".join(path.read_text(encoding="utf-8") for path in host.spec.log_dir.glob("*.jsonl"))
            return text.count("data_skipped") == 2 and f"{path}: the block at byte" in text

        wait_for(logged, "the warnings")
        host.report(lambda report: isinstance(report, FeedReport) and report.ended, "the end")
