"""A stored model answers as LightGBM does; whatever is wrong with its files is told, and harms nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from levibot.errors import ModelError
from levibot.ml.features import FEATURES, OPTIONAL_FEATURES
from levibot.ml.manifest import MANIFEST, MODEL, Calibration, ModelFile, read_manifest, to_document
from levibot.ml.model import Model, import_lightgbm, load_model
from levibot.ml.model_text import check_model_text
from levibot.ml.store import ModelStore
from tests.ml.examples import manifest, model_text, stored_model

ROWS = np.random.default_rng(5).normal(size=(40, len(FEATURES)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return stored_model(tmp_path / "models")


def test_it_answers_as_lightgbm_does(folder: Path) -> None:
    model = load_model(folder, "simulated")
    expected = import_lightgbm().Booster(model_str=model_text().decode()).predict(ROWS)
    found = model.predict(ROWS)
    assert found.shape == (40,)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.predict(ROWS[3:4]), expected[3:4])
    assert model.predict(ROWS[:0]).shape == (0,)
    assert (found[ROWS[:, 0] > 0] > 0.5).all()
    assert model.manifest.reference == f"lightgbm-simulated/{folder.name}"


def test_it_counts_what_lies_outside_its_training(folder: Path) -> None:
    rows = np.zeros((3, len(FEATURES)))
    rows[1, 4] = 3.5
    rows[2, :] = -99.0
    assert load_model(folder, "simulated").out_of_range(rows).tolist() == [0, 1, len(FEATURES)]


@pytest.mark.parametrize(
    "rows",
    [ROWS[0], ROWS[:, 1:], np.full((1, len(FEATURES)), np.nan), np.full((2, len(FEATURES)), np.inf)],
    ids=["one dimension", "too few", "NaN", "infinite"],
)
def test_rows_that_are_none_are_refused(folder: Path, rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        load_model(folder, "simulated").predict(rows)


def of_symbols(models: Path) -> Model:
    """A version with trees for each of two symbols; those of ETH are calibrated to say the opposite."""
    turned = Calibration(kind="isotonic", points=((0.0, 0.25), (1.0, 0.25)))
    files = (
        ModelFile(name="a.txt", symbol="BTC/USDT", sha256="0" * 64, size_bytes=1, trees=5),
        ModelFile(name="b.txt", symbol="ETH/USDT", sha256="0" * 64, size_bytes=1, trees=3, calibration=turned),
        ModelFile(name="card.md", sha256="0" * 64, size_bytes=1),
    )
    contents = {"a.txt": model_text(), "b.txt": model_text(rounds=3), "card.md": b"read me"}
    stored = ModelStore(models).save(manifest(files=files), contents)
    return load_model(models / stored.name / stored.version, "simulated")


def test_each_symbol_has_trees_and_a_calibration_of_its_own(tmp_path: Path, folder: Path) -> None:
    model = of_symbols(tmp_path / "of symbols")
    assert [model.answers_for(symbol) for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT", "")] == [
        True,
        True,
        False,
        False,
    ]
    one_for_all = load_model(folder, "simulated")
    assert one_for_all.answers_for("SOL/USDT")
    mixed = ["BTC/USDT", "ETH/USDT"] * 20
    expected = one_for_all.predict(ROWS)
    expected[1::2] = 0.25
    np.testing.assert_array_equal(model.predict(ROWS, mixed), expected)
    model.warm(3)


@pytest.mark.parametrize("symbols", [[], ["BTC/USDT"] * 39, ["BTC/USDT"] * 39 + ["SOL/USDT"]])
def test_rows_of_symbols_without_trees_are_refused(tmp_path: Path, symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="out of BTC/USDT, ETH/USDT"):
        of_symbols(tmp_path).predict(ROWS, symbols)


def with_optional_features() -> bytes:
    """Trees that split by ``spread``, which was always there, and by ``sentiment``, which was missing at times."""
    lightgbm = import_lightgbm()
    rows = np.random.default_rng(5).normal(size=(2_000, len(FEATURES)))
    spread, sentiment = (rows[:, FEATURES.index(name)] for name in ("spread", "sentiment"))
    labels = (spread + sentiment > 0).astype(float)
    sentiment[::5] = np.nan
    data = lightgbm.Dataset(rows, labels, feature_name=list(FEATURES))
    params = {"objective": "binary", "num_threads": 1, "verbose": -1, "num_leaves": 6}
    text: str = lightgbm.train(params, data, 5).model_to_string()
    return text.encode()


def loaded(folder: Path, contents: dict[str, bytes], *files: ModelFile) -> Model:
    stored = ModelStore(folder).save(manifest(files=files), contents)
    return load_model(folder / stored.name / stored.version, "simulated")


def without(*names: str) -> np.ndarray:
    row = np.zeros((1, len(FEATURES)))
    row[0, [FEATURES.index(name) for name in names]] = np.nan
    return row


def test_what_is_missing_and_never_was_in_training_is_out_of_range(tmp_path: Path) -> None:
    file = ModelFile(name=MODEL, sha256="0" * 64, size_bytes=1, trees=5)
    model = loaded(tmp_path, {MODEL: with_optional_features()}, file)
    whole, no_spread, no_sentiment, neither = (
        without(*names) for names in ((), ("spread",), ("sentiment",), ("spread", "sentiment"))
    )
    counts = [model.out_of_range(row).tolist() for row in (whole, no_spread, no_sentiment, neither)]
    assert counts == [[0], [1], [0], [1]]
    assert model.predict(no_spread) == model.predict(whole), "LightGBM takes it for 0: that is why it counts"
    assert model.predict(no_sentiment) != model.predict(whole), "it has learned what that means"
    assert model.out_of_range(without("funding_rate")).tolist() == [0], "the trees do not look at it"


def test_what_may_be_missing_is_up_to_the_trees_of_the_symbol(tmp_path: Path) -> None:
    files = (
        ModelFile(name="a.txt", symbol="BTC/USDT", sha256="0" * 64, size_bytes=1, trees=5),
        ModelFile(name="b.txt", symbol="ETH/USDT", sha256="0" * 64, size_bytes=1, trees=5),
    )
    model = loaded(tmp_path, {"a.txt": with_optional_features(), "b.txt": model_text()}, *files)
    rows = np.repeat(without("spread"), 3, axis=0)
    assert model.out_of_range(rows, ["ETH/USDT", "BTC/USDT", "ETH/USDT"]).tolist() == [0, 1, 0]


def test_an_optional_feature_may_be_missing(folder: Path) -> None:
    model = load_model(folder, "simulated")
    rows = np.zeros((2, len(FEATURES)))
    optional = [name in OPTIONAL_FEATURES for name in FEATURES]
    rows[1, optional] = np.nan
    assert model.predict(rows).shape == (2,)
    assert model.is_sound(np.full(len(FEATURES), np.nan)).tolist() == optional
    assert not model.is_sound(np.full(len(FEATURES), np.inf)).any()


def change(folder: Path, **fields: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def replaced(folder: Path, text: bytes) -> None:
    """Replace the model by another with a manifest that fits it."""
    store = ModelStore(folder.parents[1])
    stored = store.save(manifest(), {MODEL: text})
    shutil.rmtree(folder)
    (folder.parent / stored.version).rename(folder)
    change(folder, version=folder.name)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, r"manifest\.json: is missing"),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), r"manifest\.json: is missing"),
    "a manifest cut off": (lambda f: (f / MANIFEST).write_text('{"schema": 1, '), r"is not JSON: .*\d\); train"),
    "a manifest of a later LeviBot": (
        lambda f: (f / MANIFEST).write_text('{"schema": 9}'),
        "upgrade LeviBot to go on, or train again with",
    ),
    "a foreign manifest": (lambda f: (f / MANIFEST).write_text('{"schema": 1}'), "missing required field"),
    "a manifest that is a list": (lambda f: (f / MANIFEST).write_text("[]"), "no JSON object"),
    "a newer schema": (lambda f: change(f, schema=4), "has schema 4.*upgrade"),
    "an unknown field": (lambda f: change(f, colour="red"), "colour"),
    "a wrong type": (lambda f: change(f, seed="x"), r"seed"),
    "a label out of range": (
        lambda f: change(f, label={"take_profit": 0, "stop_loss": 0.1, "horizon_bars": 1}),
        "take_profit",
    ),
    "too few ranges": (lambda f: change(f, ranges=[[0, 1]]), "one range and one version for each feature"),
    "a range upside down": (lambda f: change(f, ranges=[[1.0, 0.0]] * len(FEATURES)), "finite ranges"),
    "another exchange": (lambda f: change(f, exchange="binance"), "markets of 'binance', expected 'simulated'"),
    "another version": (lambda f: change(f, version="20200101T000000Z-001"), "describes lightgbm-simulated/2020"),
    "another formula": (
        lambda f: change(f, feature_versions=[0] * len(FEATURES)),
        "needs another version of the feature return_1",
    ),
    "other features": (lambda f: change(f, features=list(FEATURES[::-1])), "was trained with the features"),
    "no model": (lambda f: (f / MODEL).unlink(), r"model\.txt: cannot be read"),
    "a model cut off": (lambda f: (f / MODEL).write_bytes(model_text()[:999]), "has 999 bytes, expected"),
    "a model changed": (
        lambda f: (f / MODEL).write_bytes(model_text().replace(b"leaf_value=0", b"leaf_value=1", 1)[::-1]),
        "another digest",
    ),
    "a foreign text": (lambda f: replaced(f, b"hello\n" * 50), "begins with 'hello"),
    "no text": (lambda f: replaced(f, b"\x89PNG" * 50), "is no text"),
    "nothing but a head": (lambda f: replaced(f, b"tree\n"), "cut off"),
    "a regression": (lambda f: replaced(f, model_text(objective="regression")), "objective 'regression'"),
    "fewer features": (lambda f: replaced(f, model_text(features=FEATURES[1:])), "max_feature_idx"),
    "features in another order": (
        lambda f: replaced(f, model_text(features=FEATURES[::-1])),
        f"'{FEATURES[-1]}' at place 1, expected 'return_1'",
    ),
    "more trees": (lambda f: replaced(f, model_text(rounds=7)), "has 7 trees, expected 5"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_used_is_refused_with_file_expectation_and_remedy(
    folder: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    act, found = DAMAGES[damage]
    act(folder)
    with pytest.raises(ModelError, match=found) as caught:
        load_model(folder, "simulated")
    assert str(folder) in str(caught.value)
    assert "again" in str(caught.value), "a remedy"
    assert capfd.readouterr() == ("", ""), "LightGBM says nothing"


def edited(old: str, new: str, *, resized: bool = True) -> str:
    """The small model with one thing changed; its head says how long the trees are then."""
    text = model_text().decode()
    assert old in text
    text = text.replace(old, new, 1)
    if not resized:
        return text
    body = text.partition("end of trees")[0]
    sizes = [len(f"Tree={tree}\n") for tree in body.split("\nTree=")[1:]]
    sizes[-1] -= 1
    before = next(line for line in text.splitlines() if line.startswith("tree_sizes="))
    return text.replace(before, f"tree_sizes={' '.join(map(str, sizes))}", 1)


def ending(key: str, value: str) -> tuple[str, str]:
    """A list of the first tree, and the same with another last value."""
    line = next(line for line in model_text().decode().splitlines() if line.startswith(f"{key}="))
    return line, f"{line.rpartition(' ')[0]} {value}"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("end of parameters", "end of", "cut off"),
        ("version=v4", "version=v9", "format v9"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=3", "a probability"),
        (f"max_feature_idx={len(FEATURES) - 1}", "max_feature_idx=9999", "max_feature_idx 9999"),
        ("num_leaves=3", "num_leaves=2", "do not fit the length"),
        ("num_leaves=3", "num_leaves=x", "damaged"),
        ("num_cat=0", "num_cat=1", "not used here"),
        ("is_linear=0", "is_linear=1", "not used here"),
        ("leaf_value=", "leaf_valve=", "'leaf_value'"),
        (*ending("left_child", "99999"), "do not form a tree"),
        (*ending("right_child", "-99999"), "do not form a tree"),
        (*ending("right_child", "0"), "do not form a tree"),
        (*ending("split_feature", str(len(FEATURES))), f"beyond the {len(FEATURES)}"),
        (*ending("split_feature", "-1"), f"beyond the {len(FEATURES)}"),
        (*ending("threshold", "x"), "damaged"),
        (*ending("threshold", "nan"), "made of numbers"),
        (*ending("leaf_value", "nan"), "made of numbers"),
        (*ending("leaf_value", "1e400"), "no finite number"),
        (*ending("decision_type", "2\ndecision_type=2 2"), "stands there twice"),
        (*ending("decision_type", "2\n"), "is no entry"),
        (*ending("decision_type", "3"), "of a kind that is not used here"),
        (*ending("decision_type", "14"), "of a kind that is not used here"),
        (*ending("split_gain", "x"), "made of numbers"),
        (*ending("internal_count", "1 2 3"), "do not fit the length"),
        ("num_leaves=3", "num_leaves=", "made of numbers"),
        ("decision_type=", "decision_typo=", "'decision_type' is missing"),
        ("shrinkage=1", "shrinkage=1\ncolour=red", "'colour' is missing, or of a kind"),
        ("num_class=1", "num_class=3", "a probability"),
        ("sigmoid:1", "sigmoid:nan", "a probability"),
        ("label_index=0", "label_index=0\naverage_output", "is no entry"),
        ("feature_infos=", "feature_info=", "its head is not made of"),
    ],
)
def test_a_text_that_would_lead_lightgbm_astray_is_found_before_it_reads_it(
    old: str, new: str, found: str
) -> None:
    with pytest.raises(ModelError, match=found):
        check_model_text(Path(MODEL), edited(old, new), FEATURES)


def test_trees_of_another_length_than_the_head_says_are_refused() -> None:
    check_model_text(Path(MODEL), edited("shrinkage=1", "shrinkage=1.0"), FEATURES)
    with pytest.raises(ModelError, match="not as long as its head says"):
        check_model_text(Path(MODEL), edited("shrinkage=1", "shrinkage=1.0", resized=False), FEATURES)


def test_what_lightgbm_would_end_the_process_for_behind_the_trees_is_not_given_to_it(folder: Path) -> None:
    expected = load_model(folder, "simulated").predict(ROWS)
    replaced(folder, model_text().replace(b"[learning_rate: 0.1]", b"learning rate"))
    loading = (
        "import sys; from pathlib import Path; from levibot.ml.model import load_model; import numpy as np; "
        f"print(load_model(Path({str(folder)!r}), 'simulated').predict(np.load(sys.stdin.buffer)).tolist())"
    )
    rows = folder / "rows.npy"
    np.save(rows, ROWS)
    with rows.open("rb") as stream:
        done = subprocess.run([sys.executable, "-c", loading], stdin=stream, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == expected.tolist()


def test_a_model_that_learned_nothing_is_whole_too() -> None:
    lightgbm = import_lightgbm()
    data = lightgbm.Dataset(np.ones((100, len(FEATURES))), np.arange(100) % 2, feature_name=list(FEATURES))
    booster = lightgbm.train({"objective": "binary", "num_threads": 1, "verbose": -1}, data, 3)
    assert check_model_text(Path(MODEL), booster.model_to_string(), FEATURES).trees == booster.num_trees()


def test_the_store_and_the_features_load_no_numeric_library() -> None:
    code = (
        "import sys, levibot.ml.features, levibot.ml.store, levibot.ml.manifest; "
        "print(sorted({'numpy', 'lightgbm', 'polars'} & sys.modules.keys()))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    )


def test_a_manifest_comes_back_as_it_was(folder: Path) -> None:
    stored = read_manifest(folder)
    assert json.loads(json.dumps(to_document(stored))) == json.loads((folder / MANIFEST).read_text())
    assert stored.scores == manifest().scores
