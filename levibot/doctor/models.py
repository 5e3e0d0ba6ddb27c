"""Is there a model, and is it whole?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from levibot.clock import wall_ms
from levibot.config import Config
from levibot.doctor.finding import Finding, Patient
from levibot.errors import DataStoreError, ModelError
from levibot.ml.manifest import Manifest, is_expired, read_manifest, read_model, utc
from levibot.ml.served import HISTORY
from levibot.ml.store import ModelStore
from levibot.ml.tft.extra import absence


def check_models(patient: Patient) -> Iterator[Finding]:
    """The manifest and the digest of the model that serves; LightGBM is not loaded for it."""
    config = patient.config
    if config.lacks_pool:
        yield Finding("model", "warn", "there is no inference pool: no signal", "set inference.processes to 2")
        return
    if not config.inference.processes:
        yield Finding("model", "ok", "no inference pool is wanted")
        return
    try:
        store = ModelStore(config.models_dir)
        folder = store.current(config.model_name)
        if folder is None:
            yield _without_model(config, store)
            return
        manifest = _read_whole(folder)
    except ModelError as error:
        yield Finding("model", "fail", str(error), "train another: `levibotctl train`")
        return
    yield _serving(config, manifest)
    yield from _history(store, manifest.name)


def check_sequences(patient: Patient) -> Iterator[Finding]:
    """The same of the Temporal Fusion Transformer, where its lane is wanted; nothing waits for it."""
    config = patient.config
    if not config.inference.tft_processes:
        return
    if absent := absence():
        yield Finding("tft", "warn", f"{absent}; the ensemble goes on without", "make install-tft-cpu")
        return
    try:
        folder = ModelStore(config.models_dir).current(config.tft_model_name)
        if folder is None:
            found = f"there is none named {config.tft_model_name}; the ensemble goes on without"
            yield Finding("tft", "warn", found, "train one: `levibotctl train --kind tft`")
            return
        manifest = _read_whole(folder)
    except ModelError as error:
        yield Finding("tft", "fail", str(error), "train another: `levibotctl train --kind tft`")
        return
    yield _serving(config, manifest, "tft")


def _read_whole(folder: Path) -> Manifest:
    """Manifest of a version, all files of which are what it says."""
    manifest = read_manifest(folder)
    for file in manifest.files:
        read_model(folder, file)
    return manifest


def _serving(config: Config, manifest: Manifest, name: str = "model") -> Finding:
    """What serves; a model of a live market has an end."""
    found = f"{manifest.reference}, {sum(file.size_bytes for file in manifest.files):,} bytes"
    if not config.feed.is_artificial and is_expired(manifest, wall_ms()):
        remedy = "train another on newer candles: `levibotctl train`"
        return Finding(name, "warn", f"{found}, expired at {utc(manifest.expires_ms)}: it opens nothing", remedy)
    return Finding(name, "ok", found)


def _history(store: ModelStore, name: str) -> Iterator[Finding]:
    """What a rollback depends on."""
    try:
        _, damaged = store.changes(name)
    except DataStoreError as error:
        yield Finding("model history", "warn", str(error), "`levibotctl models rollback` cannot tell where to go")
        return
    if damaged:
        found = f"{damaged} lines of {store.folder / name / HISTORY} are damaged and left out"
        yield Finding(
            "model history", "warn", found, "look whether `levibotctl models show` names the right rollback"
        )


def _without_model(config: Config, store: ModelStore) -> Finding:
    """What it means that no version serves: nothing, where nobody asks."""
    if not any(map(config.asks_model, config.symbols)):
        return Finding("model", "ok", "none serves, and no engine has the strategy ensemble, which asks one")
    stored = store.versions(config.model_name)
    if not stored:
        found = f"there is none named {config.model_name}: no signal"
        return Finding("model", "warn", found, "train one: `levibotctl train`")
    manifest = read_manifest(store.folder / config.model_name / stored[-1])
    why = f": {'; '.join(manifest.scores.missed)}" if manifest.scores.missed else ""
    found = f"{config.model_name}/{stored[-1]} is stored but not promoted, so it gives no signal{why}"
    remedy = (
        f"let it serve all the same: `levibotctl models promote {config.model_name}/{stored[-1]} --force`; "
        'or strategy = "sma_cross", which asks none'
    )
    return Finding("model", "warn", found, remedy)
