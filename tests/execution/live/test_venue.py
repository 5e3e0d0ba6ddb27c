"""Orders through the live venue when nothing goes wrong."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from tests.execution.live.house import SYMBOL, LiveHouse


def test_an_entry_and_its_exit_are_filled_once_each(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        bought = life.submit(house.entry())
        assert life.kinds(bought) == ["Submitted", "Sent"]
        await life.until_over(bought)
        assert life.kinds(bought)[:3] == ["Submitted", "Sent", "Accepted"]
        assert life.kinds(bought)[-1] == "Filled"
        sold = life.submit(house.leave())
        await life.until_over(sold)
        house.check(life)

    house.play(scenario)


def test_a_target_may_be_nearer_than_what_a_market_order_may_cost_more(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        target = house.market.instrument.to_tick(house.best("sell") * Decimal("1.003"))
        bought = life.submit(house.entry(take_profit=target))
        await life.until_over(bought)
        assert life.kinds(bought)[-1] == "Filled"
        house.check(life)

    house.play(scenario)


def test_what_is_left_to_do_after_a_restart_is_done_one_thing_at_a_time(house: LiveHouse) -> None:
    async def scenario() -> None:
        life = await house.begin()
        bought = life.submit(house.entry())
        await life.until_over(bought)
        await life.end()
        again = await house.begin()
        assert again.position
        working = [task for task in asyncio.all_tasks() if task.get_name() == f"desk {SYMBOL}"]
        assert len(working) == 1
        sold = again.submit(house.leave())
        await again.until_over(sold)
        house.check(again)

    house.play(scenario)
