"""What recording costs the feed: per message in the thread that publishes, flat out, and on disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zmq

from levibot.bus.sockets import ipc, make_socket, send
from levibot.clock import boot_ns
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.path import BookLevels, Quote
from levibot.market.publisher import Publisher
from levibot.market.recorder import FeedRecorder
from levibot.market.recording import Market
from levibot.market.specs import market_spec
from scripts.bench.figures import LONG, RUNS, Figure

SYMBOLS = [f"S{number:02}/USDT" for number in range(15)]
FLAT_OUT = 60_000
SECONDS = 60 if LONG else 2
HZ, BOOK_EVERY = 30, 3  # ticks a second and symbol; a book of 50 levels with every third
START_MS = 1_750_000_000_000 // MINUTE_MS * MINUTE_MS


class Run(NamedTuple):
    """One series of messages."""

    messages: int
    seconds: float
    cpu_seconds: float  # of the thread that published
    bytes: int
    dropped: int


def run(count: int, *, record: bool, pace: float = 0.0) -> Run:
    """Publish `count` rounds of a tick for each symbol, every `pace` seconds, to a PUB socket."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with tempfile.TemporaryDirectory(prefix="levi-bench-") as name:
        folder = Path(name)
        recorder = FeedRecorder(folder / "feed", "bench", "bench", 1) if record else None
        if recorder is not None:
            recorder.start()
        socket = make_socket(context, zmq.PUB, bind=ipc(folder / "market"))
        publisher = Publisher(1, lambda frame: send(socket, frame), boot_ns, 1500, False, recorder)
        history = [
            Candle(START_MS + n * MINUTE_MS, 100.0 + n % 7, 110.0, 90.0, 101.0 + n % 5, n / 7)
            for n in range(-1500, 0)
        ]
        for symbol in SYMBOLS:
            publisher.open(symbol, Market(market_spec(symbol, 100.0), history, [], iter(())), START_MS)
        rounds = [_items(number) for number in range(count)]
        before = publisher.published
        begun, cpu = time.perf_counter(), time.thread_time()
        for number, items in enumerate(rounds):
            for item in items:
                for symbol in SYMBOLS:
                    publisher.publish(symbol, item.event_ms, item)
            if pace:
                time.sleep(max(0.0, begun + (number + 1) * pace - time.perf_counter()))
        seconds, cpu = time.perf_counter() - begun, time.thread_time() - cpu
        messages = publisher.published - before
        if recorder is not None:
            recorder.close()
        report = recorder.report() if recorder is not None else None
        context.destroy(linger=0)
    return Run(messages, seconds, cpu, report.bytes if report else 0, report.dropped if report else 0)


def _items(number: int) -> list[Quote | BookLevels]:
    event_ms = START_MS + number * 1000 // HZ
    last = 60_000 + number % 997 / 100
    quote = Quote(event_ms, round(last - 0.01, 2), round(last + 0.01, 2), round(last, 2), number % 89 / 1000)
    if number % BOOK_EVERY:
        return [quote]
    bids = [(round(last - level / 100, 2), (number * 31 + level * 17) % 9973 / 1000) for level in range(1, 51)]
    asks = [(round(last + level / 100, 2), (number * 37 + level * 13) % 9973 / 1000) for level in range(1, 51)]
    return [quote, BookLevels(event_ms, bids, asks)]


def rows() -> Iterator[Figure]:
    """Figures of the recorder."""
    states = run(0, record=True).bytes  # what the files begin with, once a day
    live = [
        (run(SECONDS * HZ, record=False, pace=1 / HZ), run(SECONDS * HZ, record=True, pace=1 / HZ))
        for _ in range(RUNS)
    ]
    plain = tuple(without.cpu_seconds / without.messages * 1e6 for without, _ in live)
    recorded = tuple(taped.cpu_seconds / taped.messages * 1e6 for _, taped in live)
    bare = Figure(
        "feed: CPU per message published", plain, "µs", beside=f"15 symbols, {HZ} ticks and 10 books/s each"
    )
    yield bare
    yield Figure(
        "feed: CPU per message, recording",
        recorded,
        "µs",
        1.5 * bare.median,
        beside=f"of the thread that publishes; {sum(taped.dropped for _, taped in live)} messages dropped",
    )
    yield Figure(
        "recording: bytes per message",
        tuple((taped.bytes - states) / taped.messages for _, taped in live),
        "B",
        beside=f"{(live[0][1].bytes - states) / live[0][1].seconds * 86_400 / 1e9:.1f} GB a day at this rate; "
        f"{states / len(SYMBOLS) / 1000:.0f} kB more for each symbol and day, its state at the beginning",
    )
    rounds = FLAT_OUT // len(SYMBOLS) * BOOK_EVERY // (BOOK_EVERY + 1)
    fast = [(run(rounds, record=False), run(rounds, record=True)) for _ in range(RUNS)]
    yield Figure("feed: published/s, flat out", tuple(one.messages / one.seconds for one, _ in fast), "/s")
    yield Figure(
        "feed: published/s, flat out, recording",
        tuple(one.messages / one.seconds for _, one in fast),
        "/s",
        10 * len(SYMBOLS) * HZ * (BOOK_EVERY + 1) / BOOK_EVERY,
        "at least",
        f"ten times the load above; {sum(one.dropped for _, one in fast)} messages dropped",
    )
