"""A real process of the lane of sequences."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from levibot.clock import boot_ns
from levibot.ml.client import Answered, Missed
from levibot.ml.features import FEATURE_SET
from levibot.ml.tft.extra import ABSENT, absence
from levibot.strategies.base import Question
from tests.ml.tft.examples import NAME, need_extra, stored_tft
from tests.ml.tft.test_lane import whole
from tests.workers.pool_house import PoolHouse, ask, outcomes


@pytest.fixture
def house(run_dir: Path):  # type: ignore[no-untyped-def]
    house = PoolHouse(run_dir, processes=1, kind="tft")
    yield house
    house.close()


def question() -> Question:
    rows = whole(1)[0]
    return Question(FEATURE_SET, tuple(rows[-1].tolist()), rows.astype("<f8").tobytes())


def test_it_answers_questions_of_sixty_bars_without_pytorch(house: PoolHouse) -> None:
    need_extra()
    stored_tft(house.models)
    house.start()
    client = house.client(deadline=20.0)
    outcome = ask(client, question())
    assert isinstance(outcome, Answered)
    assert outcome.prediction.kind == "tft"
    assert outcome.prediction.model.startswith(f"{NAME}/")
    for _ in range(15):
        client.ask("BTC/USDT", 60_000, question(), boot_ns())
    assert {type(found) for found in outcomes(client, 15)} == {Answered}
    assert house.beats[0].errors == 0
    process = psutil.Process(house.processes[0].pid)
    assert process.num_threads() <= 5, "main, model watch, two of ZeroMQ, an idle one of onnxruntime: no pool"
    assert not [region.path for region in process.memory_maps() if "libtorch" in region.path]


def test_without_a_model_or_the_extra_it_runs_and_says_why(house: PoolHouse) -> None:
    house.start()
    reason = ABSENT if absence() else f"no model {NAME} yet; run `levibotctl train --kind tft`"
    assert house.report().trouble == reason
    missed = ask(house.client(), question())
    assert isinstance(missed, Missed)
    assert missed.reason == reason
    assert house.beats[0].errors == 0
