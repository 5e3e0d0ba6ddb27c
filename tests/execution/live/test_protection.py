"""A position is protected from its first fill to its last sale, and sold once."""

from __future__ import annotations

from tests.execution.live.guarded import GuardedHouse
from tests.execution.live.house import D


def test_a_stop_rests_where_it_can_and_targets_and_trailing_stops_in_the_broker(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"), trailing_stop=D(3000))
        (stop,), (target,), (trail,) = map(life.resting, ("stop", "take_profit", "trailing_stop"))
        assert (stop.intent.quantity, target.intent.quantity) == (trail.intent.quantity,) * 2
        assert (target.exchange_id, trail.exchange_id) == ("", "")
        kept = guarded.stops_at_exchange()
        assert [order.client_id for order in kept] == ([stop.intent.client_id] if guarded.keeps_stops else [])
        assert life.kinds(stop.intent.client_id)[:2] == ["Submitted", "Accepted"]
        guarded.check(life)

    guarded.play(scenario)


def test_a_stop_that_fires_while_the_broker_is_dead_is_found_and_nothing_is_sold_twice(
    guarded: GuardedHouse,
) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        await life.die()
        guarded.move("0.94")
        life = await guarded.open()
        guarded.tell(life, guarded.at("0.94"))
        await guarded.until_closed(life)
        assert len(guarded.sales) == 1
        guarded.check(life)

    guarded.play(scenario)


def test_a_target_cancels_the_stop_and_sells_once(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, take_profit=guarded.at("1.05"))
        (stop,), (target,) = life.resting("stop"), life.resting("take_profit")
        guarded.move("1.06", life)
        await guarded.until_closed(life)
        assert life.kinds(target.intent.client_id)[:4] == ["Submitted", "Accepted", "Triggered", "Sent"]
        assert life.kinds(stop.intent.client_id)[-1] == "Cancelled"
        assert [order.client_id for order in guarded.sales] == [target.intent.client_id]
        guarded.check(life)

    guarded.play(scenario)


def test_a_trailing_stop_follows_the_price_and_sells_when_it_turns(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        await guarded.bought(life, stop_loss=None, trailing_stop=D(3000))
        (trail,) = life.resting("trailing_stop")
        assert (
            trail.intent.trigger_price == guarded.at("0.95") + guarded.market.instrument.tick
        )  # bought at the ask
        guarded.move("1.1", life)
        await life.until(lambda: trail.intent.trigger_price == guarded.at("1.05"), "followed")
        guarded.move("1.06", life)
        guarded.move("1.04", life)
        await guarded.until_closed(life)
        assert "Updated" in life.kinds(trail.intent.client_id)
        assert [order.client_id for order in guarded.sales] == [trail.intent.client_id]
        guarded.check(life)

    guarded.play(scenario)


def test_the_stop_grows_with_an_entry_that_fills_in_parts(guarded: GuardedHouse) -> None:
    async def scenario() -> None:
        life = await guarded.open()
        entry = life.submit(guarded.limit("0.99", stop_loss=guarded.at("0.95")))
        await life.until(lambda: guarded.at_exchange(entry), "posted")
        sizes = []
        for _ in range(2):
            guarded.trade_through(entry, "0.004")
            filled = life.position
            guarded.tell(life, guarded.at("0.98"))
            await life.until(lambda: life.position > filled, "partly filled")  # noqa: B023
            await guarded.until_settled(life)
            sizes.append(sum(order.remaining for order in life.resting("stop")))
        assert sizes[0] < sizes[1]
        assert len(guarded.stops_at_exchange()) == (1 if guarded.keeps_stops else 0)
        await guarded.cancel(life, entry)
        guarded.check(life)

    guarded.play(scenario)


def test_fees_that_were_paid_in_the_asset_before_take_nothing_of_a_position_while_there_is_other(
    guarded: GuardedHouse,
) -> None:
    """As with BNB, in which the fees of all symbols are paid, and which is traded itself."""

    async def scenario() -> None:
        life = await guarded.open(reconcile_interval=0.1)
        with life.books.transaction(0):
            life.books.move_funds("BTC", D("-0.5"), "correction", "the fees of other symbols in a year")
        rounds = life.venue.reconciler.rounds + 2
        await life.until(lambda: life.venue.reconciler.rounds >= rounds, "two comparisons")
        await guarded.bought(life)

    guarded.play(scenario)
