"""Is there a model, and is it whole?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from levibot.doctor.finding import Finding, Patient
from levibot.errors import DataStoreError, ModelError
from levibot.ml.manifest import MODEL, read_manifest
from levibot.ml.store import ModelStore

_TRAIN = "train one: `levibotctl train`"


def check_models(patient: Patient) -> Iterator[Finding]:
    """The manifest and the digest of the model that serves; LightGBM is not loaded for it."""
    config = patient.config
    if not config.inference.processes:
        yield Finding("model", "ok", "no inference pool is wanted")
        return
    try:
        folder = ModelStore(config.models_dir).current(config.model_name)
        if folder is None:
            yield Finding("model", "warn", f"there is none named {config.model_name}: no signal", _TRAIN)
            return
        manifest = read_manifest(folder)
        digest = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    except (ModelError, DataStoreError, OSError) as error:
        yield Finding("model", "fail", str(error), f"promote another version, or {_TRAIN}")
        return
    if digest != manifest.model_sha256:
        found = f"{folder / MODEL} is not what its manifest describes (SHA-256 differs)"
        yield Finding("model", "fail", found, f"promote another version, or {_TRAIN}")
        return
    yield Finding("model", "ok", f"{manifest.name}/{manifest.version}, {manifest.model_bytes:,} bytes")
