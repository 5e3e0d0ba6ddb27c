"""Is there a model, and is it whole?"""

from __future__ import annotations

from collections.abc import Iterator

from levibot.doctor.finding import Finding, Patient
from levibot.errors import ModelError
from levibot.ml.manifest import read_manifest, read_model
from levibot.ml.store import ModelStore


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
        folder = ModelStore(config.models_dir).current(config.model_name)
        if folder is None:
            yield Finding(
                "model",
                "warn",
                f"there is none named {config.model_name}: no signal",
                "train one: `levibotctl train`",
            )
            return
        manifest = read_manifest(folder)
        read_model(folder, manifest)
    except ModelError as error:
        yield Finding("model", "fail", str(error), "train another: `levibotctl train`")
        return
    yield Finding("model", "ok", f"{manifest.name}/{manifest.version}, {manifest.model_bytes:,} bytes")
