"""Batches of requests, answered by a real model."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from levibot.bus.messages import Prediction, PredictionRefused, PredictRequest
from levibot.ml.features import FEATURE_SET, FEATURES, OPTIONAL_FEATURES
from levibot.ml.manifest import MODEL, ModelFile
from levibot.ml.model import Model, import_lightgbm, load_model
from levibot.ml.service import PredictionService
from levibot.ml.store import ModelStore
from levibot.ml.trees import Trees
from tests.ml.examples import manifest, model_text, stored_model

COUNT = len(FEATURES)
DEADLINE_NS = 1_000


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(stored_model(tmp_path, expires_ms=77), "simulated")


@pytest.fixture
def service(model: Model) -> PredictionService:
    service = PredictionService()
    service.use(model)
    return service


def request(
    number: int, values: Sequence[float] = (0.0,) * COUNT, feature_set: str = FEATURE_SET
) -> PredictRequest:
    features = struct.pack(f"<{len(values)}d", *values)
    return PredictRequest(number, f"S{number}/USDT", number * 60_000, feature_set, features, DEADLINE_NS)


def answer(service: PredictionService, *requests: PredictRequest, now_ns: int = 0) -> dict[int, object]:
    """Replies by request, each checked to go to whoever asked."""
    replies = service.answer([(b"engine-%d" % r.request_id, r) for r in requests], now_ns)
    assert all(sender == b"engine-%d" % reply.request_id for sender, reply in replies)
    return {reply.request_id: reply for _, reply in replies}


def refusal(service: PredictionService, bad: PredictRequest) -> str:
    """Why `bad` is refused, while the one beside it is answered."""
    replies = answer(service, bad, request(99))
    assert isinstance(replies[99], Prediction)
    refused = replies[bad.request_id]
    assert isinstance(refused, PredictionRefused)
    assert (service.refused, service.answered) == (1, 1)
    assert refused.reason in service.last_refusal
    return refused.reason


def refusal_of(reply: object) -> str:
    assert isinstance(reply, PredictionRefused)
    return reply.reason


def test_a_batch_gives_exactly_what_single_requests_give() -> None:
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(2000, COUNT))
    labels = (rows.sum(axis=1) + draw.normal(size=2000) > 0).astype(float)
    data = import_lightgbm().Dataset(rows, labels, feature_name=list(FEATURES))
    parameters = {"objective": "binary", "num_threads": 1, "verbose": -1}
    service = PredictionService()
    trees = Trees(import_lightgbm().train(parameters, data, 100).model_to_string())
    service.use(Model(manifest(), {"": trees}, {"": ()}))
    requests = [request(number, row) for number, row in enumerate(rows[:64].tolist())]
    together = answer(service, *requests)
    assert len(together) == 64
    assert service.batches == 1
    for each in requests:
        assert answer(service, each) == {each.request_id: together[each.request_id]}
    assert len({reply.probability for reply in together.values() if isinstance(reply, Prediction)}) == 64


def test_an_answer_says_where_it_comes_from_and_what_it_is_of(service: PredictionService, model: Model) -> None:
    outside = request(1, [99.0, -99.0] + [0.0] * (COUNT - 2))
    reply = answer(service, outside)[1]
    assert isinstance(reply, Prediction)
    assert 0 < reply.probability < 1
    assert msgspec.structs.replace(reply, probability=0.5) == Prediction(
        1, "S1/USDT", 60_000, 0.5, model.manifest.reference, 0.008, 0.008, 30, 77, 100 / 120, 0.0, out_of_range=2
    )


def test_an_answer_tells_how_often_bets_come_to_a_barrier_as_the_calibration_span_shows(tmp_path: Path) -> None:
    part = manifest().test
    told = {
        "of the calibration": {"calibration": msgspec.structs.replace(part, rows=30, untouched_return=0.002)},
        "of the tuning, where there was no calibration": {},
        "of an earlier version, which measured no return": {"schema": 2},
    }
    found = {}
    for name, fields in told.items():
        service = PredictionService()
        service.use(load_model(stored_model(tmp_path, **fields), "simulated"))
        reply = answer(service, request(1))[1]
        assert isinstance(reply, Prediction)
        found[name] = (reply.touched, reply.untouched_return)
    assert list(found.values()) == [(30 / 120, 0.002), (100 / 120, 0.0), (100 / 120, 0.0)]


def test_without_a_model_everybody_is_told_why() -> None:
    service = PredictionService()
    service.no_model = "no model m yet; run `levibotctl train`"
    replies = answer(service, request(1), request(2))
    assert {r.reason for r in replies.values() if isinstance(r, PredictionRefused)} == {service.no_model}
    assert (service.refused, service.batches, service.model_name) == (2, 0, "")


def test_what_is_past_its_deadline_is_dropped(service: PredictionService) -> None:
    assert answer(service, request(1), now_ns=DEADLINE_NS) == {}
    assert service.expired == 1
    assert list(answer(service, request(1), now_ns=DEADLINE_NS - 1)) == [1]


def test_a_model_is_given_its_own_features_in_its_own_order(tmp_path: Path) -> None:
    chosen = (FEATURES[7], FEATURES[2])
    store = ModelStore(tmp_path)
    made = manifest(features=chosen, feature_versions=(1, 1), ranges=((-3.0, 3.0),) * 2)
    stored = store.save(made, {MODEL: model_text(features=chosen)})
    service = PredictionService()
    service.use(load_model(tmp_path / stored.name / stored.version, "simulated"))
    values = [float("nan") if name in OPTIONAL_FEATURES else 99.0 for name in FEATURES]
    values[7], values[2] = 2.0, -1.0
    high = answer(service, request(1, values))[1]
    values[7] = -2.0
    low = answer(service, request(2, values))[2]
    assert isinstance(high, Prediction)
    assert isinstance(low, Prediction)
    assert high.probability > 0.5 > low.probability
    assert high.out_of_range == low.out_of_range == 0
    values[7] = float("nan")
    assert f"feature {FEATURES[7]} is nan" in refusal_of(answer(service, request(3, values))[3])


def test_a_symbol_without_trees_is_refused(service: PredictionService) -> None:
    trees = Trees(model_text().decode())
    file = ModelFile(name=MODEL, symbol="S99/USDT", sha256="0" * 64, size_bytes=1, trees=5)
    service.use(Model(manifest(files=(file,)), {"S99/USDT": trees}, {"S99/USDT": ()}))
    assert "has no trees for S1/USDT" in refusal(service, request(1))


def test_features_of_many_bars_are_refused_by_a_model_of_one(service: PredictionService) -> None:
    twice = msgspec.structs.replace(request(1), features=request(1).features * 2, steps=2)
    assert "of 2 bars" in refusal(service, twice)


def test_features_of_another_set_are_refused(service: PredictionService) -> None:
    reason = refusal(service, request(1, feature_set="bars-0-00000000" + "x" * 5000))
    assert "bars-0-00000000" in reason
    assert FEATURE_SET in reason
    assert len(reason) < 300


@pytest.mark.parametrize("values", [(), (0.0,) * (COUNT - 1), (0.0,) * (COUNT + 1), (0.0,) * 100_000])
def test_features_of_another_length_are_refused(service: PredictionService, values: tuple[float, ...]) -> None:
    assert f"expected {8 * COUNT}" in refusal(service, request(1, values))


def test_half_a_number_is_refused(service: PredictionService) -> None:
    cut = msgspec.structs.replace(request(1), features=request(1).features[:-3])
    assert f"{8 * COUNT - 3} bytes" in refusal(service, cut)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_feature_that_is_no_finite_number_is_refused_by_name(service: PredictionService, value: float) -> None:
    values = [0.0] * COUNT
    values[3] = value
    assert refusal(service, request(1, values)) == f"feature {FEATURES[3]} is {value}, expected a finite number"


def test_a_batch_of_nothing_but_bad_rows_asks_the_model_nothing(service: PredictionService) -> None:
    assert len(answer(service, request(1, [float("nan")] * COUNT))) == 1
    assert service.batches == 0


def test_another_model_takes_over(service: PredictionService, tmp_path: Path) -> None:
    assert service.swaps == 0
    newer = load_model(stored_model(tmp_path), "simulated")
    service.use(newer)
    reply = answer(service, request(1))[1]
    assert isinstance(reply, Prediction)
    assert reply.model == newer.manifest.reference == service.model_name
    assert service.swaps == 1
