"""What reaches an engine beside its own symbol: the context in the order of publication, alternative data once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from levibot.bus.codec import ALTDATA, BAR, MARKET, Decoder, encode, frame
from levibot.bus.messages import (
    AltData,
    Bar,
    BarCorrected,
    FeedRequest,
    Message,
    Snapshot,
    SnapshotRefused,
    SnapshotRequest,
)
from levibot.bus.sockets import drain, ipc, make_socket
from levibot.clock import boot_ns
from levibot.market.context import ContextBar
from levibot.market.subscription import MarketSubscription, Received
from levibot.market.watched import Watched
from tests.deadline import wait_for
from tests.engine.scene import market_spec

ETH, BTC = "ETH/USDT", "BTC/USDT"


def bar(symbol: str, seq: int, close: float = 2.0) -> Bar:
    return Bar(symbol, 1, seq, seq * 60_000, 1.0, 3.0, 1.0, close, 5.0, buy_volume=1.0)


class Feed:
    """Publishes, and answers snapshots, and an engine's subscription to it."""

    def __init__(self, directory: Path, symbol: str, context_symbol: str, *, lockstep: bool = False) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._pub = make_socket(self._context, zmq.XPUB, bind=ipc(directory / "pub"))
        self._router = make_socket(self._context, zmq.ROUTER, bind=ipc(directory / "feed"))
        self._decode: Decoder[FeedRequest] = Decoder(FeedRequest)
        self.refused: list[str] = []
        self.asked: list[str] = []
        self.lacks: set[str] = set()
        self.bars: dict[str, list[Bar]] = {symbol: [], context_symbol: []}
        self.got: list[Received] = []
        self.engine = MarketSubscription(
            self._context,
            ipc(directory / "pub"),
            ipc(directory / "feed"),
            symbol=symbol,
            bars=10,
            name="engine",
            lockstep=lockstep,
            altdata=True,
            context_symbol=context_symbol,
            refuse=self.refused.append,
        )
        topics = 5 if symbol == context_symbol else 7
        wait_for(lambda: len(self._subscriptions()) == topics, "all subscriptions")

    def publish(self, prefix: bytes, symbol: str, message: Message) -> None:
        self._pub.send(frame(prefix, symbol, message))

    def close(self, symbol: str, seq: int, *, lose: bool = False) -> None:
        """A bar closes."""
        made = bar(symbol, seq)
        self.bars[symbol].append(made)
        if not lose:
            self.publish(BAR, symbol, made)

    def turn(self) -> list[Received]:
        """Ask, answer and drain once; all that was got so far.

        By the real clock: a clock ahead of it would ask again while an answer is on its way.
        """
        self.engine.ask(boot_ns())
        for identity, body in self._wait_for_requests():
            request = self._decode(body)
            if isinstance(request, SnapshotRequest):
                self.asked.append(request.symbol)
                self._router.send_multipart([identity, encode(self._answer(request))])
        self.got += self.engine.drain()
        return self.got

    def until(self, count: int) -> list[tuple[str, int]]:
        """Turn until `count` bars came; those of snapshots count one by one."""
        wait_for(lambda: self.turn() and len(self.seen) >= count, f"{count} bars", every=0.01)
        return self.seen

    @property
    def seen(self) -> list[tuple[str, int]]:
        """Which bars came, in order: by symbol and number; those of the context in capitals."""
        found = []
        for item in self.got:
            if isinstance(item, ContextBar):
                found.append(("CONTEXT", item.bar.open_ms // 60_000))
            elif isinstance(item, Bar | BarCorrected):
                found.append(("own", item.open_ms // 60_000))
            elif isinstance(item, Snapshot):
                found += [("own", one.open_ms // 60_000) for one in item.bars]
        return found

    def end(self) -> None:
        self.engine.close()
        self._context.destroy(linger=0)

    def _answer(self, request: SnapshotRequest) -> Snapshot | SnapshotRefused:
        if request.symbol in self.lacks:
            return SnapshotRefused(request.request_id, request.symbol, "no such file")
        bars = self.bars[request.symbol]
        seq = bars[-1].seq if bars else 0
        return Snapshot(request.request_id, request.symbol, 1, seq, market_spec(), bars[-request.bars :], [])

    def _wait_for_requests(self) -> Iterator[list[bytes]]:
        self._router.poll(20)
        return drain(self._router)

    def _subscriptions(self) -> list[bytes]:
        self.asked += [one[0].decode() for one in drain(self._pub)]
        return [one.encode() for one in self.asked]


def drained(feed: Feed, wanted: tuple[str, int]) -> bool:
    """Whether a bar came without anything being asked for."""
    feed.got += feed.engine.drain()
    return wanted in feed.seen


@pytest.fixture
def make_feed(run_dir: Path) -> Iterator[type[Feed]]:
    feeds: list[Feed] = []

    def make(*arguments: object, **settings: object) -> Feed:
        feeds.append(Feed(run_dir, *arguments, **settings))  # type: ignore[arg-type]
        feeds[-1].asked.clear()
        return feeds[-1]

    yield make  # type: ignore[misc]
    for feed in feeds:
        feed.end()


def test_the_context_comes_first_and_then_in_the_order_of_publication(make_feed: type[Feed]) -> None:
    feed = make_feed(ETH, BTC)
    for symbol in (ETH, BTC):
        feed.close(symbol, 1, lose=True)
    assert feed.until(2) == [("CONTEXT", 1), ("own", 1)]
    assert feed.asked[:2] == [BTC, ETH]
    for symbol, seq in ((BTC, 2), (ETH, 2), (BTC, 3), (ETH, 3), (ETH, 4), (BTC, 4)):
        feed.close(symbol, seq)
    order = [("CONTEXT", 2), ("own", 2), ("CONTEXT", 3), ("own", 3), ("own", 4), ("CONTEXT", 4)]
    assert feed.until(8)[2:] == order
    assert feed.refused == []


def test_a_corrected_bar_of_the_context_comes_again_with_its_flow(make_feed: type[Feed]) -> None:
    feed = make_feed(ETH, BTC)
    feed.close(BTC, 1, lose=True)
    feed.until(1)
    feed.publish(MARKET, BTC, BarCorrected(BTC, 1, 2, 0, 60_000, *[4.0] * 5, buy_volume=0.5))
    feed.until(2)
    (last,) = [item for item in feed.got if isinstance(item, ContextBar)][1:]
    assert (last.bar.open_ms, last.bar.close, last.bar.buy_volume) == (60_000, 4.0, 0.5)


def test_a_hole_in_the_context_is_mended_and_stops_nothing(make_feed: type[Feed]) -> None:
    feed = make_feed(ETH, BTC, lockstep=True)
    for symbol in (ETH, BTC):
        feed.close(symbol, 1, lose=True)
    feed.until(2)
    assert feed.engine.settled
    feed.close(BTC, 2, lose=True)
    feed.close(BTC, 3)
    feed.close(ETH, 2)
    wait_for(lambda: drained(feed, ("own", 2)), "the own bar")
    assert not feed.engine.stream.waiting
    assert not feed.engine.settled  # lockstep waits, trading does not
    feed.until(6)
    assert ("CONTEXT", 2) in feed.seen
    assert feed.engine.settled


def test_a_feed_without_the_context_is_asked_again_and_stops_nothing(make_feed: type[Feed]) -> None:
    feed = make_feed(ETH, BTC)
    feed.lacks = {BTC}
    feed.close(ETH, 1, lose=True)
    assert feed.until(1) == [("own", 1)]
    wait_for(lambda: feed.engine.settled, "an end of the waiting")
    feed.close(ETH, 2)
    assert feed.until(2) == [("own", 1), ("own", 2)]


def test_an_engine_of_the_context_gets_its_own_bars_as_such(make_feed: type[Feed]) -> None:
    feed = make_feed(BTC, BTC)
    feed.close(BTC, 1, lose=True)
    assert feed.until(2) == [("CONTEXT", 1), ("own", 1)]
    feed.close(BTC, 2)
    feed.publish(MARKET, BTC, BarCorrected(BTC, 1, 3, 0, 60_000, *[4.0] * 5))
    assert feed.until(6)[2:] == [("own", 2), ("CONTEXT", 2), ("own", 1), ("CONTEXT", 1)]
    assert set(feed.asked) == {BTC}


def test_alternative_data_come_once_of_the_own_asset_and_of_the_market_and_junk_is_refused(
    make_feed: type[Feed],
) -> None:
    feed = make_feed(ETH, BTC)
    fear = AltData("", "fear", 0.2, "news", 1, 2, 3)
    funding = [AltData("ETH", "funding", value, "exchange", 1, 2, 3) for value in (0.1, 0.1, -0.1, 0.1)]
    other = AltData("BTC", "funding", 0.3, "exchange", 1, 2, 3)
    for data in (fear, *funding, fear, other):
        feed.publish(ALTDATA, data.asset, data)
    feed.publish(ALTDATA, "ETH", AltData("ETH", "funding", float("nan"), "exchange", 1, 2, 3))
    feed.publish(ALTDATA, "ETH", other)
    feed.publish(ALTDATA, "ETH", bar(ETH, 1))
    wait_for(lambda: feed.turn() is not None and len(feed.refused) >= 3, "all messages", every=0.01)
    got = [item for item in feed.got if isinstance(item, AltData)]
    assert got == [fear, funding[0], funding[2], funding[3]]
    assert len(feed.refused) == 3


def test_the_context_is_streamed_when_asked_for_and_set_aside_while_nobody_trades_it() -> None:
    watched = Watched(BTC, [ETH])
    assert watched.symbols == [ETH]
    assert not watched.ask("SOL/USDT")
    assert BTC not in watched
    assert watched.ask(BTC)
    assert not watched.ask(BTC)
    assert watched.symbols == [ETH, BTC]
    assert BTC in watched
    watched.serve([BTC, ETH])
    assert watched.symbols == [BTC, ETH]
    assert BTC not in watched
    watched.serve([ETH])
    assert watched.symbols == [ETH, BTC]
    assert not Watched("", [ETH]).ask("")
