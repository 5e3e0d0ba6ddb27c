"""Orders through the live venue when nothing goes wrong."""

from __future__ import annotations

from tests.execution.live.house import LiveHouse


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
