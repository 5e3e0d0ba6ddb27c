"""What an engine asks the pool about is what the model was trained on: the same numbers, and the same answer.

The real decision core with the real ensemble hears a market minute by minute, with all that goes wrong in one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

from levibot.altdata.history import History as AltHistory
from levibot.bus.messages import AltData, Bar, BarCorrected, MarketGap, Prediction, PredictRequest
from levibot.config import EngineConfig
from levibot.engine import inputs
from levibot.engine.commands import AskModel
from levibot.engine.core import DecisionCore
from levibot.execution.position import flat
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.gaps import Hole, fill_gaps
from levibot.market.simulated import ORIGIN_MS, SimulatedMarket
from levibot.ml import calibration
from levibot.ml.features import FEATURE_SET, FEATURES
from levibot.ml.manifest import MODEL
from levibot.ml.material import Material
from levibot.ml.model import import_lightgbm, load_model
from levibot.ml.preparation import Plan
from levibot.ml.service import PredictionService
from levibot.ml.store import ModelStore
from levibot.ml.train import train
from levibot.ml.trained import Trained
from levibot.strategies.base import Question
from levibot.strategies.ensemble import Ensemble
from tests.engine.scene import market_spec
from tests.ml.features.streams import with_flow

ETH, BTC = "ETH/USDT", "BTC/USDT"
COUNT, LIVE = 2600, 1700  # bars of each market; the engines start at this one
EMPTY, FILLED, OPEN = 1850, range(1900, 1903), range(2050, 2200)  # a bar without trades, and two holes, of ETH
CORRECTED = {ETH: 2400, BTC: 2450}
RESTART = 2500
MAX_GAP = 120
PLAN = Plan(name="lightgbm-simulated", exchange="simulated", horizon_bars=20, costs=0.0024, picture=False)
BEGIN_MS = ORIGIN_MS - COUNT * MINUTE_MS


def opens(number: int) -> int:
    return BEGIN_MS + number * MINUTE_MS


def market(symbol: str) -> list[Candle | Hole]:
    """Its bars as the feed has them in the end: corrected, with short holes filled."""
    candles = islice(SimulatedMarket(7, symbol).candles(BEGIN_MS // MINUTE_MS), COUNT)
    bars = with_flow(list(candles), seed=len(symbol) + ord(symbol[0]))
    if symbol == ETH:
        bars[EMPTY] = Candle(opens(EMPTY), *[bars[EMPTY - 1].close] * 4, 0.0)
        bars = [bar for number, bar in enumerate(bars) if number not in (*FILLED, *OPEN)]
    return list(fill_gaps(bars, MAX_GAP))


def fetched() -> list[AltData]:
    """Values in the order of their fetches: some late, some expired before the next, some of no feature."""
    made = []
    for minute in range(-5, COUNT, 45):
        for asset, name, value in (
            ("ETH", "sentiment", math.sin(minute)),
            ("BTC", "sentiment", math.cos(minute)),
            ("", "sentiment", math.sin(minute / 7)),
            ("ETH", "funding_rate", minute * 1e-7),
            ("ETH", "weather", 1.0),
        ):
            # in the midst of a minute: it is known when the next bar opens, and is of an hour before
            fetched_ms = opens(minute) + 20_000
            expires_ms = fetched_ms + (30 if name == "funding_rate" else 90) * MINUTE_MS
            made.append(AltData(asset, name, value, "test", fetched_ms - 3_600_000, fetched_ms, expires_ms))
    return made


@pytest.fixture(scope="module")
def altdata(tmp_path_factory: pytest.TempPathFactory) -> AltHistory:
    kept = AltHistory(tmp_path_factory.mktemp("altdata"))
    kept.append(fetched())
    return kept


def material(altdata: AltHistory) -> Material:
    return Material({ETH: market(ETH), BTC: market(BTC)}, context=BTC, altdata=altdata)


Rows = dict[int, tuple[float, ...]]


@pytest.fixture(scope="module")
def rows(altdata: AltHistory) -> dict[str, Rows]:
    """What a training sees, by symbol and opening time."""
    made = material(altdata)
    return {
        symbol: {
            int(history.bars.open_ms[place]): tuple(row)
            for place, row in zip(history.judged, history.features.tolist(), strict=True)
        }
        for symbol, history in zip(made.symbols, made.histories(lambda *_step: None), strict=True)
    }


@dataclass
class Engine:
    """An engine of one symbol, without its sockets."""

    symbol: str
    hears_more: bool = True
    questions: dict[int, Question] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.published: dict[str, list[Bar]] = {ETH: [], BTC: []}
        self.altdata: dict[tuple[str, str], AltData] = {}
        self.start()

    def start(self) -> None:
        self.strategy = Ensemble()
        self.core = DecisionCore(self.symbol, EngineConfig(), self.strategy, lambda _role: None)

    def give(self, item: inputs.Input) -> None:
        for command in self.core.handle(item):
            if isinstance(command, AskModel):
                self.questions[command.bar_ms] = command.question

    def load(self, bars: int | None = None) -> None:
        """As `workers.engine` does it: the context first, then the own bars, and what altdata are repeated."""
        count = 2 * self.strategy.warm_up_bars if bars is None else bars
        if self.hears_more:
            for bar in self.published[BTC][-count:]:
                self.give(inputs.ContextBarClosed(1, bar))
            for data in self.altdata.values():
                self.give(inputs.AltDataReceived(1, data))
        spec = msgspec.structs.replace(market_spec(), symbol=self.symbol)
        self.give(inputs.HistoryLoaded(1, spec, self.published[self.symbol][-count:]))
        self.give(inputs.PositionReconciled(1, flat(self.symbol), []))

    def close(self, bar: Bar) -> None:
        self.published[bar.symbol].append(bar)
        if bar.symbol == self.symbol:
            self.give(inputs.BarClosed(1, bar))
        if bar.symbol == BTC and self.hears_more:
            self.give(inputs.ContextBarClosed(1, bar))

    def correct(self, right: Bar) -> None:
        self.published[right.symbol] = [
            right if bar.open_ms == right.open_ms else bar for bar in self.published[right.symbol]
        ]
        if right.symbol == self.symbol:
            flow = (right.buy_volume, right.trades, right.spread, right.imbalance)
            prices = (right.open, right.high, right.low, right.close, right.volume)
            event = BarCorrected(self.symbol, 1, 1, 0, right.open_ms, *prices, False, right.synthetic, *flow)
            self.give(inputs.MarketChanged(1, event))
        if right.symbol == BTC and self.hears_more:
            self.give(inputs.ContextBarClosed(1, right))

    def hear(self, data: AltData) -> None:
        if self.hears_more and data.asset in (self.symbol.partition("/")[0], ""):
            self.altdata[data.asset, data.name] = data
            self.give(inputs.AltDataReceived(1, data))


def happened(engine: Engine, seed: int) -> Iterator[tuple[int, int, Bar | Hole | AltData]]:
    """Everything that is published, by time; the markets race each other, and corrections come late."""
    draw = np.random.default_rng(seed)
    for symbol in (ETH, BTC):
        for item in market(symbol):
            if isinstance(item, Hole):
                if not item.filled and symbol == engine.symbol:
                    yield item.until_ms + MINUTE_MS, -1, item  # known with the first bar after it
                continue
            arrives_ms = item.close_ms + int(draw.integers(0, 2_000))
            right = Bar(symbol, 1, 1, *item[:7], 0, False, *item[7:])
            if item.open_ms == opens(CORRECTED[symbol]):
                wrong = msgspec.structs.replace(right, close=right.low, volume=right.volume / 2, buy_volume=0.0)
                yield arrives_ms, 0, wrong
                yield arrives_ms + 15_000, 1, right
            else:
                yield arrives_ms, 0, right
    for data in fetched():
        yield data.fetched_ms + int(draw.integers(100, 30_000)), 2, data


def played(engine: Engine, seed: int = 1, stop_at: int = COUNT) -> dict[int, Question]:
    """Run an engine over the market, restarted on its way; its questions by opening time."""
    corrected = {(symbol, opens(number)) for symbol, number in CORRECTED.items()}
    started = restarted = False
    for at_ms, kind, item in sorted(happened(engine, seed), key=lambda event: event[:2]):
        if at_ms >= opens(stop_at):
            break
        if not started and at_ms >= opens(LIVE):
            started = True
            engine.load(LIVE)
        if not restarted and at_ms >= opens(RESTART):
            restarted = True
            engine.start()
            engine.load()
        if not started:
            remember(engine, item)
        elif isinstance(item, AltData):
            engine.hear(item)
        elif isinstance(item, Hole):
            gap = MarketGap(engine.symbol, 1, 1, 0, item.from_ms, item.missing, item.filled)
            engine.give(inputs.MarketChanged(1, gap))
        elif kind == 1 and (item.symbol, item.open_ms) in corrected:
            engine.correct(item)
        else:
            engine.close(item)
    return engine.questions


def remember(engine: Engine, item: Bar | Hole | AltData) -> None:
    """What was published before the engine was there."""
    if isinstance(item, Bar):
        engine.published[item.symbol].append(item)
    elif isinstance(item, AltData) and item.asset in (engine.symbol.partition("/")[0], ""):
        engine.altdata[item.asset, item.name] = item


def differs(one: Sequence[float], other: Sequence[float]) -> list[str]:
    same = np.isclose(one, other, rtol=1e-9, atol=1e-12, equal_nan=True)
    return [FEATURES[place] for place in np.flatnonzero(~same).tolist()]


@pytest.mark.parametrize("symbol", [ETH, BTC])
def test_each_question_is_the_row_of_its_minute(symbol: str, rows: dict[str, Rows]) -> None:
    asked = played(Engine(symbol))
    wrong_ms = opens(CORRECTED[symbol])
    assert len(asked) > 500
    assert asked.keys() <= rows[symbol].keys()
    different = {
        open_ms: found
        for open_ms, question in asked.items()
        if (found := differs(question.features, rows[symbol][open_ms]))
    }
    assert different.keys() == {wrong_ms}, "only what was asked before its own bar was corrected"
    assert "return_1" in different[wrong_ms]
    missing = np.isnan([question.features for question in asked.values()])
    known = {name for name, gone in zip(FEATURES, missing.all(axis=0), strict=True) if not gone}
    assert {"context_return_5", "spread", "sentiment", "market_sentiment"} <= known
    assert missing[:, FEATURES.index("flow_imbalance")].any()
    live = [opens(number) for number in range(LIVE, COUNT - 1)]
    silent = [open_ms for open_ms in live if open_ms in rows[symbol] and open_ms not in asked]
    assert not silent, "whatever is trained on is asked about"
    assert {opens(RESTART - 1), opens(RESTART), opens(COUNT - 2)} <= asked.keys(), "the restart costs nothing"
    if symbol == ETH:
        assert not {opens(number) for number in (EMPTY, *FILLED, *OPEN)} & asked.keys()


@pytest.mark.parametrize("symbol", [ETH, BTC])
def test_each_sequence_is_made_of_the_rows_of_its_minutes(symbol: str, rows: dict[str, Rows]) -> None:
    asked = played(Engine(symbol), seed=2, stop_at=RESTART)
    wrong_ms = opens(CORRECTED[symbol])
    sequences = 0
    for open_ms, question in islice(asked.items(), 0, None, 7):
        # of what had been fetched before it started, an engine knows the newest values alone
        if not question.sequence or open_ms == wrong_ms or open_ms < opens(LIVE + 60):
            continue
        sequences += 1
        found = np.frombuffer(question.sequence, "<f8").reshape(-1, len(FEATURES))
        minutes = range(open_ms - 59 * MINUTE_MS, open_ms + MINUTE_MS, MINUTE_MS)
        np.testing.assert_allclose(found, [rows[symbol][ms] for ms in minutes], rtol=1e-9, atol=1e-12)
    assert sequences > 40


@pytest.fixture(scope="module")
def trained(altdata: AltHistory) -> Trained:
    return train(material(altdata), PLAN, lambda *_step: None)


@pytest.fixture
def service(trained: Trained, tmp_path: Path) -> PredictionService:
    stored = ModelStore(tmp_path).save(trained.manifest, trained.contents)
    service = PredictionService()
    service.use(load_model(tmp_path / stored.name / stored.version, "simulated"))
    return service


def served(service: PredictionService, symbol: str, asked: dict[int, Question]) -> dict[int, float]:
    """What the pool answers, by opening time."""
    requests = [
        PredictRequest(number, symbol, open_ms, FEATURE_SET, struct.pack(f"<{len(FEATURES)}d", *one.features), 1)
        for number, (open_ms, one) in enumerate(asked.items())
    ]
    replies = [reply for _, reply in service.answer([(b"", request) for request in requests], 0)]
    answers = [reply for reply in replies if isinstance(reply, Prediction)]
    assert len(answers) == len(requests)
    return {reply.bar_ms: reply.probability for reply in answers}


def expected(trained: Trained, rows: Sequence[Sequence[float]]) -> np.ndarray:
    """The bare library on rows of a training, and the calibration of the manifest."""
    booster = import_lightgbm().Booster(model_str=trained.contents[MODEL].decode())
    columns = [FEATURES.index(name) for name in trained.manifest.features]
    (file,) = (file for file in trained.manifest.files if file.trees)
    return calibration.apply(file.calibration, booster.predict(np.array(rows)[:, columns]))


@pytest.mark.parametrize("symbol", [ETH, BTC])
def test_the_pool_answers_as_the_trees_do_on_rows_of_the_training(
    symbol: str, rows: dict[str, Rows], trained: Trained, service: PredictionService
) -> None:
    assert {"context_return_5", "spread", "sentiment", "market_sentiment"} <= set(trained.manifest.features)
    assert trained.manifest.leaks == ()
    assert trained.manifest.context == BTC
    asked = played(Engine(symbol))
    del asked[opens(CORRECTED[symbol])]
    answers = served(service, symbol, asked)
    told = expected(trained, [rows[symbol][open_ms] for open_ms in answers])
    np.testing.assert_allclose([*answers.values()], told, rtol=0, atol=1e-9)
    assert len(set(told.tolist())) > 100


def test_a_model_is_served_without_what_may_be_missing_as_the_trees_do_without_it(
    trained: Trained, service: PredictionService
) -> None:
    asked = played(Engine(ETH, hears_more=False))
    gone = [name for name in FEATURES if name.startswith("context_") or name.endswith("sentiment")]
    for question in asked.values():
        told = dict(zip(FEATURES, question.features, strict=True))
        assert all(math.isnan(told[name]) for name in gone)
    answers = served(service, ETH, asked)
    bare = expected(trained, [asked[open_ms].features for open_ms in answers])
    np.testing.assert_allclose([*answers.values()], bare, rtol=0, atol=1e-9)
