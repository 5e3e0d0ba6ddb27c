"""A broker that dies at any step goes on from its books: nothing is lost, nothing is sold twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from levibot.execution.live import reconcile
from tests.execution.live.guarded import GuardedHouse, GuardedLife, Unanswered
from tests.execution.live.house import SYMBOL, D

_DUST = D("0.0001")
_CALLS = ("place", "cancel", "order", "trades_of")


class Death:
    """Stops a life for good at its n-th step: a commit, or an answer of the exchange.

    A step is struck before it is taken, and after it: an order may have been journaled and never posted, or posted
    and its answer never read.
    """

    def __init__(self, deadline: int) -> None:
        self._left = deadline
        self.struck = asyncio.Event()

    async def pass_by(self) -> None:
        """Go on, if it is not time yet; else never."""
        if self._left == 0:
            self.struck.set()
        self._left -= 1
        if self.struck.is_set():
            await asyncio.Event().wait()


class DyingTrading:
    """Passes calls on to the exchange, as long as the life lasts."""

    def __init__(self, trading: Any, death: Death) -> None:
        self._trading = trading
        self._death = death

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._trading, name)
        if name not in _CALLS:
            return call

        async def act(*arguments: Any) -> Any:
            await self._death.pass_by()
            answer = await call(*arguments)
            await self._death.pass_by()
            return answer

        return act


def doom(life: GuardedLife, death: Death) -> None:
    """Have a life end at one of its next steps."""
    journal = life.venue._account.journal
    write_all = journal.write_all

    async def act(changes: Any) -> None:
        await write_all(changes)
        await death.pass_by()

    journal.write_all = act  # type: ignore[method-assign]
    for desk in life.venue._desks.values():
        desk.trading = desk.tracker._trading = desk.doubts._trading = DyingTrading(life.trading, death)
        desk.posting._trading = desk.trading


def _is_idle(life: GuardedLife) -> bool:
    return not life.books.open


async def until_dead_or(life: GuardedLife, death: Death, finished: Callable[[], bool]) -> bool:
    """Whether it has died before it had finished; then nothing of it runs any more."""
    await life.until(lambda: death.struck.is_set() or finished(), "dead or finished")
    died = death.struck.is_set()
    await life.die()
    return died


def test_an_exit_goes_on_after_a_death_at_any_step(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        step, died = 0, True
        while died:
            life = await guarded.open(unknown_after=0.1)
            guarded.move("1", life)
            await guarded.bought(life, take_profit=guarded.at("1.05"))
            bought = len(guarded.sales)
            death = Death(step)
            doom(life, death)
            if step % 2:
                life.submit(guarded.leave("1"))
            else:
                guarded.move("1.06", life)
            died = await until_dead_or(life, death, partial(_is_idle, life))
            life = await guarded.open(unknown_after=0.1)
            guarded.move("1.06", life)
            await guarded.until_closed(life)
            assert len(guarded.sales) == bought + 1
            guarded.check(life)
            await life.die()
            step += 1
        assert step > 5

    guarded.play(scenario)


def test_a_position_is_covered_after_a_death_at_any_step_of_its_entry(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        step, died = 0, True
        while died:
            life = await guarded.open(unknown_after=0.1)
            guarded.move("1", life)
            death = Death(step)
            doom(life, death)
            entry = life.submit(guarded.entry("0.01", stop_loss=guarded.at("0.95")))
            died = await until_dead_or(life, death, partial(guarded.is_settled, life))
            life = await guarded.open(unknown_after=0.1)
            await life.until_over(entry)
            if life.position > _DUST:
                await guarded.until_settled(life)
                assert len(guarded.stops_at_exchange()) == (1 if guarded.keeps_stops else 0)
            guarded.move("0.94", life)
            await guarded.until_closed(life)
            guarded.check(life)
            await life.die()
            step += 1
        assert step > 5

    guarded.play(scenario)


def test_what_rests_in_the_broker_fires_although_the_books_cannot_be_compared(
    guarded: GuardedHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_PATIENCE_NS", 0)

    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        await life.die()
        guarded.exchange.arm("status", "GET /api/v3/openOrders", status=503)
        life = guarded.make()
        life.start()
        await life.until(lambda: life.troubles, "a comparison that fails")
        guarded.move("1.06", life)
        await guarded.until_closed(life)
        assert "503" in life.venue.account_unready() or "503" in life.venue.unready(SYMBOL)
        assert len(guarded.sales) == 1
        guarded.exchange.clear()
        await life.until_ready()
        guarded.check(life)

    guarded.play(scenario)


def test_a_late_fill_is_protected_before_the_comparison_of_the_whole_account_has_ended(
    guarded: GuardedHouse,
) -> None:
    """Of an order that the books thought over; other symbols may hold the comparison up for long."""

    async def scenario() -> None:
        life = await guarded.open()
        late = life.submit(guarded.limit("0.99", stop_loss=guarded.at("0.9")))
        await life.until(lambda: "Accepted" in life.kinds(late), "resting")
        await life.die()
        with life.books.transaction(0):
            life.books.cancel(life.books.open[late], "by mistake")
        guarded.trade_through(late)
        life = guarded.make(trading=Unanswered(guarded.trading, "balances"))
        life.start()
        await guarded.until_settled(life)
        assert life.venue.account_unready()
        guarded.check(life)

    guarded.play(scenario)
