"""The engine process on real sockets: it recovers, trades, survives, and never sends an order twice."""

from __future__ import annotations

import os
import signal
from decimal import Decimal

import psutil
import pytest

from levibot.bus.messages import MarketStale, OrderSubmitted, Pause, Resume
from levibot.engine.recording import recorded_commands, replay
from tests.engine.scene import SYMBOL
from tests.workers.engine_neighbours import NAME
from tests.workers.engine_world import MakeWorld, World, open_position, position_is, sent


def test_it_trades_on_closed_bars_and_reports_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    entry = world.broker.received[0]
    assert (entry.role, entry.side, entry.quantity) == ("entry", "buy", Decimal(1))
    assert entry.stop_loss == Decimal("98.98")  # 2 % below the close
    assert entry.grant is not None
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "the closed position")
    exit_ = world.broker.received[1]
    assert (exit_.role, exit_.side, exit_.quantity, exit_.reduce_only) == ("exit", "sell", Decimal(1), True)
    report = world.report
    assert report.trade_count == 1
    assert report.signal == "flat"
    assert report.signals == {"long": 1, "short": 0, "flat": 1}
    assert report.total_pnl == Decimal("-0.2")
    assert report.ledger == "ok"
    assert world.beat is not None
    assert world.beat.errors == 0
    world.stop()
    for event in ("engine_ready", "signal_changed", "order_sent", "order_filled", "worker_stopped"):
        assert world.records(event), event


def test_it_waits_for_feed_and_broker_and_asks_again(make_world: MakeWorld) -> None:
    world = make_world()
    world.feed.answers = False
    world.broker.mode = "deaf"
    world.start()
    world.until(lambda: world.beat and world.beat.waiting_for == "feed", "an engine that waits for the feed")
    world.until(lambda: world.feed.asked >= 2, "a second question to the feed")
    world.feed.answers = True
    world.until(lambda: world.beat and world.beat.waiting_for == "broker", "an engine that waits for the broker")
    world.broker.mode = "fill"
    world.until(lambda: world.beat and world.beat.ready, "a ready engine")
    assert world.beat is not None
    assert world.beat.errors == 0


def test_a_second_engine_of_the_symbol_waits_for_the_fence(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    first = world.process
    world.start()
    world.until(lambda: world.beat and world.beat.waiting_for == "fence", "an engine that waits for the fence")
    os.kill(first.pid, signal.SIGKILL)
    first.join(40)
    world.until(lambda: world.beat and world.beat.ready, "the second engine")

    def hears() -> bool:
        world.feed.publish_tick()
        return world.report.ticks > 0

    world.until(hears, "ticks in the second engine")
    open_position(world)
    assert len(sent(world)) == 1


@pytest.mark.parametrize("mode", ["deaf", "mute", "accept"])
def test_killed_in_mid_order_it_recovers_and_never_sends_twice(make_world: MakeWorld, mode: str) -> None:
    world = make_world()
    world.start_ready()
    world.broker.mode = mode
    world.feed.publish_tick(101.0)
    world.feed.publish_bars([101.0])
    world.until(lambda: world.records("order_sent"), "an order on its way")
    world.until(lambda: world.broker.lost or sent(world), "the order at the broker")
    world.kill()
    world.pump()
    if mode != "deaf":
        world.broker.mode = "fill"
        world.broker.fill_resting()
    world.broker.mode = "fill"
    world.start_ready()
    expected = "0" if mode == "deaf" else "1"
    world.until(position_is(world, expected), "the position that the broker knows")
    assert len(sent(world)) == len(set(sent(world)))
    assert world.report.trade_count == int(expected)
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "a flat position")
    submitted = [event.client_id for event in world.broker.events if isinstance(event, OrderSubmitted)]
    assert len(submitted) == len(set(submitted))
    assert world.report.ledger == "ok"


def test_a_lost_intent_is_found_out_and_never_sent_again(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    world.broker.mode = "deaf"
    world.feed.publish_bars([99.0])
    world.until(lambda: world.broker.lost, "an exit that gets lost")
    world.broker.mode = "fill"
    world.until(lambda: world.broker.refused_for_ever, "a question about the order")
    world.until(position_is(world, "0"), "another exit")
    assert len(sent(world)) == len(set(sent(world))) == 2
    assert world.broker.refused_for_ever.isdisjoint(sent(world))


def test_a_stop_that_fired_unheard_is_found_out(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    world.broker.mode = "mute"
    world.broker.fire_stop()
    world.broker.mode = "fill"
    world.until(position_is(world, "0"), "the fired stop", seconds=60)
    world.feed.publish_bars([101.0])
    world.until(position_is(world, "1"), "the next position")


def test_events_after_a_lost_one_make_it_reconcile_at_once(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.broker.mode = "mute"
    world.feed.publish_tick(101.0)
    world.feed.publish_bars([101.0])
    world.until(lambda: sent(world), "the order at the broker")
    world.broker.mode = "fill"
    before = world.broker.reconciled
    world.broker.fill_resting()
    world.until(position_is(world, "1"), "the position")
    assert world.broker.reconciled > before


def test_a_lost_bar_is_found_at_the_next_tick_and_loaded(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    asked = world.feed.asked
    world.feed.publish_bars([101.0], lose=True)
    world.feed.publish_tick(101.0)
    world.until(lambda: world.feed.asked > asked, "a question for a snapshot")
    world.decided()
    world.until(position_is(world, "1"), "a decision on the bar that was lost")
    assert world.records("market_hole_found")
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "the next bar, by the stream")


def test_lost_ticks_are_counted(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.feed.publish_tick()
    world.feed.publish_tick(skip=3)
    world.until(lambda: world.beat and world.beat.dropped == 3, "three dropped ticks")


def test_a_restarted_feed_is_followed_without_deciding_twice(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    world.feed.restart()
    world.feed.publish_tick(100.0)
    world.feed.publish_bars([100.0])
    world.decided()
    assert world.report.signals["long"] == 1
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "a decision in the new epoch")
    assert world.beat is not None
    assert world.beat.dropped == 0


def test_a_burst_of_ticks_is_conflated_and_no_bar_of_it_lost(make_world: MakeWorld) -> None:
    world = make_world(strategy="user_strategy_of_test:ByTick")
    world.start_ready()
    os.kill(world.process.pid, signal.SIGSTOP)
    for _ in range(20):
        for _ in range(500):
            world.feed.publish_tick(100.0)
        world.feed.publish_bars([100.0])
    world.feed.publish_tick(100.0)
    os.kill(world.process.pid, signal.SIGCONT)
    world.decided()
    world.until(lambda: world.report.ticks + world.report.conflated == 10_001, "all ticks accounted for")
    assert world.beat is not None
    assert world.beat.dropped == 0
    assert world.report.conflated > 9_000
    assert not world.records("market_hole_found")


def test_malformed_messages_are_counted_and_nothing_stops(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.feed.send_junk()
    world.risk._router.send_multipart([NAME.encode(), b"\xc1"])
    world.broker._router.send_multipart([NAME.encode(), b"\x00\x00"])
    world.feed._router.send_multipart([NAME.encode(), b""])
    world.until(lambda: world.beat and world.report.refused_messages >= 10, "the count of malformed messages")
    open_position(world)
    assert world.beat is not None
    assert world.beat.errors == 0
    assert world.records("message_refused")


def test_a_strategy_that_raises_is_counted_and_the_next_bar_decided(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.feed.publish_bars([13.0])
    world.until(lambda: world.beat and world.beat.errors == 1, "the counted error")
    assert world.beat is not None
    assert "unlucky price" in world.beat.last_error
    assert "unlucky price" in world.records("strategy_failed")[0]["traceback"]
    open_position(world)


def test_a_strategy_that_never_returns_stops_the_heartbeat(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.feed.publish_bars([17.0])
    world.until(lambda: spins(world), "a process that spins")
    world.until(lambda: not world._heartbeat.poll(500), "a heart that stands still")


def spins(world: World) -> bool:
    return psutil.Process(world.process.pid).cpu_percent(0.1) > 50


def test_a_wrong_option_is_told_in_the_heartbeat_and_ends_the_start(make_world: MakeWorld) -> None:
    world = make_world(strategy="sma_cross", strategy_options={"quick": 3})
    world.start()
    world.until(lambda: world.beat and world.beat.errors, "a heartbeat that says why")
    assert world.beat is not None
    assert "engine.strategy_options" in world.beat.last_error
    world.until(lambda: not world.process.is_alive(), "the end of the process")
    assert world.process.exitcode != 0


def test_pause_stops_entries_and_lets_exits_through(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    number = world.command(Pause)
    world.until(lambda: number in world.acknowledged, "the acknowledged pause")
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "the exit")
    world.feed.publish_bars([101.0])
    world.decided()
    assert len(world.risk.requests) == 1
    world.command(Resume)
    world.until(lambda: world.beat and not world.beat.paused, "a resumed engine")
    world.feed.publish_bars([101.0])
    world.until(position_is(world, "1"), "an entry after the pause")


def test_a_stop_withdraws_an_entry_that_is_on_its_way(make_world: MakeWorld) -> None:
    world = make_world()
    world.broker.mode = "accept"
    world.start_ready()
    world.feed.publish_tick(101.0)
    world.feed.publish_bars([101.0])
    world.until(lambda: world.broker.received, "an entry that rests")
    world.stop()
    world.until(lambda: world.broker.cancelled == sent(world), "its cancellation")


def test_no_entry_while_the_market_is_stale_or_risk_says_no(make_world: MakeWorld) -> None:
    world = make_world()
    world.risk.mode = "refuse"
    world.start_ready()
    world.feed.publish_tick(101.0)
    world.feed.publish_bars([101.0])
    world.until(lambda: world.records("entry_refused"), "the refusal in the log")
    world.risk.mode = "grant"
    world.feed.seq += 1
    world.feed.publish_event(MarketStale(SYMBOL, world.feed.epoch, world.feed.seq, 0, "silent"))
    world.feed.publish_bars([101.0])
    world.decided()
    assert len(world.risk.requests) == 1
    assert sent(world) == []


def test_a_corrupt_ledger_is_set_aside_and_rebuilt_from_the_broker(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    open_position(world)
    world.stop()
    for path in world.spec.ledger.parent.iterdir():
        path.write_bytes(b"\x00garbage" * 1000)
    world.start_ready()
    world.until(position_is(world, "1"), "the position, rebuilt")
    assert "set aside" in world.report.ledger
    assert world.report.trade_count == 1
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "an exit by the new ledger")
    assert len(sent(world)) == len(set(sent(world)))


def test_in_lockstep_it_acknowledges_when_its_order_has_ended(make_world: MakeWorld) -> None:
    world = make_world()
    world.broker.mode = "accept"
    world.start_ready(lockstep=True)
    assert NAME in world.feed.joined
    world.feed.publish_tick(101.0, lockstep=True)
    world.until(lambda: world.feed.acknowledged, "the acknowledged tick")
    world.feed.publish_bars([101.0], lockstep=True)
    world.until(lambda: sent(world), "the order at the broker")
    world.until(lambda: world.beat and world.beat.turns, "a turn")
    assert [message.kind for message in world.feed.acknowledged] == ["tick"]
    world.broker.fill_resting()
    world.until(lambda: len(world.feed.acknowledged) == 2, "the acknowledged bar")
    assert world.feed.acknowledged[-1].seq == world.feed.seq


def test_in_lockstep_a_feed_that_starts_again_is_joined_though_it_is_silent(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready(lockstep=True)
    joined = len(world.feed.joined)
    world.feed.restart()
    world.until(lambda: len(world.feed.joined) > joined, "a new joining")


def test_a_recording_fed_back_gives_identical_commands_across_a_restart(make_world: MakeWorld) -> None:
    world = make_world(record_inputs=True, strategy="user_strategy_of_test:ByTick")
    world.start_ready()
    open_position(world)
    world.feed.publish_bars([13.0, 100.0], lose=False)
    world.feed.publish_tick(100.0)
    world.decided()
    world.kill()
    world.start_ready()
    world.feed.publish_bars([99.0])
    world.until(position_is(world, "0"), "the closed position")
    world.risk.mode = "silent"
    world.feed.publish_bars([102.0])
    world.until(lambda: world.records("entry_refused"), "the missing answer")
    world.stop()
    paths = sorted((world.spec.state_dir / "recordings").iterdir())
    assert len(paths) == 2
    for path in paths:
        issued = recorded_commands(path)
        assert len(issued) > 5
        assert replay(path, [world.spec.config_dir or path]) == issued
