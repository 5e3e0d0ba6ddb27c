"""The risk desk on real sockets: what it asks the broker, and what it does with the answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
import zmq

from levibot.bus.codec import MARKET, TICK, Decoder, encode, frame
from levibot.bus.forwarder import Forwarder
from levibot.bus.messages import (
    AccountRequest,
    AccountSnapshot,
    BrokerRequest,
    FeedRequest,
    Grant,
    MarketEvent,
    MarketRecovered,
    MarketStale,
    Message,
    NotReady,
    OrderEvents,
    Position,
    RiskAnswer,
    RiskRefused,
    RiskRequest,
    SetTradingState,
    Snapshot,
    SnapshotRequest,
    SpecChanged,
    TradingStateReport,
)
from levibot.bus.sockets import drain, ipc, make_socket, send
from levibot.clock import boot_ns
from levibot.config_risk import RiskConfig
from levibot.market import board
from levibot.risk.manager import RiskManager
from levibot.spec import Endpoints
from levibot.supervisor import risk_desk
from levibot.supervisor.risk_desk import RiskDesk
from tests.execution.examples import market
from tests.risk.market import BTC, EPOCH, KEY, MORNING_MS, Broker, intent, tick

_NAMES = ("publishers", "subscribers", "feed", "broker", "risk", "heartbeat", "control")


class Place:
    """A desk with a broker, a feed and an engine; each in this test."""

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        ends = Endpoints(**{name: ipc(folder / name) for name in _NAMES})
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._forwarder = Forwarder(ends.publishers, ends.subscribers)
        self._publisher = make_socket(self._context, zmq.PUB, connect=ends.publishers)
        self._broker = make_socket(self._context, zmq.ROUTER, bind=ends.broker)
        self._feed = make_socket(self._context, zmq.ROUTER, bind=ends.feed)
        self._engine = make_socket(self._context, zmq.DEALER, connect=ends.risk, identity=b"engine-BTC-USDT")
        self._requests: Decoder[BrokerRequest] = Decoder(BrokerRequest)
        self._questions: Decoder[FeedRequest] = Decoder(FeedRequest)
        self._answers: Decoder[RiskAnswer] = Decoder(RiskAnswer)
        self._numbers = itertools.count(1)
        self.asked: list[AccountRequest] = []
        self.states: list[str] = []  # that the broker was told
        self.tick_seq = 0
        self.rules, self.stale, self.feed_seq = market(BTC), "", 0  # as a snapshot has them
        self.answers: dict[str, Grant | RiskRefused] = {}
        self.answer: Message = AccountSnapshot(0, 0, Decimal(10_000), "USDT", [], [])
        self.malformed: list[str] = []
        self.risk = RiskManager(RiskConfig(), KEY, EPOCH, folder / "risk.json")
        self.desk = RiskDesk(
            loop,
            self._context,
            ends,
            self.risk,
            lockstep=False,
            log=structlog.get_logger(),
            malformed=lambda where, error: self.malformed.append(f"{where}: {error}"),
        )
        self.task = loop.create_task(self.desk.run())

    def until(self, condition: Any, what: str) -> None:
        """Serve until `condition` holds."""

        async def turn() -> None:
            async with asyncio.timeout(60):
                while not condition():
                    self._serve()
                    await asyncio.sleep(0.005)

        try:
            self.loop.run_until_complete(turn())
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}") from None

    def ask(self, client_id: str, price: str = "100") -> None:
        """An engine asks for leave."""
        request = RiskRequest(
            7, client_id, BTC, "buy", Decimal(price), 0.6, 0.2, None, MORNING_MS, self.tick_seq, 1
        )
        assert send(self._engine, encode(request))

    def answered(self, client_id: str) -> Any:
        self.until(lambda: client_id in self.answers, f"an answer to {client_id}")
        return self.answers[client_id]

    def tell(self, message: Message) -> None:
        """The broker speaks without being asked."""
        assert send(self._broker, b"supervisor", encode(message))

    def priced(self) -> None:
        """Publish until a price has arrived."""

        def arrived() -> bool:
            self.tick_seq = next(self._numbers)
            self._publisher.send(frame(TICK, BTC, tick(BTC, 100.0, boot_ns(), seq=self.tick_seq)))
            return self.desk.market_seen(BTC) is not None

        self.until(arrived, "a price")

    def happens(self, event: MarketEvent) -> None:
        """The feed tells an event, and a price after it."""
        self._publisher.send(frame(MARKET, BTC, event))
        self.priced()

    def verdict(self) -> str:
        """What an engine that asks now gets: a grant, or the name of a refusal."""
        number = next(self._numbers)
        self.ask(f"v{number}")
        answer = self.answered(f"v{number}")
        return "granted" if isinstance(answer, Grant) else answer.reason.partition(":")[0]

    def close(self) -> None:
        self.task.cancel()
        self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))
        self.desk.close()
        self._context.destroy(linger=0)
        self._forwarder.close()

    def _serve(self) -> None:
        for identity, body in drain(self._broker):
            request = self._requests(body)
            if isinstance(request, SetTradingState):
                self.states.append(request.state)
                send(self._broker, identity, encode(TradingStateReport(request.request_id, request.state, [])))
                continue
            assert isinstance(request, AccountRequest)
            self.asked.append(request)
            send(self._broker, identity, encode(self.answer))
        for identity, body in drain(self._feed):
            question = self._questions(body)
            assert isinstance(question, SnapshotRequest)
            assert question.symbol == BTC
            fields = (question.request_id, BTC, 1, self.feed_seq, self.rules, [], [], None, self.stale)
            send(self._feed, identity, encode(Snapshot(*fields)))
        for frames in drain(self._engine):
            answer = self._answers(frames[-1])
            self.answers[answer.client_id] = answer


@pytest.fixture
def place(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(board, "_ASK_NS", 50_000_000)
    monkeypatch.setattr(risk_desk, "_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(risk_desk, "_ACCOUNT_INTERVAL", 0.05)
    loop = asyncio.new_event_loop()
    made = Place(run_dir, loop)
    yield made
    made.close()
    loop.close()


def test_fills_that_nobody_told_are_found_at_the_next_look(place: Place) -> None:
    place.until(lambda: place.asked and place.risk.portfolio.seq == 0, "the account")
    broker, order = Broker(), intent("a")
    seen: list[set[str]] = []
    place.desk.on_account = lambda: seen.append(set(place.risk.portfolio.positions))
    place.answer = OrderEvents([broker.submitted(order), broker.filled(order, "100")])
    place.until(lambda: {BTC} in seen, "the position")
    assert place.risk.portfolio.cash == 9_900
    place.answer = OrderEvents([])
    place.until(lambda: place.asked[-1].since == 2, "a look from there on")


def test_a_broker_that_cannot_use_its_books_gets_no_more_grants_until_it_tells_them(place: Place) -> None:
    place.answer = OrderEvents([])
    place.until(lambda: place.asked, "the question for the account")
    place.tell(AccountSnapshot(0, 3, Decimal(10_000), "USDT", [], []))
    place.until(lambda: place.risk.portfolio.seq == 3, "the account")
    place.priced()
    place.ask("a")
    assert isinstance(place.answered("a"), Grant)
    place.answer = NotReady(0, "broker database is corrupt")
    seen = len(place.asked)
    place.until(lambda: [ask for ask in place.asked[seen:] if ask.since is None], "the question for all of it")
    place.ask("b")
    assert "account_unknown" in place.answered("b").reason
    held = Position(BTC, Decimal(5), Decimal(100), Decimal(0))
    place.answer = AccountSnapshot(0, 1, Decimal(500), "USDT", [held], [])
    place.until(lambda: place.risk.portfolio.seq == 1, "the other account")
    assert place.risk.portfolio.cash == 500


ENTERED = ("granted", "position_cap")  # the grant before is not spent yet


def test_an_event_of_the_market_closes_it_and_another_opens_it(place: Place) -> None:
    place.until(lambda: place.risk.portfolio.seq == 0, "the account")
    place.priced()
    assert place.verdict() == "granted"
    for number, (event, expected) in enumerate(
        [
            (MarketStale(BTC, 1, 5, 0, "no frame for 20 s"), ("market_stale",)),
            (MarketRecovered(BTC, 1, 6, 0), ENTERED),
            (SpecChanged(BTC, 1, 7, 0, market(BTC, active=False)), ("market_inactive",)),
            (SpecChanged(BTC, 1, 8, 0, market(BTC)), ENTERED),
        ]
    ):
        place.happens(event)
        assert place.verdict() in expected, number
    assert not place.malformed


def test_a_market_that_was_halted_or_stale_before_this_supervisor_came_gets_no_grant(place: Place) -> None:
    place.rules, place.stale = market(BTC, active=False), "silent"
    place.until(lambda: place.risk.portfolio.seq == 0, "the account")
    place.priced()
    _await_verdict(place, "market_inactive")
    place.rules = market(BTC)  # the event is lost
    _await_verdict(place, "market_stale")
    place.stale = ""
    _await_verdict(place, *ENTERED)


def _await_verdict(place: Place, *expected: str) -> None:
    deadline = boot_ns() + 60_000_000_000
    while place.verdict() not in expected:
        assert boot_ns() < deadline, expected
        place.loop.run_until_complete(asyncio.sleep(0.02))


def test_each_broker_is_told_the_trading_state_and_each_change_of_it(place: Place) -> None:
    place.until(lambda: place.desk.orders.confirmed, "the first answer")
    assert place.states == ["ACTIVE"]
    place.risk.stops.engage_kill_switch("too hot", "alice")
    assert not place.desk.orders.confirmed
    place.until(lambda: place.desk.orders.confirmed, "the answer to the change")
    place.desk.broker_started()
    assert not place.desk.orders.confirmed
    place.until(lambda: place.desk.orders.confirmed, "the answer of the new broker")
    assert place.states == ["ACTIVE", "REDUCING", "REDUCING"]
