"""The exchange's time: measured, and neither a step of the wall clock nor one wrong answer changes it."""

from __future__ import annotations

import asyncio

import pytest

from levibot.clock import boot_ns, wall_ms
from levibot.errors import MalformedAnswerError
from levibot.exchange import server_clock as server_clock_module
from levibot.exchange.server_clock import ServerClock

_START_MS = 1_700_000_000_000


class Server:
    """Tells a time that may be wrong."""

    def __init__(self) -> None:
        self._began_ns = boot_ns()
        self.wrong_by_ms: list[int] = []  # the next answers
        self.asked = 0

    def true_ms(self) -> int:
        return _START_MS + (boot_ns() - self._began_ns) // 1_000_000

    async def tell(self) -> int:
        self.asked += 1
        return self.true_ms() + (self.wrong_by_ms.pop(0) if self.wrong_by_ms else 0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(server_clock_module, "_CONFIRM_S", 0.01)
    return Server()


def test_a_step_of_the_wall_clock_changes_only_the_skew(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock(server.tell)
    assert abs(clock.now_ms() - wall_ms()) < 100  # nothing better is known
    asyncio.run(clock.measure(is_disputed=False))
    before_ms = clock.skew_ms
    monkeypatch.setattr(server_clock_module, "wall_ms", lambda: wall_ms() + 3_600_000)
    assert abs(clock.now_ms() - server.true_ms()) < 100
    assert abs(clock.skew_ms - before_ms - 3_600_000) < 100


def test_one_wrong_answer_is_not_believed_and_a_clock_that_was_set_is(server: Server) -> None:
    clock = ServerClock(server.tell)
    asyncio.run(clock.measure(is_disputed=False))
    server.wrong_by_ms = [3_600_000]
    with pytest.raises(MalformedAnswerError, match="server time: "):
        asyncio.run(clock.measure(is_disputed=False))
    assert abs(clock.now_ms() - server.true_ms()) < 100
    server.wrong_by_ms = [-5_000, -5_000]
    asyncio.run(clock.measure(is_disputed=False))
    assert abs(clock.now_ms() - server.true_ms() + 5_000) < 100


def test_of_a_dispute_the_exchange_is_right_at_once(server: Server) -> None:
    clock = ServerClock(server.tell)
    asyncio.run(clock.measure(is_disputed=False))
    server.wrong_by_ms = [5_000]
    asyncio.run(clock.measure(is_disputed=True))
    assert abs(clock.now_ms() - server.true_ms() - 5_000) < 100
    assert server.asked == 2
