"""Questions of sixty bars through the service and the watch, as a pool process has them."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from levibot.bus.messages import Prediction, PredictionRefused, PredictRequest
from levibot.ml.features import FEATURE_SET, FEATURES, OPTIONAL_FEATURES
from levibot.ml.history import Floats
from levibot.ml.lanes import LANES
from levibot.ml.manifest import VOLATILITY
from levibot.ml.service import PredictionService
from levibot.ml.store import ModelStore
from levibot.ml.tft.extra import ABSENT
from levibot.ml.tft.forecast import STEPS
from levibot.ml.watch import ModelWatch
from tests.ml.tft.examples import NAME, need_extra, sequences, stored_tft

COLUMNS = [FEATURES.index(name) for name in FEATURES if name not in OPTIONAL_FEATURES]
GIVEN = [FEATURES[column] for column in COLUMNS]


def whole(count: int) -> Floats:
    """What engines send: all features, of which the optional ones are missing."""
    rows = np.full((count, STEPS, len(FEATURES)), np.nan)
    rows[:, :, COLUMNS] = sequences(count, len(COLUMNS))
    return rows


def request(number: int, rows: Floats, steps: int = STEPS) -> PredictRequest:
    return PredictRequest(number, "BTC/USDT", 60_000, FEATURE_SET, rows.astype("<f8").tobytes(), 1_000, steps)


def watching(folder: Path) -> ModelWatch:
    return ModelWatch(ModelStore(folder), NAME, LANES["tft"], "simulated", "BTC/USDT", batch=4, wake=lambda: None)


@pytest.fixture
def service(tmp_path: Path) -> PredictionService:
    need_extra()
    stored_tft(tmp_path)
    watch = watching(tmp_path)
    watch.look(0)
    model = watch.take()
    assert model is not None
    assert watch.trouble == ""
    service = PredictionService()
    service.use(model)
    return service


def test_a_batch_is_answered_as_the_model_itself_would(service: PredictionService, tmp_path: Path) -> None:
    rows = whole(15)
    replies = service.answer([(b"e", request(number, row)) for number, row in enumerate(rows)], 0)
    folder = ModelStore(tmp_path).current(NAME)
    assert folder is not None
    model = LANES["tft"].load(folder, "simulated")
    expected = model.predict(rows[:, :, COLUMNS])
    assert len(replies) == 15
    for _, reply in replies:
        assert isinstance(reply, Prediction)
        assert reply.probability == pytest.approx(expected[reply.request_id], abs=1e-5)
        assert (reply.kind, reply.model) == ("tft", model.manifest.reference)
        assert (reply.take_profit, reply.stop_loss, reply.horizon_bars) == (0.001, 0.001, 10)
    assert service.batches == 1


def refusal(service: PredictionService, bad: PredictRequest) -> str:
    """Why `bad` is refused, while the one beside it is answered."""
    replies = {
        reply.request_id: reply for _, reply in service.answer([(b"e", bad), (b"e", request(99, whole(1)))], 0)
    }
    assert isinstance(replies[99], Prediction)
    refused = replies[bad.request_id]
    assert isinstance(refused, PredictionRefused)
    return refused.reason


def test_a_question_of_another_length_is_refused(service: PredictionService) -> None:
    assert "of 59 bars, expected" in refusal(service, request(1, whole(1)[:, 1:], STEPS - 1))
    assert "of 1 bars, expected" in refusal(service, request(1, whole(1)[:, -1:], 1))
    assert "expected" in refusal(service, msgspec.structs.replace(request(1, whole(1)), features=b"12345678"))


def test_a_missing_feature_anywhere_in_the_sequence_is_refused_by_name(service: PredictionService) -> None:
    rows = whole(1)
    rows[0, 7, FEATURES.index(VOLATILITY)] = np.nan
    assert refusal(service, request(1, rows)) == f"feature {VOLATILITY} is nan, expected a finite number"


def test_without_the_extra_the_lane_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    watch = watching(tmp_path)
    watch.look(0)
    assert watch.trouble == ABSENT
    assert "TFT is absent: install levibot[tft]" in watch.trouble
    assert watch.take() is None


def test_without_a_model_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    need_extra()
    watch = watching(tmp_path)
    watch.look(0)
    assert watch.trouble == f"no model {NAME} yet; run `levibotctl train --kind tft`"
