"""The engine process with a strategy that looks at another market and at alternative data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from levibot.bus.codec import ALTDATA, BAR, topic
from levibot.engine.recording import recorded_commands, replay
from tests.deadline import wait_for
from tests.workers.engine_neighbours import CONTEXT
from tests.workers.engine_world import World

STRATEGY = {"strategy": "user_strategy_of_test:ByContext", "record_inputs": True}


@pytest.fixture
def world(run_dir: Path) -> Iterator[World]:
    made = World(run_dir, **STRATEGY)
    yield made
    made.close()


def reasons(world: World) -> list[str]:
    return [record["reason"] for record in world.records("signal_changed")]


def test_context_and_altdata_decide_survive_losses_and_replay_to_the_same_commands(world: World) -> None:
    feed = world.feed
    feed.publish_context([90.0] * 4, lose=True)  # known to the snapshot alone
    world.start_ready(topic(BAR, CONTEXT), topic(ALTDATA, ""), context=CONTEXT)
    feed.publish_bars([100.0])
    world.until(lambda: reasons(world) == ["none mood None"], "a bar without the context of its minute before")

    feed.publish_altdata(math.inf)  # junk
    feed.publish_altdata(0.5)
    feed.publish_altdata(0.5, asset="DOGE")
    feed.publish_context([90.0, 110.0])
    feed.publish_bars([100.0])  # of the seventh minute
    world.until(lambda: world.risk.requests, "an entry")
    assert reasons(world)[-1] == "110 bought 55 of nan mood 0.5"
    world.until(lambda: world.report.refused_messages == 1, "the junk, refused")

    feed.publish_context([90.0], lose=True)
    feed.publish_bars([100.0])  # its context was lost, and nobody can know that yet
    feed.publish_context([90.0])
    world.until(lambda: reasons(world)[-1] == "none mood 0.5", "a bar whose context is missing")
    feed.publish_bars([100.0])

    def enters_again() -> bool:
        feed.publish_context([120.0])
        feed.publish_bars([100.0])
        world.decided()
        return len(world.risk.requests) == 2

    wait_for(enters_again, "another entry, on a context that is whole again")
    assert reasons(world)[-1] == "120 bought 60 of nan mood 0.5"
    assert world.report.refused_messages == 1
    world.stop()

    (path,) = (world.spec.state_dir / "recordings").glob("*.msgpack")
    commands = replay(path, [world.spec.config_dir] if world.spec.config_dir else [])
    assert commands == recorded_commands(path)
    assert len(commands) > 5
