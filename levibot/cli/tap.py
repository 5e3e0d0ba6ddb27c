"""`tap`: market data as it passes over the bus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import zmq

from levibot.bus.codec import SEPARATOR, FrameDecoder, write_record
from levibot.bus.sockets import make_socket
from levibot.cli.target import Target
from levibot.errors import MalformedMessageError
from levibot.locations import SUBSCRIBERS_SOCKET
from levibot.symbols import resolve

_TOPICS = ("tick", "bar", "market")


@click.command()
@click.argument("topic")
@click.option(
    "--raw", type=click.Path(dir_okay=False, path_type=Path), help="Append msgpack records to a file instead."
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after this many messages.")
@click.pass_obj
def tap(target: Target, topic: str, raw: Path | None, count: int | None) -> None:
    """Print market data as JSON lines, until Ctrl-C.

    TOPIC is tick, bar or market, for all symbols, or for one: tick.BTC/USDT.
    """
    prefix = _subscription(target, topic)
    decode, shown, malformed = FrameDecoder(), 0, 0
    with ExitStack() as stack:
        sink = stack.enter_context(raw.open("ab")) if raw is not None else None
        for frame in _frames(target, prefix):
            name = frame.partition(SEPARATOR)[0].decode(errors="replace")
            try:
                message = decode(frame)
            except MalformedMessageError as error:
                malformed += 1
                click.echo(f"malformed message {malformed}: {error}", err=True)
                continue
            fields = {field: getattr(message, field) for field in message.__struct_fields__}
            record = {"topic": name, "type": type(message).__name__, **fields}
            if sink is not None:
                write_record(sink, {"received_ms": time.time_ns() // 1_000_000, **record})
                sink.flush()
            else:
                click.echo(msgspec.json.encode(record))
            shown += 1
            if shown == count:
                return


def _subscription(target: Target, topic: str) -> bytes:
    """What to subscribe to; the running daemon knows which symbols there are."""
    kind, dot, written = topic.partition(".")
    if kind not in _TOPICS:
        raise click.UsageError(f"No such topic: {topic!r}. Topics: {', '.join(_TOPICS)}, or one with .SYMBOL.")
    engines = target.client().get("/engines/status")["engines"]
    if not dot:
        return f"{kind}.".encode()
    symbol = resolve(written, [engine["symbol"] for engine in engines])
    return f"{kind}.{symbol}".encode() + SEPARATOR


def _frames(target: Target, prefix: bytes) -> Iterator[bytes]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    endpoint = f"ipc://{target.running().run_dir / SUBSCRIBERS_SOCKET}"
    socket = make_socket(context, zmq.SUB, connect=endpoint)
    try:
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
        while True:
            yield socket.recv()
    finally:
        socket.close(0)
        context.term()
