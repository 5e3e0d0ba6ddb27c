"""Training finds what is there to be found, finds nothing where nothing is, and says which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

import levibot
from levibot.errors import TrainingError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.simulated import ORIGIN_MS, SimulatedMarket
from levibot.ml.boosting import default_params, fixed_params
from levibot.ml.features import FEATURE_VERSIONS, OPTIONAL_FEATURES, FeatureWindow
from levibot.ml.labels import outcomes
from levibot.ml.manifest import MODEL
from levibot.ml.material import Material
from levibot.ml.model import Model, load_model
from levibot.ml.preparation import Plan, choose_label, prepare
from levibot.ml.scores import auc, log_loss
from levibot.ml.sources import of_folder
from levibot.ml.store import ModelStore
from levibot.ml.train import IMPORTANCE, PICTURE, fit_models, train
from levibot.ml.trained import CARD, Trained
from tests.market.real_data import real_data
from tests.ml.examples import read_history, walk

PLAN = Plan(name="lightgbm-simulated", exchange="simulated", horizon_bars=20, costs=0.0024)
SYMBOLS = ("BTC/USDT", "ETH/USDT")
DAYS = 4


def silent(_stage: str, _done: int, _total: int | None) -> None:
    pass


def simulated(seed: int = 7, *, days: int = DAYS, until_ms: int = ORIGIN_MS) -> Mapping[str, list[Candle]]:
    bars = days * 1440
    first = until_ms // MINUTE_MS - bars
    return {symbol: list(islice(SimulatedMarket(seed, symbol).candles(first), bars)) for symbol in SYMBOLS}


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(Material(simulated()), PLAN, silent)


@pytest.fixture(scope="module")
def model(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("models")
    stored = ModelStore(folder).save(trained.manifest, trained.contents)
    return load_model(folder / stored.name / stored.version, "simulated")


def test_it_finds_the_pattern_of_the_simulated_market(trained: Trained) -> None:
    scores = trained.manifest.scores
    assert scores.auc > 0.9
    assert not scores.missed
    assert scores.log_loss < 0.6 * scores.base_log_loss
    assert scores.base_brier == pytest.approx(0.25, abs=0.01)


def test_its_bets_pay_after_costs_on_days_and_a_market_it_has_never_seen(model: Model) -> None:
    """With the engine's own barriers, and decisions that are carried out at the open of the next bar."""
    label = model.manifest.label
    for seed in (7, 8):
        wins = losses = 0
        for bars in simulated(seed, days=2, until_ms=ORIGIN_MS + 2 * 1440 * MINUTE_MS).values():
            won, lost = bet(bars, model)
            wins, losses = wins + won, losses + lost
        assert wins + losses > 20
        gain = (wins * label.take_profit - losses * label.stop_loss) / (wins + losses) - PLAN.costs
        assert gain > 0.001, f"seed {seed}: {wins} wins, {losses} losses"


def bet(bars: list[Candle], model: Model) -> tuple[int, int]:
    """Long, one at a time, whenever the model is sure of a rise; how many reach which barrier first."""
    label, window, counts, entry = model.manifest.label, FeatureWindow(), [0, 0], 0.0
    asked = False
    for bar in bars:
        if asked and not entry:
            entry = bar.open
        asked = False
        if entry and bar.low <= entry * (1 - label.stop_loss):
            counts[1], entry = counts[1] + 1, 0.0
        elif entry and bar.high >= entry * (1 + label.take_profit):
            counts[0], entry = counts[0] + 1, 0.0
        features = window.add(bar)
        if features is not None and not entry:
            asked = float(model.predict(np.array([features])[:, model.columns])[0]) > 0.7
    return counts[0], counts[1]


def test_the_manifest_says_how_it_was_made(trained: Trained) -> None:
    manifest = trained.manifest
    assert (manifest.name, manifest.exchange) == ("lightgbm-simulated", "simulated")
    expected = {name: version for name, version in FEATURE_VERSIONS.items() if name not in OPTIONAL_FEATURES}
    assert dict(zip(manifest.features, manifest.feature_versions, strict=True)) == expected
    assert manifest.symbols == SYMBOLS
    assert manifest.label.horizon_bars == 20
    assert manifest.label.take_profit == manifest.label.stop_loss >= 3 * PLAN.costs
    assert manifest.train.until_ms <= manifest.tuning.from_ms
    assert manifest.calibration is not None
    assert manifest.tuning.until_ms <= manifest.calibration.from_ms
    assert manifest.calibration.until_ms <= manifest.test.from_ms
    assert manifest.test.until_ms <= ORIGIN_MS
    assert manifest.expires_ms == 0, "the simulated market does not change"
    assert manifest.params["seed"] == manifest.seed == 1
    assert manifest.params["num_threads"] == 1
    assert manifest.libraries.keys() == {"python", "lightgbm", "numpy"}
    assert manifest.levibot == levibot.__version__
    if (Path(levibot.__path__[0]).parent / ".git").exists():
        assert manifest.commit is not None
        assert len(manifest.commit.removesuffix("-dirty")) == 40
    assert [len(content) for content in trained.contents.values()] == [file.size_bytes for file in manifest.files]


def test_ranges_hold_nearly_all_it_has_learned_from_and_little_more(model: Model) -> None:
    rows = read_history(simulated()["BTC/USDT"]).features[:, model.columns]
    assert model.out_of_range(rows).mean() < 0.05
    rows[:, model.manifest.features.index("atr_14")] *= 10
    assert (model.out_of_range(rows) >= 1).all()


def test_the_same_data_and_seed_give_the_same_model_in_whatever_order_they_come(trained: Trained) -> None:
    again = train(Material(dict(reversed(simulated().items()))), replace(PLAN, picture=False), silent)
    assert again.contents[MODEL] == trained.contents[MODEL]
    assert again.manifest.data_sha256 == trained.manifest.data_sha256
    assert again.contents[IMPORTANCE] == trained.contents[IMPORTANCE]
    assert again.manifest.files[0].calibration == trained.manifest.files[0].calibration
    assert PICTURE not in again.contents
    data = prepare(Material(simulated()), PLAN, silent)
    other = fit_models(data, {**default_params(5000), **fixed_params(2, 1)}, PLAN, silent)
    assert other[0].text != trained.contents[MODEL]


def test_beside_the_model_lie_its_card_and_what_it_lives_on(trained: Trained) -> None:
    manifest = trained.manifest
    assert {file.name for file in manifest.files} == trained.contents.keys() == {MODEL, CARD, IMPORTANCE, PICTURE}
    assert [file.name for file in manifest.files if file.trees] == [MODEL]
    assert trained.contents[PICTURE].startswith(b"\x89PNG")
    found = msgspec.json.decode(trained.contents[IMPORTANCE])["features"]
    assert {each["feature"] for each in found} == set(manifest.features)
    assert sum(each["gain"] for each in found) == pytest.approx(1)
    assert [each["shap"] for each in found] == sorted((each["shap"] for each in found), reverse=True)
    card = trained.contents[CARD].decode()
    for words in (
        "# lightgbm-simulated\n",
        "+0.72% before -0.72%, within 20 bars",
        f"| test | {manifest.test.from_utc} | {manifest.test.until_utc} | {manifest.test.judged:,} |",
        manifest.data_sha256,
        f"| log loss | {manifest.scores.log_loss:.4f} | 0.6931 |",
        f"| {found[0]['feature']} | 1 |",
        "No leak was found",
        "planted pattern",
    ):
        assert words in card


def test_its_calibration_comes_true_and_is_what_serves(trained: Trained, model: Model) -> None:
    data = prepare(Material(simulated()), PLAN, silent)
    rows = data.spans.test.labelled()
    (file,) = (file for file in trained.manifest.files if file.trees)
    assert file.calibration.kind != "none"
    said = model.predict(rows.features[:, model.columns])
    assert auc(rows.labels, said) == pytest.approx(trained.manifest.scores.auc)
    assert log_loss(rows.labels, said) == pytest.approx(trained.manifest.scores.log_loss)
    for low, high in ((0.0, 0.2), (0.8, 1.01)):
        part = (said >= low) & (said < high)
        assert rows.labels[part].mean() == pytest.approx(said[part].mean(), abs=0.05)


def test_each_symbol_may_have_trees_of_its_own_in_one_version_with_distances_in_sigmas() -> None:
    plan = replace(PLAN, per_symbol=True, unit="sigma", picture=False)
    trained = train(Material(simulated()), plan, silent)
    manifest = trained.manifest
    models = [file for file in manifest.files if file.trees]
    assert [(file.name, file.symbol) for file in models] == [
        ("model-BTC-USDT.txt", "BTC/USDT"),
        ("model-ETH-USDT.txt", "ETH/USDT"),
    ]
    assert (manifest.label.unit, manifest.label.take_profit) == ("sigma", 0.7)
    assert manifest.label.least == pytest.approx(3 * PLAN.costs)
    assert manifest.scores.auc > 0.9
    assert "Trees of its own for each symbol" in trained.contents[CARD].decode()
    few = {**simulated(), "LATE/USDT": simulated()["ETH/USDT"][-2000:]}
    with pytest.raises(TrainingError, match=r"^LATE/USDT: the train span has 0 rows .*--no-per-symbol"):
        train(Material(few), plan, silent)


def test_the_test_begins_where_it_is_told_to() -> None:
    from_ms = ORIGIN_MS - 1440 * MINUTE_MS
    data = prepare(Material(simulated()), replace(PLAN, test_from_ms=from_ms, embargo_bars=90), silent)
    assert data.spans.test.open_ms[0] == from_ms + 90 * MINUTE_MS
    assert data.spans.calibration.until_ms.max() <= from_ms


def test_a_random_walk_teaches_it_nothing() -> None:
    symbols = {f"S{seed}/USDT": walk(6000, seed=seed) for seed in range(4)}
    plan = replace(PLAN, exchange="binance", horizon_bars=120, picture=False)
    manifest = train(Material(symbols), plan, silent).manifest
    scores = manifest.scores
    assert abs(scores.auc - 0.5) < 0.1
    assert scores.missed
    assert manifest.leaks == ()


def test_distances_and_life_are_as_asked() -> None:
    plan = replace(PLAN, take_profit=0.004, stop_loss=0.003, horizon_bars=30, life_days=30)
    manifest = train(Material(simulated()), replace(plan, picture=False), silent).manifest
    label = manifest.label
    assert (label.take_profit, label.stop_loss, label.horizon_bars) == (0.004, 0.003, 30)
    assert manifest.expires_ms == ORIGIN_MS - MINUTE_MS + 30 * 86_400_000


def test_progress_never_stands_still() -> None:
    told: list[tuple[str, int, int | None]] = []
    bars = DAYS * 1440 * len(SYMBOLS)
    train(Material(simulated(), bars), replace(PLAN, picture=False), lambda *step: told.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == [
        "computing features",
        "labelling",
        "growing trees",
        "looking for leaks",
        "judging",
    ]
    assert [done for stage, done, _ in told if stage == "computing features"][-1] == bars
    trees = [done for stage, done, _ in told if stage == "growing trees"]
    assert trees == list(range(1, len(trees) + 1))


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(TrainingError, match="no bar has features"):
        train(Material({"BTC/USDT": walk(50)}), PLAN, silent)
    with pytest.raises(TrainingError, match="give more candles"):
        train(Material({"BTC/USDT": walk(300)}), PLAN, silent)


@pytest.mark.parametrize(
    ("days", "horizon"),
    [pytest.param(20, 240, marks=pytest.mark.long), pytest.param(10, 240, marks=pytest.mark.long), (20, 60)],
)
@pytest.mark.long
def test_a_month_of_real_prices_teaches_it_too_little_to_serve(days: int, horizon: int) -> None:
    """What was learned holds no better on the days after than a share of rises that is known in hindsight."""
    found = of_folder(real_data("candles", "binance-um-2025-05"), ("BTC/USDT", "ETH/USDT"), days, None, 120)
    plan = replace(PLAN, name="lightgbm-binance", exchange="binance", horizon_bars=horizon)
    scores = train(found, plan, silent).manifest.scores
    assert scores.log_loss < 0.72, "it is not sure of what it does not know"
    assert any("the test span's own base rate has" in reason for reason in scores.missed)


def test_the_label_of_the_plan_comes_from_the_training_span_alone() -> None:
    calm, wild = list(walk(3000)), list(walk(6000))[3000:]
    wild = [
        bar._replace(high=bar.high * 1.05, low=bar.low * 0.95, close=bar.open * (1.04 if n % 2 else 0.96))
        for n, bar in enumerate(wild)
    ]
    histories = [read_history([*calm, *wild])]
    with_wild = choose_label(PLAN, histories, calm[-1].open_ms)
    without = choose_label(PLAN, [read_history(calm)], 2**62)
    assert with_wild.take_profit == pytest.approx(without.take_profit, rel=1e-3)
    assert len(outcomes(histories[0], with_wild).labels) == len(histories[0].judged)
