"""The real feed worker, as a process with real sockets: no hole, no duplicate, no step back."""

from __future__ import annotations

import json
from pathlib import Path

from levibot.bus.messages import (
    Acknowledge,
    Bar,
    FeedReport,
    JoinLockstep,
    LeaveLockstep,
    MarketConnected,
    MarketEnded,
    MarketGap,
    SnapshotRefused,
    Tick,
)
from levibot.config_market import ExchangeConfig, FeedConfig
from levibot.market.bars import MINUTE_MS
from tests.deadline import wait_for
from tests.workers.feed_host import FeedHost, MarketMessage, Receiver

BTC, ETH = "BTC/USDT", "ETH/USDT"
HEADER = "timestamp,open,high,low,close,volume\n"


def fast(**changes: object) -> FeedConfig:
    """Ten simulated minutes a second."""
    return FeedConfig.model_validate({"speed": 600.0, "tick_hz": 40.0, "history_bars": 100, **changes})


def write_candles(path: Path, first: int, count: int, without: range = range(0)) -> None:
    rows = [
        f"{minute * MINUTE_MS},{100 + minute % 7},{108 + minute % 7},{99},{101 + minute % 7},2\n"
        for minute in range(first, first + count)
        if minute not in without
    ]
    path.write_text(HEADER + "".join(rows), encoding="utf-8")


def shape(message: MarketMessage) -> tuple[object, ...]:
    """A message without what differs between two starts; a number that is unknown is as good as another."""
    fields = {name: getattr(message, name) for name in message.__struct_fields__}
    values = (fields[name] for name in fields if name not in ("epoch", "received_ns"))
    return type(message).__name__, *("unknown" if value != value else value for value in values)


def test_a_snapshot_and_what_comes_after_it_make_one_history_without_hole_or_duplicate(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC, ETH), fast(speed=6000.0)) as host:
        host.start()
        receiver = host.receiver()
        receiver.subscribe(BTC)
        receiver.wait(lambda: receiver.of(Bar, BTC), "a bar")
        snapshots = []
        for count in (10, 20, 30):  # asked for while bars are being published
            snapshots.append(receiver.snapshot(BTC))
            receiver.wait(lambda count=count: len(receiver.of(Bar, BTC)) > 20 * count, "more bars")
        for snapshot in snapshots:
            later = [bar for bar in receiver.of(Bar, BTC) if isinstance(bar, Bar) and bar.seq > snapshot.seq]
            assert [bar.seq for bar in later] == list(range(snapshot.seq + 1, snapshot.seq + 1 + len(later)))
            opened = [bar.open_ms for bar in [*snapshot.bars, *later]]
            assert opened == list(range(opened[0], opened[0] + len(opened) * MINUTE_MS, MINUTE_MS))
            assert len(snapshot.bars) == 100
        ticks = [tick for tick in receiver.of(Tick, BTC) if isinstance(tick, Tick)]
        assert [tick.seq for tick in ticks] == list(range(ticks[0].seq, ticks[0].seq + len(ticks)))
        assert all(tick.bid < tick.ask for tick in ticks)
        assert not receiver.of(Bar, ETH)
        host.stop()


def test_each_tick_tells_the_number_of_the_last_bar_so_that_a_hole_shows(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast()) as host:
        host.start()
        receiver = host.receiver()
        receiver.subscribe(BTC)
        receiver.wait(lambda: len(receiver.of(Bar, BTC)) > 5, "bars")
        reliable = None
        for message in receiver.received:
            if isinstance(message, Tick):
                assert reliable is None or message.reliable_seq == reliable
            else:
                reliable = message.seq


def test_a_killed_feed_goes_on_where_the_market_stood(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast(speed=60.0)) as host:
        host.start()
        progress = host.spec.state_dir / "feed.json"
        receiver = host.receiver()
        receiver.subscribe(BTC)
        wait_for(progress.exists, "stored progress")
        first = progress.read_bytes()
        wait_for(lambda: progress.read_bytes() != first, "more stored progress")
        before = receiver.snapshot(BTC)
        host.kill()
        (stored,) = json.loads(progress.read_text(encoding="utf-8"))["markets"].values()
        host.start()
        after = receiver.snapshot(BTC)
        assert after.epoch > before.epoch
        known = {bar.open_ms: shape(bar)[3:] for bar in before.bars}  # without the sequence number
        assert all(known.get(bar.open_ms, shape(bar)[3:]) == shape(bar)[3:] for bar in after.bars)
        assert abs(after.bars[-1].open_ms - before.bars[-1].open_ms) <= 3 * MINUTE_MS
        receiver.wait(
            lambda: any(
                isinstance(message, Tick) and message.epoch == after.epoch for message in receiver.received
            ),
            "a tick of the new feed",
        )
        ticks = [item for item in receiver.received if isinstance(item, Tick) and item.epoch == after.epoch]
        assert ticks[0].seq == 1
        assert ticks[0].event_ms >= stored


def test_a_stopped_feed_goes_on_without_repeating_a_tick(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast(speed=60.0)) as host:
        receiver = host.receiver()
        receiver.subscribe(BTC)
        host.start()
        receiver.wait(lambda: len(receiver.of(Tick, BTC)) > 5, "ticks")
        host.stop()
        receiver.pump()
        last = receiver.of(Tick, BTC)[-1]
        seen = len(receiver.received)
        host.start()
        receiver.wait(lambda: any(isinstance(item, Tick) for item in receiver.received[seen:]), "a tick")
        first = next(item for item in receiver.received[seen:] if isinstance(item, Tick))
        assert isinstance(last, Tick)
        assert first.event_ms > last.event_ms


def test_damaged_progress_is_set_aside_and_counted(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast()) as host:
        host.spec.state_dir.mkdir()
        (host.spec.state_dir / "feed.json").write_text("{", encoding="utf-8")
        host.start()
        assert host.wait_beat(lambda beat: beat.errors == 1, "a counted error").ready
        assert list(host.spec.state_dir.glob("feed.json.corrupt-*"))


def test_symbols_come_and_go_at_run_time(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast(context="")) as host:
        host.start()
        receiver = host.receiver()
        receiver.subscribe(BTC, ETH)
        assert isinstance(receiver.request(ETH), SnapshotRefused)
        host.want(BTC, ETH)
        receiver.wait(lambda: receiver.of(Tick, ETH), "a tick of the new symbol")
        ahead = receiver.snapshot(ETH).seq
        host.want(ETH)
        assert isinstance(receiver.request(BTC), SnapshotRefused)
        host.report(lambda report: report.symbols == {ETH: "live"}, "a report without the removed symbol")
        assert receiver.snapshot(ETH).seq >= ahead
        host.want(BTC, ETH)
        receiver.wait(
            lambda: any(
                isinstance(item, MarketConnected) and item.symbol == BTC and item.seq > 1  # its numbers go on
                for item in receiver.received
            ),
            "the symbol again",
        )


def test_a_symbol_with_bad_data_leaves_the_others_running_and_says_why(run_dir: Path) -> None:
    folder = run_dir / "candles"
    folder.mkdir()
    write_candles(folder / "BTCUSDT-1m.csv", 1000, 400)
    (folder / "ETHUSDT-1m.csv").write_text(HEADER + "60000,5,4,6,5,1\n", encoding="utf-8")
    config = fast(source="replay", path=folder, history_bars=50)
    with FeedHost(run_dir, (BTC, ETH, "SOL/USDT"), config) as host:
        host.start()
        receiver = host.receiver()
        receiver.subscribe(BTC)
        refused = receiver.request(ETH)
        assert isinstance(refused, SnapshotRefused)
        assert "ETHUSDT-1m.csv:2: high 4.0 below low 6.0" in refused.reason
        missing = receiver.request("SOL/USDT")
        assert isinstance(missing, SnapshotRefused)
        assert "SOLUSDT-1m.csv.gz" in missing.reason
        receiver.wait(lambda: receiver.of(Tick, BTC), "ticks of the good symbol")
        report = host.report(lambda report: report.published > 0, "a report")
        assert report.symbols[BTC] == "live"
        assert report.symbols[ETH].startswith("failed: ")


def test_a_symbol_whose_file_cannot_be_read_now_is_tried_again(run_dir: Path) -> None:
    folder = run_dir / "candles"
    folder.mkdir()
    write_candles(folder / "BTCUSDT-1m.csv", 1000, 400)
    in_the_way = folder / "ETHUSDT-1m.csv"
    in_the_way.mkdir()
    with FeedHost(run_dir, (BTC, ETH), fast(source="replay", path=folder, history_bars=50)) as host:
        host.start()
        host.report(lambda report: report.symbols[ETH].startswith("failed: IsADirectoryError"), "the failure")
        in_the_way.rmdir()
        write_candles(folder / "whole", 1000, 400)
        (folder / "whole").rename(in_the_way)
        host.report(lambda report: report.symbols == {BTC: "live", ETH: "live"}, "both symbols, live")


def test_an_exchange_that_is_not_reached_is_logged_once_for_all_symbols_and_without_a_traceback(
    run_dir: Path,
) -> None:
    nowhere = ExchangeConfig(id="mexc", urls={"spot.public": "http://127.0.0.1:1"})
    with FeedHost(run_dir, (BTC, ETH), FeedConfig(source="ccxt")) as host:
        host.spec = host.spec.model_copy(update={"exchange": nowhere, "exchange_id": "mexc"})
        host.start()

        def failed_again(report: FeedReport) -> bool:
            return all("connection refused by 127.0.0.1:1" in report.symbols[symbol] for symbol in (BTC, ETH))

        host.report(failed_again, "both symbols, failed")
        host.want(BTC, ETH)
        host.report(failed_again, "both symbols, failed still")
        host.stop()
        log = "".join(path.read_text() for path in host.spec.log_dir.iterdir())
    assert log.count("market_failed") == 1
    assert "Traceback" not in log


def test_a_replay_fills_a_hole_reports_it_once_and_says_when_it_ends(run_dir: Path) -> None:
    folder = run_dir / "candles"
    folder.mkdir()
    write_candles(folder / "BTCUSDT-1m.csv", 1000, 50, without=range(1030, 1040))
    with FeedHost(run_dir, (BTC,), fast(source="replay", path=folder, history_bars=20, speed=3000.0)) as host:
        receiver = host.receiver()
        receiver.subscribe(BTC)
        host.start()
        host.report(lambda report: report.ended, "the end")
        snapshot = receiver.snapshot(BTC, bars=60)
        receiver.wait(lambda: any(isinstance(item, MarketEnded) for item in receiver.received), "the end")
        gaps = [item for item in receiver.received if isinstance(item, MarketGap)]
        assert [(gap.from_ms, gap.missing, gap.filled) for gap in gaps] == [(1030 * MINUTE_MS, 10, True)]
        assert [gap.seq for gap in snapshot.gaps] == [gaps[0].seq]
        assert sum(bar.synthetic for bar in snapshot.bars) == 10
        host.stop()


def test_the_end_of_each_recording_and_of_the_replay_is_told_and_logged(run_dir: Path) -> None:
    folder = run_dir / "candles"
    folder.mkdir()
    write_candles(folder / "BTCUSDT-1m.csv", 1000, 40)
    write_candles(folder / "ETHUSDT-1m.csv", 1000, 300)
    config = fast(source="replay", path=folder, history_bars=20, speed=3000.0)
    with FeedHost(run_dir, (BTC, ETH), config) as host:
        host.start()
        early = host.report(lambda report: report.symbols == {BTC: "ended", ETH: "live"}, "the end of the first")
        assert not early.ended
        host.want(BTC, ETH)
        late = host.report(lambda report: report.ended, "the end of both")
        assert late.symbols == {BTC: "ended", ETH: "ended"}
        host.stop()
        text = "".join(path.read_text(encoding="utf-8") for path in host.spec.log_dir.iterdir())
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["symbol"] for line in lines if line["event"] == "recording_ended"] == [BTC, ETH]
        (end,) = [line for line in lines if line["event"] == "replay_ended"]
        assert (end["event_ms"], end["symbols"]) == (1300 * MINUTE_MS, 2)
        assert end["published"] == late.published


def test_malformed_requests_are_counted_and_stop_nothing(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast()) as host:
        host.start()
        receiver = host.receiver()
        receiver.say(b"\xc1 nonsense")
        receiver.say(b"")
        assert receiver.snapshot(BTC, bars=3).bars
        report = host.report(lambda report: report.refused_messages == 2, "two refused messages")
        assert report.symbols == {BTC: "live"}
        assert host.wait_beat(lambda beat: beat.ready, "a heartbeat").errors == 0


def test_a_feed_waits_for_its_fence(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast()) as host:
        host.start()
        host.start(ready=False)
        first, second = host.pids
        host.wait_beat(lambda beat: beat.pid == second and beat.waiting_for == "fence", "a feed that waits")
        host.kill(first)
        host.wait_beat(lambda beat: beat.pid == second and beat.ready, "the second feed, ready")


class Participant:
    """Takes part in lockstep; acknowledges all that it receives when told to."""

    def __init__(self, host: FeedHost, name: str, symbols: list[str], hear: list[str]) -> None:
        self.receiver: Receiver = host.receiver(name)
        self.receiver.subscribe(*hear)
        self.name = name
        self.symbols = symbols

    def join(self) -> None:
        self.receiver.say(JoinLockstep(self.name, self.symbols))

    def step(self) -> None:
        for message in self.receiver.pump():
            if message.lockstep:
                kind = "tick" if isinstance(message, Tick) else "bar" if isinstance(message, Bar) else "market"
                self.receiver.say(Acknowledge(self.name, message.symbol, kind, message.seq))


def participants(host: FeedHost) -> list[Participant]:
    everybody = [
        Participant(host, "engine-BTC-USDT", [BTC], [BTC]),
        Participant(host, "engine-ETH-USDT", [ETH], [ETH]),
        Participant(host, "broker", [], [BTC, ETH]),
        Participant(host, "risk", [], [BTC, ETH]),
    ]
    for participant in everybody:
        participant.join()
    return everybody


def play(everybody: list[Participant], watched: Participant, count: int) -> list[MarketMessage]:
    def received() -> bool:
        for participant in everybody:
            participant.step()
        return len(steps(watched)) >= count

    wait_for(received, f"{count} steps", seconds=60, every=0)
    return steps(watched)[:count]


def steps(participant: Participant) -> list[MarketMessage]:
    """Lockstep messages that a participant has received, repetitions left out."""
    unique = {shape(item): item for item in participant.receiver.received if item.lockstep}
    return list(unique.values())


def event_ms(message: MarketMessage) -> int:
    return message.open_ms + MINUTE_MS if isinstance(message, Bar) else message.event_ms


def test_lockstep_goes_by_time_then_symbol_and_two_runs_give_the_same_frames(run_dir: Path) -> None:
    runs = []
    for name in ("a", "b"):
        (run_dir / name).mkdir()
        with FeedHost(run_dir / name, (ETH, BTC), fast(lockstep=True)) as host:
            host.start()
            everybody = participants(host)
            runs.append(play(everybody, everybody[-1], 60))
    assert [shape(message) for message in runs[0]] == [shape(message) for message in runs[1]]
    order = [(event_ms(message), message.symbol) for message in runs[0]]
    assert order == sorted(order)
    bars = [index for index, message in enumerate(runs[0]) if isinstance(message, Bar) and message.symbol == BTC]
    between = runs[0][bars[0] + 1 : bars[1]]
    assert sum(isinstance(message, Tick) and message.symbol == BTC for message in between) == 4


def test_lockstep_waits_for_each_participant_and_heals_by_a_new_join(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC, ETH), fast(lockstep=True)) as host:
        host.start()
        everybody = participants(host)
        play(everybody, everybody[-1], 10)
        engine, *others = everybody
        stuck_at = -1

        def stuck() -> bool:
            nonlocal stuck_at
            before = len(steps(others[-1]))
            for participant in others:
                participant.step()
            engine.receiver.pump()
            if len(steps(others[-1])) == before and len(steps(engine)) and stuck_at == before:
                return others[-1].receiver.received[-1].symbol == BTC
            stuck_at = before
            return False

        wait_for(stuck, "a feed that waits for the engine", every=0.1)
        engine.join()  # as a restarted engine does
        play(everybody, others[-1], stuck_at + 10)
        engine.receiver.say(LeaveLockstep(engine.name))
        play(others, others[-1], stuck_at + 40)


def test_lockstep_begins_only_when_all_have_joined(run_dir: Path) -> None:
    with FeedHost(run_dir, (BTC,), fast(lockstep=True)) as host:
        host.start()
        everybody = [Participant(host, "broker", [], [BTC]), Participant(host, "risk", [], [BTC])]
        for participant in everybody:
            participant.join()
        everybody[0].receiver.wait(
            lambda: any(isinstance(item, MarketConnected) for item in everybody[0].receiver.received),
            "the announcement of the feed",
        )
        assert not steps(everybody[0])
        engine = Participant(host, "engine-BTC-USDT", [BTC], [BTC])
        engine.join()
        play([*everybody, engine], engine, 12)
