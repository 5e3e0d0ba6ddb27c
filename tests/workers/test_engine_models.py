"""The engine process and the inference pool: it trades on answers, and does without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from levibot.bus.messages import Component, MarketGap
from levibot.engine.recording import recorded_commands, replay
from levibot.ml.features import FEATURE_SET, FEATURES
from tests.workers.engine_neighbours import SYMBOL
from tests.workers.pool_world import PoolWorld

MakeWorld = Callable[..., PoolWorld]


@pytest.fixture
def make_world(run_dir: Path) -> Iterator[MakeWorld]:
    worlds: list[PoolWorld] = []

    def make(**settings: Any) -> PoolWorld:
        worlds.append(PoolWorld(run_dir, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def holds(world: PoolWorld, quantity: str) -> None:
    world.until(lambda: world.report.position == Decimal(quantity), f"a position of {quantity}")


def predicted(world: PoolWorld, answers: int) -> None:
    world.until(lambda: world.report.predictions == answers, f"answer {answers}")


def missed(world: PoolWorld, count: int) -> None:
    world.until(lambda: world.report.missed == count, f"missing answer {count}")


def test_it_trades_on_answers_with_their_barriers_and_reports_them(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    assert (world.report.prob_up, world.report.model, world.report.no_model) == (None, "", "")
    world.bar(0.9)
    holds(world, "1")
    (request,) = world.pool[0].requests
    assert (request.feature_set, len(request.features)) == (FEATURE_SET, 8 * len(FEATURES))
    assert request.bar_ms == world.feed.bars[-1].open_ms
    entry = world.broker.received[0]
    assert (entry.stop_loss, entry.take_profit) == (Decimal("99.20"), Decimal("101.20"))
    report = world.report
    assert (report.prob_up, report.model, report.signal, report.probability) == (0.9, "test/1", "long", 0.9)
    assert report.components == {
        "lightgbm": Component(0.9, "test/1"),
        "tft": Component(trouble="absent: inference.tft_processes is 0", configured=False),
        "sentiment": Component(trouble="none yet"),
    }
    world.bar(0.5)
    predicted(world, 2)
    assert (world.report.prob_up, world.report.position) == (0.5, Decimal(1))
    world.bar(0.1)
    holds(world, "0")
    report = world.report
    assert (report.signal, report.probability, report.trade_count) == ("short", 0.9, 1)
    assert report.inference_buckets[-1] == report.predictions == 3
    assert report.inference_seconds > 0
    assert (report.missed, report.no_model) == (0, "")


def test_a_missed_answer_is_counted_and_told_and_restarts_nobody(make_world: MakeWorld) -> None:
    world = make_world(deadline=0.5)
    world.start_ready()
    world.pool[0].mode = "silent"
    for count in range(1, 13):
        world.bar(0.9)
        missed(world, count)
    assert world.beat is not None
    assert world.beat.errors == 0
    assert "inference-0" in world.report.no_model
    assert world.report.prob_up is None
    assert world.risk.requests == []
    assert len(world.records("no_answer_of_a_model")) == 1
    world.pool[0].mode = "answer"
    world.bar(0.9)
    holds(world, "1")
    assert world.report.no_model == ""
    (again,) = world.records("model_answers_again")
    assert again["missed"] == 12


def test_an_open_position_outlives_the_pool(make_world: MakeWorld) -> None:
    world = make_world(deadline=2.0)
    world.start_ready()
    world.bar(0.9)
    holds(world, "1")
    world.pool[0].mode = "silent"
    world.bar()
    missed(world, 1)
    assert world.report.position == 1
    assert len(world.broker.received) == 1


def test_after_kill_9_a_bet_ends_at_the_horizon_counted_from_its_entry(make_world: MakeWorld) -> None:
    world = make_world(record_inputs=True)
    world.start_ready()
    world.broker.market_ms = world.feed.bars[-1].open_ms + 2 * 60_000  # the end of the bar that comes next
    world.bar(0.9)
    holds(world, "1")
    world.kill()
    world.feed.publish_bars([100.0] * 28)  # of 30
    world.start_ready()
    world.bar()
    predicted(world, 1)
    assert world.report.position == 1
    world.bar()
    holds(world, "0")
    assert [intent.role for intent in world.broker.received] == ["entry", "exit"]
    world.stop()
    *_, path = sorted((world.spec.state_dir / "recordings").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    assert repr(replay(path)) == repr(recorded_commands(path))


def test_after_a_hole_the_probability_of_the_bar_before_it_is_told_no_more(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.bar(0.6)
    predicted(world, 1)
    assert (world.report.prob_up, world.report.components["lightgbm"].probability) == (0.6, 0.6)
    feed = world.feed
    feed.seq += 1
    missing_ms = feed.bars[-1].open_ms + 60_000
    feed.publish_event(MarketGap(SYMBOL, feed.epoch, feed.seq, 0, missing_ms, 90, filled=False))
    world.until(lambda: world.report.prob_up is None, "no probability")
    assert world.report.components == {}
    assert world.report.model == "test/1"


def test_it_says_why_there_is_no_model(make_world: MakeWorld) -> None:
    world = make_world()
    world.pool[0].mode = "refuse"
    world.start_ready()
    world.bar(0.9)
    missed(world, 1)
    assert world.report.no_model == "no model test yet"


def test_it_says_that_the_model_is_too_old(make_world: MakeWorld) -> None:
    world = make_world()
    world.start_ready()
    world.pool[0].expires_ms = 1
    for answers in (1, 2):
        world.bar(0.9)
        predicted(world, answers)
        assert "test/1 is too old" in world.report.no_model
        assert "levibotctl train" in world.report.no_model
    assert (world.report.prob_up, world.report.missed) == (None, 0)
    assert len(world.records("model_expired")) == 1
    assert world.risk.requests == []
    world.pool[0].expires_ms = 0
    world.bar(0.9)
    holds(world, "1")
    assert (world.report.prob_up, world.report.no_model) == (0.9, "")


def test_without_a_pool_it_runs_and_says_so(make_world: MakeWorld) -> None:
    world = make_world(processes=0)
    world.start_ready()
    world.bar(0.9)
    missed(world, 1)
    assert "inference.processes is 0" in world.report.no_model
    assert "inference.processes is 0" in world.report.components["lightgbm"].trouble
    world.stop()


def test_another_process_answers_for_one_that_is_silent(make_world: MakeWorld) -> None:
    world = make_world(processes=2, deadline=4.0)
    world.start_ready()
    for first, second in ((0, 1), (1, 0)):
        world.pool[first].mode, world.pool[second].mode = "silent", "answer"
        world.bar(0.9)
        predicted(world, first + 1)
    holds(world, "1")
    assert world.report.missed == 0


def test_junk_of_the_pool_is_counted_and_is_no_error_of_the_engine(make_world: MakeWorld) -> None:
    world = make_world(deadline=1.0)
    world.start_ready()
    world.pool[0].mode = "junk"
    world.bar(0.9)
    missed(world, 1)
    world.pool[0].mode = "answer"
    world.bar(7.0)
    missed(world, 2)
    world.bar(float("nan"))
    missed(world, 3)
    assert world.beat is not None
    assert world.beat.errors == 0
    assert world.report.refused_messages == 3
    assert world.report.signal is None


def test_in_lockstep_a_slow_answer_still_counts_and_the_feed_waits_for_it(make_world: MakeWorld) -> None:
    world = make_world(deadline=0.05)
    world.start_ready(lockstep=True)
    world.feed.publish_tick(lockstep=True)
    world.until(lambda: world.feed.acknowledged, "the acknowledged tick")
    world.pool[0].mode, world.pool[0].probability = "silent", 0.9
    world.feed.publish_bars([100.0], lockstep=True)
    world.until(lambda: world.pool[0].requests, "the question")
    assert world.beat is not None
    turns = world.beat.turns
    world.until(lambda: world.beat and world.beat.turns > turns + 20, "turns in which nothing comes")
    assert len(world.feed.acknowledged) == 1
    world.pool[0].answer()
    world.until(lambda: len(world.feed.acknowledged) == 2, "the acknowledged bar")
    holds(world, "1")
    assert world.report.missed == 0


def test_a_recording_of_answers_and_misses_gives_identical_commands(make_world: MakeWorld) -> None:
    world = make_world(deadline=2.0, record_inputs=True)
    world.start_ready()
    world.bar(0.9)
    holds(world, "1")
    world.pool[0].mode = "silent"
    world.bar()
    missed(world, 1)
    world.pool[0].mode = "answer"
    world.bar(0.1)
    holds(world, "0")
    world.stop()
    (path,) = (world.spec.state_dir / "recordings").iterdir()
    issued = recorded_commands(path)
    assert [type(command).__name__ for command in issued].count("AskModel") == 3
    assert repr(replay(path)) == repr(issued), "a missing feature is NaN, which equals nothing"
