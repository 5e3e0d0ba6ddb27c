"""When a source is asked, and what its failures do: to others nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from levibot.altdata import runner as runner_module
from levibot.altdata.board import Board
from levibot.altdata.desk import AltDataDesk
from levibot.altdata.history import History
from levibot.altdata.runner import SourceRunner
from levibot.altdata.source import PartialFetchError, Reading, Usage
from levibot.bus.messages import AltData
from levibot.clock import boot_seconds, wall_ms
from levibot.errors import AltDataError, MalformedMessageError

Answer = list[Reading] | Exception | float  # a float: seconds until nothing comes


class Scripted:
    """A source that answers what it is told to."""

    interval, max_age = 0.05, 60.0

    def __init__(self, name: str, *answers: Answer, interval: float = 0.05) -> None:
        self.name, self.interval = name, interval
        self.usage = Usage()
        self.answers = list(answers)
        self.asked: list[tuple[str, ...]] = []
        self.asked_at: list[float] = []
        self.closed = False

    async def fetch(self, assets: Sequence[str], now_ms: int) -> list[Reading]:
        self.asked.append(tuple(assets))
        self.asked_at.append(boot_seconds())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return []
        return answer

    async def close(self) -> None:
        self.closed = True


def reading(value: float = 1.0, name: str = "fees", age_ms: int = 0) -> Reading:
    return Reading("BTC", name, value, wall_ms() - age_ms)


class Stage:
    """A desk over scripted sources."""

    def __init__(self, folder: Path, *sources: Scripted, assets: Sequence[str] = ("BTC",)) -> None:
        self.board = Board(folder / "altdata.json")
        self.board.load({source.name: "s" for source in sources})
        self.history = History(folder / "history")
        self.published: list[AltData] = []
        self.complaints: list[tuple[str, str]] = []
        self.sources = sources
        self.desk = AltDataDesk(
            self.board,
            self.history,
            [(source, "s") for source in sources],
            {"funding": 60.0},
            "this market has none: it is simulated",
            assets,
            self.published.extend,
            lambda about, error: self.complaints.append((about, str(error))),
        )

    def health(self, name: str) -> runner_module.AltSourceHealth:
        return self.desk.report(0).sources[name]

    def play(
        self, until: Callable[[Stage], object], then: Callable[[Stage], Awaitable[None]] | None = None
    ) -> None:
        async def run() -> None:
            self.desk.start()
            try:
                async with asyncio.timeout(60):
                    while not until(self):
                        self.desk.check()
                        await asyncio.sleep(0.002)
                    if then is not None:
                        await then(self)
            finally:
                await self.desk.close()

        asyncio.run(run())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "_FIRST_PAUSE_S", 0.01)


def test_what_comes_is_published_kept_and_recorded(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Scripted("one", [reading(3.0)], interval=30.0))
    stage.play(lambda s: s.published)
    (value,) = stage.published
    assert (value.asset, value.name, value.value, value.source) == ("BTC", "fees", 3.0, "one")
    assert value.expires_ms == value.observed_ms + 60_000
    assert stage.board.all() == [value]
    assert stage.history.read(["BTC"], 0, wall_ms() + 1).height == 1
    assert stage.sources[0].closed
    health = stage.health("one")
    assert health.ok
    assert health.fetches == health.values == 1


def test_a_broken_source_touches_no_other(tmp_path: Path) -> None:
    broken = [
        Scripted("refused", AltDataError("refused: no", "refused")),
        Scripted("mistaken", RuntimeError("a mistake")),
        Scripted("endless", 60.0),
    ]
    good = Scripted("good", [reading()])
    stage = Stage(tmp_path, *broken, good)
    stage.play(lambda s: len(good.asked) > 5 and all(not s.health(one.name).ok for one in broken))
    assert {value.source for value in stage.published} == {"good"}
    assert stage.health("good").ok
    assert not stage.health("good").failures
    assert set(stage.health("mistaken").failures) == {"mistake"}
    assert set(stage.health("endless").failures) == {"timeout"}
    assert set(stage.health("refused").failures) == {"refused"}
    assert {about for about, _ in stage.complaints} == {"refused", "mistaken", "endless"}
    assert all(source.closed for source in stage.sources)


def test_the_last_value_stays_and_ages_through_failures(tmp_path: Path) -> None:
    source = Scripted("one", [reading(3.0)], AltDataError("one: away", "unreachable"))
    stage = Stage(tmp_path, source)
    stage.play(lambda s: sum(s.health("one").failures.values()) >= 3)
    assert len(stage.published) == 1
    assert stage.desk.live() == stage.published
    health = stage.health("one")
    assert not health.ok
    assert health.trouble == "one: away"
    assert health.fetched_ms is not None
    assert health.fetched_ms <= stage.published[0].fetched_ms


def test_a_part_that_failed_is_a_failure_and_the_rest_is_used(tmp_path: Path) -> None:
    error = PartialFetchError(AltDataError("one: half of it", "malformed"), [reading(7.0)])
    stage = Stage(tmp_path, Scripted("one", error))
    stage.play(lambda s: s.health("one").failures)
    assert stage.published[0].value == 7.0
    assert not stage.health("one").ok
    assert stage.health("one").fetched_ms is None


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (reading(float("nan")), "malformed"),
        (reading(age_ms=61_000), "stale"),
        (reading(age_ms=-7_200_000), "malformed"),
    ],
)
def test_what_cannot_be_used_is_not_published(tmp_path: Path, bad: Reading, kind: str) -> None:
    stage = Stage(tmp_path, Scripted("one", [bad]))
    stage.play(lambda s: s.health("one").failures)
    assert not stage.published
    assert set(stage.health("one").failures) == {kind}


def test_what_tells_of_the_past_is_too_old_the_sooner(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Scripted("one", [reading(age_ms=20_000)], interval=30.0))
    stage.play(lambda s: s.published)
    (value,) = stage.published
    assert value.expires_ms == value.observed_ms + 60_000, "max_age, of what it tells of"


def test_failures_are_asked_again_later_and_later(tmp_path: Path) -> None:
    source = Scripted("one", AltDataError("one: away", "unreachable"), interval=20.0)
    Stage(tmp_path, source).play(lambda _: len(source.asked) == 5)
    gaps_s = [after - before for before, after in pairwise(source.asked_at)]
    assert [gap_s >= 0.9 * 0.01 * 2**number for number, gap_s in enumerate(gaps_s)] == [True] * 4


def test_a_source_is_not_asked_before_the_time_that_it_named_not_even_by_the_next_process(tmp_path: Path) -> None:
    first = Scripted("one", AltDataError("one: patience", "throttled", 30.0))
    stage = Stage(tmp_path, first)
    stage.play(lambda s: s.health("one").failures)
    assert 25 < stage.health("one").next_s <= 30
    again = Stage(tmp_path, Scripted("one", [reading()]))
    assert 25 < again.health("one").next_s <= 30


def test_a_restart_does_not_ask_again_for_what_is_young_but_has_it_with_its_age(tmp_path: Path) -> None:
    stage = Stage(tmp_path, Scripted("one", [reading(3.0)], interval=30.0))
    stage.play(lambda s: s.published)
    again = Stage(tmp_path, Scripted("one", [reading(4.0)], interval=30.0))
    assert again.desk.live() == stage.published
    assert 20 < again.health("one").next_s <= 30


def test_a_new_asset_is_asked_for_at_once(tmp_path: Path) -> None:
    source = Scripted("one", [reading()], interval=30.0)

    async def add(stage: Stage) -> None:
        stage.desk.want(["BTC", "ETH"])
        while len(source.asked) < 2:
            await asyncio.sleep(0.002)
        stage.desk.want(["BTC"])

    stage = Stage(tmp_path, source)
    stage.play(lambda s: s.published, add)
    assert source.asked == [("BTC",), ("BTC", "ETH")]


def test_a_disk_that_refuses_is_told_and_values_are_published_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file where a folder should be")
    stage = Stage(tmp_path, Scripted("one", [reading()], interval=30.0))
    stage.play(lambda s: s.desk.report(0).trouble)
    assert stage.published
    assert "disk" in {about for about, _ in stage.complaints}


def test_what_another_process_publishes_is_kept_once(tmp_path: Path) -> None:
    now_ms = wall_ms()
    told = AltData("BTC", "funding_rate", 0.0001, "funding", now_ms, now_ms, now_ms + 60_000)
    stage = Stage(tmp_path, Scripted("one", [], interval=30.0))

    async def hear(stage: Stage) -> None:
        for _ in range(3):
            stage.desk.hear(told)

    assert not stage.health("funding").ok
    assert stage.health("funding").trouble == "funding: this market has none: it is simulated"
    stage.play(lambda s: s.health("one").fetches, hear)
    assert stage.board.all() == [told]
    assert (stage.health("funding").ok, stage.health("funding").fetched_ms) == (True, now_ms)
    assert stage.desk.live() == []  # who published it repeats it
    assert stage.history.read(["BTC"], 0, now_ms + 1).height == 1


def test_what_makes_no_sense_on_the_bus_is_refused_and_what_is_of_nobody_left(tmp_path: Path) -> None:
    now_ms = wall_ms()
    stage = Stage(tmp_path, Scripted("one", [], interval=30.0))
    with pytest.raises(MalformedMessageError):
        stage.desk.hear(AltData("BTC", "funding_rate", math.nan, "funding", now_ms, now_ms, now_ms + 60_000))
    stage.desk.hear(AltData("BTC", "funding_rate", 1.0, "../../elsewhere", now_ms, now_ms, now_ms + 60_000))
    assert not stage.board.all()


def test_what_came_just_before_the_end_is_recorded_too(tmp_path: Path) -> None:
    now_ms = wall_ms()
    stage = Stage(tmp_path, Scripted("one", [reading()], interval=30.0))

    async def hear(stage: Stage) -> None:
        while not stage.history.read(["BTC"], 0, now_ms * 2).height:  # so that the desk pauses now
            await asyncio.sleep(0.002)
        stage.desk.hear(AltData("BTC", "funding_rate", 0.0001, "funding", now_ms, now_ms, now_ms + 60_000))

    stage.play(lambda s: s.published, hear)
    assert set(stage.history.read(["BTC"], 0, now_ms * 2)["name"]) == {"funding_rate", reading().name}
    assert b"funding_rate" in (tmp_path / "altdata.json").read_bytes()


def test_a_clock_that_was_wrong_does_not_silence_a_source_for_years(tmp_path: Path) -> None:
    source = Scripted("one", [reading()], interval=30.0)
    stage = Stage(tmp_path, source)
    stage.board.asked("one", "s").closed_until_ms = wall_ms() + 365 * 86_400_000
    again = SourceRunner(source, "s", stage.board, ["BTC"], lambda _: None, lambda *_: None)
    assert again.health().next_s == 0


def test_a_runner_is_what_a_desk_has_for_each_source(tmp_path: Path) -> None:
    board = Board(tmp_path / "altdata.json")
    source = Scripted("one", [])
    assert SourceRunner(source, "s", board, ["BTC"], lambda _: None, lambda *_: None).name == "one"
