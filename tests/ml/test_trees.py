"""LightGBM by its C interface gives what its Python package gives, and loads nothing of that."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from levibot.ml.features import FEATURES
from levibot.ml.model import import_lightgbm
from levibot.ml.trees import Trees, TreesError
from tests.ml.examples import model_text

ROWS = np.random.default_rng(5).normal(size=(300, len(FEATURES)))


def _text() -> str:
    lightgbm = import_lightgbm()
    data = lightgbm.Dataset(ROWS, (ROWS.sum(axis=1) > 0).astype(float), feature_name=list(FEATURES))
    params = {"objective": "binary", "num_threads": 1, "verbose": -1}
    return str(lightgbm.train(params, data, 20).model_to_string())


TEXT = _text()


def test_it_gives_the_bits_of_the_python_package_whatever_the_batch() -> None:
    rows = ROWS.copy()
    rows[::7, 0] = np.nan
    rows[::11, 3] = np.nan
    expected = import_lightgbm().Booster(model_str=TEXT).predict(rows, num_threads=1)
    trees = Trees(TEXT)
    np.testing.assert_array_equal(trees.predict(rows), expected)
    for place in range(0, 300, 29):
        assert trees.predict(rows[place : place + 1]) == expected[place]
    assert len(set(expected.tolist())) > 10


def test_rows_of_any_layout_are_read_right() -> None:
    trees = Trees(TEXT)
    expected = trees.predict(ROWS)
    np.testing.assert_array_equal(trees.predict(np.asfortranarray(ROWS)), expected)
    np.testing.assert_array_equal(trees.predict(ROWS[::2]), expected[::2])
    assert trees.predict(ROWS[:0]).shape == (0,)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=f"expected {len(FEATURES)}"):
        Trees(TEXT).predict(ROWS[:, 1:])


def test_two_models_do_not_mix_and_one_may_go() -> None:
    first, second = Trees(TEXT), Trees(model_text(rounds=3).decode())
    before = first.predict(ROWS)
    other = second.predict(ROWS)
    assert (before != other).any()
    gone = weakref.ref(second)
    del second
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(first.predict(ROWS), before)


def test_what_is_no_model_is_refused_in_the_librarys_words() -> None:
    with pytest.raises(TreesError, match=r"[Mm]odel"):
        Trees("tree\nversion=v4\n")


def test_the_python_package_and_what_it_brings_stay_outside(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text(TEXT)
    script = (
        "import sys; from pathlib import Path; import numpy as np; from levibot.ml.trees import Trees; "
        f"print(Trees(Path({str(path)!r}).read_text()).predict(np.zeros((1, {len(FEATURES)})))[0]); "
        "print(sorted({'lightgbm', 'scipy', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    answer, loaded = done.stdout.splitlines()
    assert float(answer) == Trees(TEXT).predict(np.zeros((1, len(FEATURES))))[0]
    assert loaded == "[]", "and nothing else was printed"
