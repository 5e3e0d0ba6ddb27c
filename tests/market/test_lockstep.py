"""A step is over when all who joined for its symbol have said so, or are gone, or were too slow."""

from __future__ import annotations

import asyncio

from levibot.bus.messages import Acknowledge, JoinLockstep
from levibot.market.lockstep import Gate, LockstepPlayback
from levibot.market.path import Item
from levibot.market.recording import Opening
from levibot.market.simulated import ORIGIN_MS, SimulatedRecording
from levibot.market.source import Step

STEP = Step("A/B", "bar", 5)


def joined() -> Gate:
    gate = Gate()
    gate.join("engine-A-B", ["A/B"])
    gate.join("engine-C-D", ["C/D"])
    gate.join("broker", [])
    gate.begin(STEP)
    return gate


def test_only_those_who_joined_for_the_symbol_are_waited_for() -> None:
    assert joined().waiting == {"engine-A-B", "broker"}


def test_only_the_right_acknowledgement_counts() -> None:
    gate = joined()
    for wrong in (("A/B", "tick", 5), ("A/B", "bar", 4), ("C/D", "bar", 5)):
        gate.acknowledge(Acknowledge("broker", *wrong))
    assert "broker" in gate.waiting
    gate.acknowledge(Acknowledge("broker", *STEP))
    gate.acknowledge(Acknowledge("engine-A-B", *STEP))
    gate.acknowledge(Acknowledge("stranger", *STEP))
    assert not gate.waiting


def test_who_joins_anew_or_leaves_is_not_waited_for_in_the_present_step() -> None:
    gate = joined()
    gate.join("engine-A-B", ["A/B"])
    gate.leave("broker")
    assert not gate.waiting
    gate.begin(STEP._replace(seq=6))
    assert gate.waiting == {"engine-A-B"}


def test_missing_names_who_has_not_joined() -> None:
    gate = Gate()
    gate.join("engine-A-B", ["A/B"])
    gate.join("risk", [])
    assert gate.missing(["A/B", "C/D"]) == ["broker", "engine of C/D"]


def test_a_silent_participant_gets_the_step_again_and_is_dropped_at_its_deadline() -> None:
    reports: list[str] = []
    published: list[tuple[str, int]] = []
    repeated: list[int] = []

    async def play() -> None:
        def publish(symbol: str, event_ms: int, item: Item) -> Step:
            published.append((symbol, event_ms))
            step = Step(symbol, "tick", len(published))
            asyncio.get_running_loop().call_soon(playback.heed, Acknowledge("broker", *step))
            return step

        playback = LockstepPlayback(
            SimulatedRecording(7),
            ["A/B"],
            Opening(0, 10, 120, None),
            None,
            reports.append,
            lambda: repeated.append(len(published)),
            lambda *_: None,
            deadline=0.3,
            repeat_after=0.05,
        )
        playback.begin("A/B", await playback.open("A/B"))
        playback.heed(JoinLockstep("engine-A-B", ["A/B"]))
        playback.heed(JoinLockstep("broker", []))
        async with asyncio.timeout(60):
            running = asyncio.create_task(playback.run(publish))
            while len(published) < 3:
                await asyncio.sleep(0.001)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(play())
    assert reports == ["begins without risk", "dropped engine-A-B: no acknowledgement in time"]
    assert 1 in repeated
    assert published[0] == ("A/B", ORIGIN_MS + 1)


def test_the_market_stands_still_while_nobody_takes_part() -> None:
    published: list[int] = []

    def publish(symbol: str, event_ms: int, item: Item) -> Step:
        published.append(event_ms)
        return Step(symbol, "tick", len(published))

    async def play() -> None:
        opening = Opening(0, 10, 120, None)
        recording = SimulatedRecording(7)
        playback = LockstepPlayback(
            recording, ["A/B"], opening, None, lambda _: None, lambda: None, lambda *_: None, deadline=0.01
        )
        playback.begin("A/B", await playback.open("A/B"))
        running = asyncio.create_task(playback.run(publish))
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert not published
        playback.heed(JoinLockstep("engine-A-B", ["A/B"]))
        async with asyncio.timeout(60):
            while not published:
                await asyncio.sleep(0.001)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(play())
    assert published == [ORIGIN_MS + 1]
