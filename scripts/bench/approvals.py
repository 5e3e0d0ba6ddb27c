"""How long an engine waits for leave to open a position, while fifteen ask."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import structlog
import zmq

from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import AccountSnapshot, Position
from levibot.bus.sockets import AsyncReader, ipc, make_socket, send
from levibot.clock import boot_ns
from levibot.config_risk import RiskConfig
from levibot.risk.manager import RiskManager
from levibot.spec import Endpoints
from levibot.supervisor.risk_desk import RiskDesk
from scripts.bench.approval_clients import symbol_of
from scripts.bench.children import Child, children
from scripts.bench.figures import LONG, RUNS, Figure, percentile
from scripts.bench.live import wait_for

ENGINES = 15
TURNS = 40 if LONG else 6  # requests of each engine in a run
_NAMES = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
_WIDE = {"gross_exposure": 10, "net_exposure": 10, "correlated_exposure": 10, "orders_per_minute": 100_000}


def rows() -> Iterator[Figure]:
    """Figures of a risk desk on real sockets; the engines are another process."""
    apart, together, bare = [], [], []
    with tempfile.TemporaryDirectory(prefix="levi-") as name, children() as started:
        with _desk(Path(name)) as (ends, risk):
            clients = Child("scripts.bench.approval_clients", str(ENGINES), ends.publishers, ends.risk)
            started.append(clients)
            wait_for(lambda: clients.ask({"times": 1}) == {} and risk.event_ms is not None, "prices")
            for _ in range(RUNS):
                apart.append(clients.ask({"turns": TURNS, "hz": 2.0, "together": False, "raw": False}))
                together.append(clients.ask({"turns": TURNS, "hz": 2.0, "together": True, "raw": False}))
        with _echo(Path(name)) as ends:
            clients = Child("scripts.bench.approval_clients", str(ENGINES), ends.publishers, ends.risk)
            started.append(clients)
            for _ in range(RUNS):
                bare.append(clients.ask({"turns": TURNS, "hz": 2.0, "together": False, "raw": True}))
    asked = 2 * RUNS * TURNS * ENGINES
    granted = sum(run["granted"] for run in (*apart, *together))
    if granted < asked * 0.9:
        raise RuntimeError(f"only {granted} of {asked} were granted: {dict(risk.refusals)}")
    for fraction, target in ((0.5, 1.0), (0.99, 2.0)):
        limit = percentile([took for run in bare for took in run["took_ms"]], fraction)
        yield Figure(
            f"risk approval, {ENGINES} engines, p{fraction * 100:.0f}",
            tuple(percentile(run["took_ms"], fraction) for run in apart),
            "ms",
            target,
            beside=f"a message there and back on the same sockets {limit:.2f} ms; {granted} of {asked} granted",
        )
    yield Figure(
        f"risk approval, all {ENGINES} at one moment, p99",
        tuple(percentile(run["took_ms"], 0.99) for run in together),
        "ms",
        beside="from when each was sent; they are decided one after another",
    )


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def _desk(folder: Path) -> Iterator[tuple[Endpoints, RiskManager]]:
    """A desk whose account holds five positions, as the supervisor has it in its loop."""
    ends = Endpoints(**{name: ipc(folder / name) for name in _NAMES})
    forwarder = Forwarder(ends.publishers, ends.subscribers)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    limits = RiskConfig.model_validate({**_WIDE, "max_positions": ENGINES, "max_order_notional": 10.0})
    risk = RiskManager(limits, b"key of the benchmark", 1, folder / "risk.json")
    held = [Position(symbol_of(number), Decimal(1), Decimal(100), Decimal(0)) for number in range(5)]
    risk.on_account_snapshot(AccountSnapshot(0, 1, Decimal(100_000), "USDT", held, []), boot_ns())
    log = structlog.wrap_logger(structlog.testing.CapturingLogger())

    async def make() -> RiskDesk:
        fields = {"lockstep": False, "log": log, "malformed": _fail}
        return RiskDesk(asyncio.get_running_loop(), context, ends, risk, **fields)  # type: ignore[arg-type]

    with _loop() as loop:
        desk = asyncio.run_coroutine_threadsafe(make(), loop).result()
        task = asyncio.run_coroutine_threadsafe(desk.run(), loop)
        try:
            yield ends, risk
        finally:
            task.cancel()
            asyncio.run_coroutine_threadsafe(_settle(), loop).result()
            loop.call_soon_threadsafe(desk.close)
    context.destroy(linger=0)
    forwarder.close()


@contextmanager
def _echo(folder: Path) -> Iterator[Endpoints]:
    """What the sockets and the loop take by themselves."""
    ends = Endpoints(**{name: ipc(folder / f"{name}-echo") for name in _NAMES})
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with _loop() as loop:

        async def make() -> AsyncReader:
            socket = make_socket(context, zmq.ROUTER, bind=ends.risk)
            return AsyncReader(
                asyncio.get_running_loop(), socket, lambda frames: send(socket, frames[0], frames[-1])
            )

        reader = asyncio.run_coroutine_threadsafe(make(), loop).result()
        try:
            yield ends
        finally:
            loop.call_soon_threadsafe(reader.close)
    context.destroy(linger=0)


async def _settle() -> None:
    """Let what was cancelled end."""
    await asyncio.sleep(0)


def _fail(where: str, error: Exception) -> None:
    raise RuntimeError(f"{where}: {error}")
