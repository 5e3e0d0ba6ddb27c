"""The engine process and what the feed says besides prices: stale, halted, corrected, trades and books."""

from __future__ import annotations

from levibot.bus.codec import BOOK, TRADES, topic
from levibot.engine.recording import recorded_commands, replay
from tests.engine.scene import SYMBOL
from tests.workers.engine_world import MakeWorld, World, open_position, position_is, sent

FLOW = {"strategy": "user_strategy_of_test:ByFlow"}
FLOW_TOPICS = topic(TRADES, SYMBOL), topic(BOOK, SYMBOL)


def held_back(world: World) -> list[str]:
    return [record["reason"] for record in world.records("entry_held_back")]


def signals(world: World) -> list[str]:
    """Reasons of the signals that changed."""
    return [record["reason"] for record in world.records("signal_changed")]


def try_to_enter(world: World, why_not: str) -> None:
    world.feed.publish_tick(101.0)
    world.feed.publish_bars([101.0])
    world.until(lambda: any(why_not in reason for reason in held_back(world)), f"an entry held back: {why_not}")
    assert world.risk.requests == []


def test_a_stale_market_opens_nothing_and_opens_again_after_recovery(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.feed.go_stale("no frame for 20 s")
    try_to_enter(world, "market is stale: no frame for 20 s")
    world.feed.recover()
    open_position(world)
    world.feed.go_stale("no frame for 20 s")
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "an exit on a stale market")


def test_an_engine_that_starts_on_a_stale_market_knows_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.feed.go_stale("no frame for 20 s")
    world.start_ready()
    try_to_enter(world, "market is stale: no frame for 20 s")
    world.kill()
    world.start_ready()
    try_to_enter(world, "market is stale: no frame for 20 s")
    world.feed.recover()
    open_position(world)


def test_a_stale_market_that_was_told_in_a_hole_is_known_from_the_snapshot(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.feed.stale = "no frame for 20 s"
    world.feed.publish_bars([100.0], lose=True)
    try_to_enter(world, "market is stale: no frame for 20 s")


def test_a_halted_market_is_left_and_not_entered_until_it_trades_again(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    world.risk.requests.clear()
    world.feed.change_rules(active=False)
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "an exit from a halted market")
    try_to_enter(world, "market is not active")
    world.feed.change_rules(active=True)
    open_position(world)
    assert len(sent(world)) == 3


def test_every_trade_comes_once_and_a_lost_message_is_counted(make_world: MakeWorld) -> None:
    world = make_world(**FLOW, record_inputs=True)
    world.start_ready(*FLOW_TOPICS)
    numbers = list(range(1, 301))
    for start in range(0, 300, 3):
        world.feed.publish_trades(numbers[start : start + 3])
    world.feed.publish_trades([998, 999], lose=True)
    world.feed.publish_trades([301])
    world.until(lambda: world.beat and world.report.trades == 301, "all trades")
    world.until(lambda: world.beat and world.beat.dropped == 1, "the lost message in the heartbeat")
    world.feed.publish_tick(101.0)
    world.feed.publish_trades([302], price=101.0)
    world.until(position_is(world, "1"), "a position opened on a trade")
    assert signals(world)[-1].endswith("302 trades each once")
    world.stop()
    (path,) = (world.spec.state_dir / "recordings").iterdir()
    assert replay(path, [world.spec.config_dir or path]) == recorded_commands(path)


def test_corrections_and_books_reach_the_strategy_and_order_nothing(make_world: MakeWorld) -> None:
    world = make_world(**FLOW)
    world.start_ready(*FLOW_TOPICS)
    world.feed.publish_book()
    world.until(lambda: world.beat and world.report.books == 1, "the book")
    world.feed.correct(-1, 120.0)
    world.until(lambda: world.beat and world.report.corrections == 1, "the correction")
    assert sent(world) == []
    world.feed.correct(-2, 130.0, lose=True)
    world.feed.publish_tick(100.0)
    world.until(lambda: world.beat and world.report.corrections == 2, "the correction in the snapshot")
    assert sent(world) == []
    world.feed.publish_trades([1], price=101.0)
    world.until(position_is(world, "1"), "a position opened on a trade")
    assert signals(world)[-1] == "b1 c5=120 c4=130 1 trades each once"
    assert world.beat is not None
    assert world.beat.errors == 0


def test_an_engine_whose_strategy_does_not_want_them_is_not_even_sent_them(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    for number in range(50):
        world.feed.publish_trades([number])
        world.feed.publish_book()
    world.feed.send_junk()  # comes after them, and is refused
    world.until(lambda: world.beat and world.report.refused_messages > 0, "the junk")
    assert (world.report.trades, world.report.books) == (0, 0)
