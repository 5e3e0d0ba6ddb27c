"""A network that is trained, exported, stored and loaded: what serves is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from levibot.config_market import FeedConfig
from levibot.errors import ModelError, TrainingError
from levibot.ml import sources
from levibot.ml.contest import judge, judged_rows
from levibot.ml.manifest import read_manifest
from levibot.ml.model import load_model
from levibot.ml.promotion import Limits
from levibot.ml.scores import log_loss
from levibot.ml.store import ModelStore
from levibot.ml.tft.sequences import remade
from levibot.ml.trained import CARD
from tests.ml.tft.examples import NAME, need_extra, sequences, stored_tft, trained

need_extra()

import torch

from levibot.ml.tft.fit import Effort, Examples, fit_link, fit_network
from levibot.ml.tft.forecast import FORECAST, HORIZON, QUANTILES, STEPS
from levibot.ml.tft.model import NETWORK, TftModel, load_tft, open_session
from levibot.ml.tft.network import build, export, inputs


def loaded(folder: Path) -> TftModel:
    return load_tft(folder, "simulated")


def restored(folder: Path, name: str, content: bytes) -> Path:
    """A version with another content of one file, which its manifest describes truly."""
    contents = {**trained().contents, name: content}
    store = ModelStore(folder)
    stored = store.save(trained().manifest, contents)
    return folder / stored.name / stored.version


def refusal(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load_tft(folder, "simulated")
    assert "train again" in str(caught.value)
    return caught.value


def test_the_manifest_tells_how_it_was_made(tmp_path: Path) -> None:
    manifest = read_manifest(stored_tft(tmp_path))
    assert (manifest.kind, manifest.name) == ("tft", NAME)
    assert {file.name for file in manifest.files} == {NETWORK, FORECAST, CARD}
    assert manifest.calibration is not None
    assert manifest.train.until_ms <= manifest.tuning.from_ms
    assert manifest.tuning.until_ms <= manifest.calibration.from_ms
    assert manifest.calibration.until_ms <= manifest.test.from_ms
    assert manifest.params["steps"] == STEPS
    assert "torch" in manifest.libraries
    assert manifest.leaks == (), "a leak of the rows that it learns from would keep it from serving"
    assert 0 < manifest.scores.log_loss < 1


def test_it_learns_what_a_simulated_market_does() -> None:
    assert trained().manifest.scores.auc > 0.6


def fitted(seed: int) -> bytes:
    """A network fitted on some sequences of noise, as it is exported."""
    draw = np.random.default_rng(7)
    scaled = draw.normal(size=(400, 3)).astype(np.float32)
    ends = np.arange(STEPS - 1, 380)
    examples = Examples(scaled, ends, draw.normal(size=(len(ends), HORIZON)))
    effort = Effort(epochs=1, batch=64)
    network = fit_network(
        examples,
        examples,
        ("a", "b", "c"),
        effort,
        seed=seed,
        threads=1,
        accelerator="cpu",
        report=lambda *_: None,
    )
    return export(network, 3)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first = fitted(1)
    assert fitted(1) == first
    assert fitted(2) != first


def test_the_time_limit_ends_the_fitting_with_what_there_is() -> None:
    draw = np.random.default_rng(7)
    ends = np.arange(STEPS - 1, 380)
    examples = Examples(
        draw.normal(size=(400, 2)).astype(np.float32), ends, draw.normal(size=(len(ends), HORIZON))
    )
    done: list[int] = []
    network = fit_network(
        examples,
        examples,
        ("a", "b"),
        Effort(epochs=1000, batch=8, seconds=0.2),
        seed=1,
        threads=1,
        accelerator="cpu",
        report=lambda step, steps: done.append(steps - step),
    )
    assert done[-1] > 0
    assert export(network, 2)


def test_a_forecast_that_says_nothing_leaves_the_base_rate() -> None:
    draw = np.random.default_rng(5)
    numbers, labels = draw.normal(size=(2000, 3)), (draw.random(2000) < 0.3).astype(np.float64)
    probabilities = fit_link(numbers, labels).probability(numbers)
    assert probabilities.mean() == pytest.approx(labels.mean(), abs=1e-3)
    assert probabilities.std() < 0.05
    certain = fit_link(np.column_stack([labels, labels, labels]), labels).probability(np.eye(3) * 0)
    assert certain.max() < 0.1


def test_what_is_exported_forecasts_what_the_original_does() -> None:
    torch.manual_seed(3)
    network = build(tuple("abcdefg"), hidden=16, heads=2, dropout=0.1, rate=1e-3)
    session = open_session(export(network, 7))
    rows = torch.randn(17, STEPS, 7)
    with torch.no_grad():
        expected = network(inputs(rows, torch.zeros(17, HORIZON)))["prediction"].numpy()
    found = session.run(None, {"rows": rows.numpy()})[0]
    assert found.shape == (17, HORIZON, len(QUANTILES))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_export_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(("a", "b"), hidden=16, heads=2, dropout=0.1, rate=1e-3)
    monkeypatch.setattr(
        "levibot.ml.tft.network._run", lambda content, rows: rows[:, :HORIZON, :1] + np.zeros(7, "f4")
    )
    with pytest.raises(TrainingError, match="differs from the trained one"):
        export(network, 2)


def test_a_loaded_model_answers_each_sequence_as_if_it_were_alone(tmp_path: Path) -> None:
    model = loaded(stored_tft(tmp_path))
    rows = sequences(40, len(model.manifest.features))
    together = model.predict(rows)
    assert together.shape == (40,)
    assert ((together > 0) & (together < 1)).all()
    alone = np.concatenate([model.predict(row[None]) for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert model.predict(rows[:0]).shape == (0,)
    assert model.barriers(rows[:2]) == [(0.001, 0.001)] * 2


def test_features_out_of_range_are_those_of_the_judged_bar(tmp_path: Path) -> None:
    model = loaded(stored_tft(tmp_path))
    low, high = np.array(model.manifest.ranges).T
    rows = np.tile((low + high) / 2, (3, STEPS, 1))
    rows[0, 0, :] = 99.0
    rows[1, -1, :2] = 99.0
    assert model.out_of_range(rows).tolist() == [0, 2, 0]


@pytest.mark.parametrize(
    ("shape", "words"),
    [((2, 25), "have shape"), ((2, STEPS - 1, 25), "have shape"), ((2, STEPS, 1), "have shape")],
)
def test_rows_of_another_shape_are_refused(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loaded(stored_tft(tmp_path)).predict(np.zeros(shape))


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    model = loaded(stored_tft(tmp_path))
    rows = sequences(2, len(model.manifest.features))
    rows[1, 30, 3] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        model.predict(rows)


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x07\x12\x07pytorch"])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    error = refusal(restored(tmp_path, NETWORK, content or b"\0"))
    assert error.path.name == NETWORK


def test_a_network_of_other_features_is_refused(tmp_path: Path) -> None:
    other = export(build(("a", "b", "c"), hidden=16, heads=2, dropout=0.1, rate=1e-3), 3)
    error = refusal(restored(tmp_path, NETWORK, other))
    assert "expected rows of (n, 60," in str(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told | {"schema": 2},
        lambda told: told | {"more": 1},
        lambda told: told | {"link": {"weights": [1.0], "intercept": 0.0}},
        lambda told: told | {"scaling": {"center": [0.0], "scale": [1.0]}},
        lambda told: told | {"scaling": {"center": [0.0], "scale": [0.0]}},
        lambda told: [],
    ],
)
def test_a_scaling_that_does_not_fit_is_refused(tmp_path: Path, change: Any) -> None:
    told = change(msgspec.json.decode(trained().contents[FORECAST]))
    error = refusal(restored(tmp_path, FORECAST, msgspec.json.encode(told)))
    assert error.path.name == FORECAST


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = stored_tft(tmp_path)
    content = bytearray((folder / NETWORK).read_bytes())
    content[1000] ^= 1
    (folder / NETWORK).write_bytes(content)
    assert "another digest" in str(refusal(folder))
    (folder / NETWORK).unlink()
    assert "cannot be read" in str(refusal(folder))


def test_a_manifest_without_the_network_is_refused(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    files = tuple(file for file in trained().manifest.files if file.name != NETWORK)
    stored = store.save(msgspec.structs.replace(trained().manifest, files=files), trained().contents)
    assert f"does not name {NETWORK}" in str(refusal(tmp_path / stored.name / stored.version))


def test_a_model_of_another_kind_or_market_is_refused(tmp_path: Path) -> None:
    folder = stored_tft(tmp_path)
    with pytest.raises(ModelError, match="of the kind tft, expected lightgbm"):
        load_model(folder, "simulated")
    with pytest.raises(ModelError, match="expected 'binance'"):
        load_tft(folder, "binance")


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx writes a network that refers to another file")
    network = onnx.load_from_string(trained().contents[NETWORK])
    tensor = max(network.graph.initializer, key=lambda one: one.ByteSize())
    (tmp_path / "weights").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, str(tmp_path / "weights"))
    tensor.ClearField("raw_data")
    assert refusal(restored(tmp_path / "models", NETWORK, network.SerializeToString())).path.name == NETWORK


def test_a_stored_network_is_judged_again_on_the_same_rows() -> None:
    candles = sources.of_feed(FeedConfig(), ["BTC/USDT"], 2, None)
    manifest = trained().manifest
    rows = judged_rows(remade(candles, manifest, lambda *_: None), manifest)
    np.testing.assert_array_equal(rows.features, trained().test.features)
    np.testing.assert_array_equal(rows.labels, trained().test.labels)


def test_the_gate_judges_a_network_by_what_it_answers(tmp_path: Path) -> None:
    folder = stored_tft(tmp_path)
    manifest = read_manifest(folder)
    verdict = judge(ModelStore(tmp_path), manifest, trained().test, Limits(0.0, 0.5), None)
    assert verdict.measured is not None
    test = trained().test
    probabilities = loaded(folder).predict(test.features[..., loaded(folder).columns])
    assert manifest.scores.log_loss == pytest.approx(log_loss(test.labels, probabilities), abs=1e-6)
