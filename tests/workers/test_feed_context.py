"""The real feed worker and the context symbol: streamed on demand, the same each time, and missed by nobody."""

from __future__ import annotations

from pathlib import Path

from levibot.bus.messages import Bar, BarCorrected, Snapshot, SnapshotRefused
from levibot.clock import boot_ns
from levibot.market.bars import MINUTE_MS
from levibot.market.context import ContextBar
from levibot.market.subscription import MarketSubscription
from tests.deadline import wait_for
from tests.workers.feed_host import FeedHost
from tests.workers.test_feed import BTC, ETH, Participant, fast, write_candles

Seen = tuple[str, int, float]


def play(host: FeedHost, context_symbol: str, bars: int) -> list[Seen]:
    """What an engine of ETH gets in lockstep, up to the given number of its own bars."""
    others = [Participant(host, name, [], [BTC, ETH]) for name in ("broker", "risk")]
    for participant in others:
        participant.join()
    refused: list[str] = []
    endpoints = host.spec.endpoints
    engine = MarketSubscription(
        host.context,
        endpoints.subscribers,
        endpoints.feed,
        symbol=ETH,
        bars=5,
        name="engine-ETH-USDT",
        lockstep=True,
        context_symbol=context_symbol,
        refuse=refused.append,
    )
    seen: list[Seen] = []

    def turn() -> bool:
        engine.ask(boot_ns())
        for message in engine.drain():
            if isinstance(message, Snapshot):
                seen.extend(("history", bar.open_ms, bar.close) for bar in message.bars)
            elif isinstance(message, ContextBar):
                seen.append(("context", message.bar.open_ms, message.bar.close))
            elif isinstance(message, Bar | BarCorrected):
                seen.append(("own", message.open_ms, message.close))
        if engine.settled:
            engine.acknowledge()
        for participant in others:
            participant.step()
        return len([one for one in seen if one[0] == "own"]) >= bars

    try:
        wait_for(turn, f"{bars} bars", seconds=60, every=0)
    finally:
        engine.close()
    assert refused == []
    return seen


def test_lockstep_brings_the_context_of_a_minute_before_the_own_bar_of_the_next(run_dir: Path) -> None:
    runs = []
    for name in ("a", "b"):
        (run_dir / name).mkdir()
        with FeedHost(run_dir / name, (ETH,), fast(lockstep=True)) as host:
            host.start()
            runs.append(play(host, BTC, 15))
    assert runs[0] == runs[1]
    known: set[int] = set()
    for kind, open_ms, _ in runs[0]:
        if kind == "context":
            known.add(open_ms)
        elif kind == "own":
            assert open_ms - MINUTE_MS in known


def test_a_replay_without_the_context_plays_the_same_and_says_so_once(run_dir: Path) -> None:
    folder = run_dir / "candles"
    folder.mkdir()
    write_candles(folder / "ETHUSDT-1m.csv", 1000, 60)
    config = fast(source="replay", path=folder, history_bars=20, speed=3000.0)
    with FeedHost(run_dir, (ETH,), config) as host:
        host.start()
        receiver = host.receiver()
        for _ in range(3):
            refused = receiver.request(BTC)
            assert isinstance(refused, SnapshotRefused)
            assert "no data of BTC/USDT" in refused.reason
        other = receiver.request("SOL/USDT")
        assert isinstance(other, SnapshotRefused)
        assert other.reason == "not among the symbols of this feed"
        host.want(ETH)
        beat = host.wait_beat(lambda beat: bool(getattr(beat.report, "ended", False)), "the end")
        assert (beat.errors, beat.last_error) == (0, "")
        host.stop()
        log = "".join(path.read_text() for path in host.spec.log_dir.iterdir())
    assert log.count("context_missing") == 1
    assert "market_failed" not in log
