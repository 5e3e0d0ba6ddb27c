"""Fifteen engines ask at once over real sockets: together they get no more than the portfolio allows."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import structlog
import zmq

from levibot.bus.codec import TICK, Decoder, encode, frame
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import (
    AccountRequest,
    AccountSnapshot,
    BrokerRequest,
    Grant,
    OrderEvent,
    OrderEvents,
    RiskAnswer,
    RiskRequest,
    SetTradingState,
    TradingStateReport,
)
from levibot.bus.sockets import drain, ipc, make_socket, send
from levibot.clock import boot_ns
from levibot.config_risk import RiskConfig
from levibot.execution.grants import GrantBook
from levibot.risk.manager import RiskManager
from levibot.spec import Endpoints
from levibot.supervisor.risk_desk import RiskDesk
from tests.risk.market import EPOCH, KEY, MORNING_MS, Broker, intent, only, tick

SYMBOLS = [f"S{number}/USDT" for number in range(15)]


class Crowd:
    """A desk, a broker that knows its account, and fifteen engines."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, limits: RiskConfig) -> None:
        self.loop, self.folder, self.limits = loop, folder, limits
        names = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")
        self.ends = Endpoints(**{name: ipc(folder / name) for name in names})
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.forwarder = Forwarder(self.ends.publishers, self.ends.subscribers)
        self.publisher = make_socket(self.context, zmq.PUB, connect=self.ends.publishers)
        self.broker = make_socket(self.context, zmq.ROUTER, bind=self.ends.broker)
        self.requests: Decoder[BrokerRequest] = Decoder(BrokerRequest)
        self.answers: Decoder[RiskAnswer] = Decoder(RiskAnswer)
        self.account, self.events = Broker(), list[OrderEvent]()
        self.asked: list[int | None] = []
        self.engines = {
            symbol: make_socket(self.context, zmq.DEALER, connect=self.ends.risk, identity=symbol.encode())
            for symbol in SYMBOLS
        }
        try:
            self.start()
        except BaseException:
            self.close()  # an open context would keep the test from ending
            raise

    def start(self) -> None:
        """A supervisor's desk, as after each start."""
        self.risk = RiskManager(self.limits, KEY, EPOCH, self.folder / "risk.json")
        log = structlog.get_logger()
        fields = {
            "lockstep": False,
            "log": log,
            "malformed": lambda where, error: pytest.fail(f"{where}: {error}"),
        }
        self.desk = RiskDesk(self.loop, self.context, self.ends, self.risk, **fields)  # type: ignore[arg-type]
        self.task = self.loop.create_task(self.desk.run())
        self.until(self._priced, "prices and the account")

    def stop(self) -> None:
        """The desk alone is gone."""
        self.task.cancel()
        self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))
        self.desk.close()

    def _priced(self) -> bool:
        for symbol in SYMBOLS:
            self.publisher.send(frame(TICK, symbol, tick(symbol, 100.0, boot_ns())))
        seen = all(self.desk.market_seen(symbol) is not None for symbol in SYMBOLS)
        return seen and self.risk.portfolio.seq is not None

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Serve as the broker does until `condition` holds."""

        async def turn() -> None:
            async with asyncio.timeout(60):
                while not condition():
                    self._serve()
                    await asyncio.sleep(0.005)

        try:
            self.loop.run_until_complete(turn())
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}") from None

    def _serve(self) -> None:
        for identity, body in drain(self.broker):
            request = self.requests(body)
            if isinstance(request, SetTradingState):
                send(self.broker, identity, encode(TradingStateReport(request.request_id, request.state, [])))
                continue
            assert isinstance(request, AccountRequest)
            self.asked.append(request.since)
            if request.since is None:
                cash = Decimal(10_000)
                answer = AccountSnapshot(0, self.account.seq, cash, "USDT", [], [])
                send(self.broker, identity, encode(answer))
            else:
                missed = [event for event in self.events if event.seq > request.since]
                send(self.broker, identity, encode(OrderEvents(missed)))

    def ask_all(self, turn: int) -> list[RiskAnswer]:
        """All send before any answer is read."""
        for number, (symbol, socket) in enumerate(self.engines.items()):
            client_id = f"t{turn}-{number}"
            request = RiskRequest(turn, client_id, symbol, "buy", Decimal(100), 0.99, 1.0, 0.1, MORNING_MS)
            assert send(socket, encode(request))
        came: list[RiskAnswer] = []

        def all_answered() -> bool:
            for socket in self.engines.values():
                came.extend(self.answers(frames[-1]) for frames in drain(socket))
            return len(came) == len(self.engines)

        self.until(all_answered, "fifteen answers")
        return came

    def close(self) -> None:
        self.stop()
        self.context.destroy(linger=0)
        self.forwarder.close()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize(
    ("limits", "most", "name"),
    [
        ({"max_positions": 5, "position_cap": 0.1}, 5, "max_positions"),
        ({"max_positions": 15, "position_cap": 0.1, "gross_exposure": 0.45}, 5, "gross_exposure"),
        ({"max_positions": 15, "position_cap": 0.1, "correlated_exposure": 0.25}, 3, "correlated_exposure"),
        ({"max_positions": 15, "position_cap": 0.05, "orders_per_minute": 7}, 7, "orders_per_minute"),
    ],
)
def test_together_they_get_no_more_than_the_limit(
    run_dir: Path, loop: asyncio.AbstractEventLoop, limits: dict[str, float], most: int, name: str
) -> None:
    crowd = Crowd(run_dir, loop, only(**limits))
    try:
        granted: list[Grant] = []
        for turn in range(2):
            answers = crowd.ask_all(turn)
            granted += [answer for answer in answers if isinstance(answer, Grant)]
        assert len(granted) == most
        worth = sum(grant.max_quantity for grant in granted) * 100
        assert worth <= Decimal(str(limits.get("gross_exposure", 1))) * 10_000
        assert worth <= Decimal(str(limits.get("correlated_exposure", 1))) * 10_000
        assert max(grant.max_quantity for grant in granted) * 100 <= Decimal(str(limits["position_cap"])) * 10_000
        assert Counter(crowd.risk.refusals)[name] >= 15 - most
    finally:
        crowd.close()


def test_a_grant_dies_with_its_order_or_after_two_seconds_whoever_is_gone(
    run_dir: Path, loop: asyncio.AbstractEventLoop
) -> None:
    """The engine never speaks again: the broker's gate takes its grant no more, and risk counts it no more."""
    crowd = Crowd(run_dir, loop, only(max_positions=1))
    try:
        (grant,) = [answer for answer in crowd.ask_all(0) if isinstance(answer, Grant)]
        crowd.engines[grant.symbol].close(0)
        assert 0 < grant.expires_ns - boot_ns() <= 2_000_000_000
        order = intent(grant.client_id, grant.symbol, quantity=str(grant.max_quantity))
        late = GrantBook(KEY, EPOCH)
        assert (
            late.use(msgspec.structs.replace(order, grant=grant), order.quantity, grant.expires_ns + 1) is not None
        )
        del crowd.engines[grant.symbol]
        assert not [answer for answer in crowd.ask_all(1) if isinstance(answer, Grant)]
        crowd.until(lambda: boot_ns() > grant.expires_ns + 1_000_000_000, "the end of its life")
        assert len([answer for answer in crowd.ask_all(2) if isinstance(answer, Grant)]) == 1
    finally:
        crowd.close()


def test_the_end_of_its_order_ends_a_grant_at_once(run_dir: Path, loop: asyncio.AbstractEventLoop) -> None:
    crowd = Crowd(run_dir, loop, only(max_positions=1))
    try:
        (grant,) = [answer for answer in crowd.ask_all(0) if isinstance(answer, Grant)]
        order = intent(grant.client_id, grant.symbol, quantity=str(grant.max_quantity))
        crowd.events += [crowd.account.submitted(order), crowd.account.cancelled(order)]
        assert send(crowd.broker, b"supervisor", encode(OrderEvents(crowd.events)))
        crowd.until(lambda: crowd.risk.portfolio.seq == 2, "the events")
        assert len([answer for answer in crowd.ask_all(1) if isinstance(answer, Grant)]) == 1
        assert boot_ns() < grant.expires_ns, "long before its life would have ended"
    finally:
        crowd.close()


def test_a_new_supervisor_asks_first_for_what_it_missed(run_dir: Path, loop: asyncio.AbstractEventLoop) -> None:
    """A stop was filled while it was down: the symbol cools down, though the snapshot says nothing of it."""
    crowd = Crowd(run_dir, loop, only())
    try:
        symbol, broker = SYMBOLS[0], crowd.account
        entry, stop = intent("in", symbol, quantity="1"), intent("out", symbol, "sell", "1", role="stop")
        crowd.events += [broker.submitted(entry), broker.filled(entry, "100"), broker.submitted(stop)]
        assert send(crowd.broker, b"supervisor", encode(OrderEvents(crowd.events)))
        crowd.until(lambda: crowd.risk.followed_seq == 3, "the events")
        crowd.risk.store_if_due(boot_ns() + 20_000_000_000)
        crowd.stop()
        crowd.events.append(broker.filled(stop, "99"))
        crowd.asked.clear()
        crowd.start()
        assert crowd.asked[:2] == [3, None]
        locks = crowd.risk.summary(boot_ns())["locks"]
        assert [(lock["symbol"], lock["rule"]) for lock in locks] == [(symbol, "cooldown")]
    finally:
        crowd.close()
