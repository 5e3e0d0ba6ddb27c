"""Models that appear, change, break and vanish in the store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from levibot.ml.features import FEATURES
from levibot.ml.lanes import LANES
from levibot.ml.manifest import MODEL
from levibot.ml.model import Model
from levibot.ml.store import CURRENT, ModelStore
from levibot.ml.watch import ModelWatch
from tests.deadline import wait_for
from tests.ml.examples import manifest, stored_model

NAME = "lightgbm-simulated"
LATER_NS = 10_000_000_000


def make(folder: Path, wake: threading.Event | None = None, context: str = "BTC/USDT") -> ModelWatch:
    woken = wake or threading.Event()
    return ModelWatch(ModelStore(folder), NAME, LANES["lightgbm"], "simulated", context, batch=4, wake=woken.set)


@pytest.fixture
def watch(tmp_path: Path) -> ModelWatch:
    return make(tmp_path)


def taken(watch: ModelWatch, now_ns: int = 0) -> str:
    """Version that a look brings; empty if none."""
    watch.look(now_ns)
    model = watch.take()
    return model.manifest.version if isinstance(model, Model) else ""


def test_without_a_model_the_remedy_is_named(watch: ModelWatch) -> None:
    assert taken(watch) == ""
    assert watch.trouble == f"no model {NAME} yet; run `levibotctl train`"


def test_a_model_that_is_not_promoted_is_told_with_the_command_that_does_it(
    watch: ModelWatch, tmp_path: Path
) -> None:
    stored = ModelStore(tmp_path).save(manifest(), {MODEL: b"tree\n"})
    assert taken(watch) == ""
    told = f"{NAME}/{stored.version} is stored but not promoted; run `levibotctl models promote {NAME}`"
    assert watch.trouble == told


def test_a_model_is_brought_once(watch: ModelWatch, tmp_path: Path) -> None:
    path = stored_model(tmp_path)
    assert taken(watch) == path.name
    assert taken(watch) == ""
    assert watch.trouble == ""


def test_a_newer_model_is_brought_and_an_older_one_that_is_promoted_again(
    watch: ModelWatch, tmp_path: Path
) -> None:
    first = stored_model(tmp_path).name
    assert taken(watch) == first
    second = stored_model(tmp_path).name
    assert taken(watch) == second != first
    ModelStore(tmp_path).promote(NAME, first)
    assert taken(watch) == first


def test_a_model_of_another_leading_market_is_refused(tmp_path: Path) -> None:
    path = stored_model(tmp_path, context="BTC/USDC")
    for context, version in (("BTC/USDC", path.name), ("", path.name), ("BTC/USDT", "")):
        watch = make(tmp_path, context=context)
        assert taken(watch) == version
    assert "features of BTC/USDC as the leading market, [feed] context is BTC/USDT" in watch.trouble


def break_text(path: Path) -> None:
    content = (path / MODEL).read_bytes()
    (path / MODEL).write_bytes(content[: len(content) // 2])


def remove_text(path: Path) -> None:
    (path / MODEL).unlink()


def break_manifest(path: Path) -> None:
    (path / "manifest.json").write_text('{"schema": 1, "body": 7}')


@pytest.mark.parametrize("damage", [break_text, remove_text, break_manifest])
def test_a_damaged_model_leaves_the_old_one_and_says_why(
    watch: ModelWatch, tmp_path: Path, damage: object
) -> None:
    first = stored_model(tmp_path).name
    taken(watch)
    path = stored_model(tmp_path)
    assert callable(damage)
    damage(path)
    assert taken(watch) == ""
    assert str(path) in watch.trouble
    assert watch.trouble.endswith(f"{first} serves on")
    ModelStore(tmp_path).promote(NAME, first)
    assert taken(watch) == "", "it serves already"
    assert watch.trouble == ""


@pytest.mark.parametrize("changes", [{"exchange": "binance"}, {"feature_versions": (0,) * len(FEATURES)}])
def test_a_foreign_model_is_not_taken(watch: ModelWatch, tmp_path: Path, changes: dict[str, Any]) -> None:
    stored_model(tmp_path, **changes)
    assert taken(watch) == ""
    assert "expected 'simulated'" in watch.trouble or "than this LeviBot computes" in watch.trouble


def test_a_model_of_other_features_is_not_taken(watch: ModelWatch, tmp_path: Path) -> None:
    fewer = FEATURES[:-1]
    ranges = tuple((-3.0, 3.0) for _ in fewer)
    stored_model(tmp_path, features=fewer, feature_versions=(1,) * len(fewer), ranges=ranges)
    assert taken(watch) == ""
    assert watch.trouble


def test_what_did_not_load_is_tried_again_now_and_then(watch: ModelWatch, tmp_path: Path) -> None:
    path = stored_model(tmp_path)
    whole = (path / MODEL).read_bytes()
    break_text(path)
    taken(watch)
    (path / MODEL).write_bytes(whole)
    assert taken(watch, 1) == "", "a broken model is not read twice a second"
    assert taken(watch, LATER_NS) == path.name
    assert watch.trouble == ""


def test_a_link_that_leads_nowhere(watch: ModelWatch, tmp_path: Path) -> None:
    path = stored_model(tmp_path)
    taken(watch)
    link = path.parent / CURRENT
    link.unlink()
    assert taken(watch) == ""
    assert f"no current version any more; {path.name} serves on" in watch.trouble
    link.symlink_to("nowhere")
    assert taken(watch) == ""
    assert "nowhere" in watch.trouble


@pytest.fixture
def woken() -> threading.Event:
    return threading.Event()


@pytest.fixture
def running(tmp_path: Path, woken: threading.Event) -> Iterator[ModelWatch]:
    watch = make(tmp_path, woken)
    watch.start()
    yield watch
    watch.close()
    assert not watch._thread.is_alive()


def test_the_thread_wakes_whoever_waits(running: ModelWatch, woken: threading.Event, tmp_path: Path) -> None:
    assert woken.wait(60)
    assert running.looked
    assert "no model" in running.trouble
    woken.clear()
    path = stored_model(tmp_path)
    assert woken.wait(60)
    model = running.take()
    assert model is not None
    assert model.manifest.version == path.name
    woken.clear()
    (path.parent / CURRENT).unlink()
    assert woken.wait(60)
    wait_for(lambda: "no current version" in running.trouble, "the trouble")
