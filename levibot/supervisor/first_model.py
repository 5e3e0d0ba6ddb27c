"""The first model of the simulated market, so that a newcomer's first run trades at once.

It is trained by a process of its own: the supervisor never loads LightGBM.
"""

from __future__ import annotations

import ctypes
import json
import operator
import signal
import subprocess
import sys
import time
from typing import Any

from levibot.config import Config
from levibot.config_file import LoadedConfig
from levibot.errors import ModelError
from levibot.ml.features import FEATURE_VERSIONS
from levibot.ml.manifest import read_manifest, read_model
from levibot.ml.store import ModelStore

TIME_LIMIT = 60.0  # seconds; it takes a few, and systemd waits 90 for a service to start
_MOST_SYMBOLS = 20  # more would teach it nothing new
_STOP_GRACE = 2.0
_PR_SET_PDEATHSIG = 1


class _FailedError(Exception):
    """Why there is no model."""


def is_due(config: Config) -> bool:
    """Whether engines of a simulated market would ask a model that is not there, damaged, or no longer of use."""
    asked = any(map(config.asks_model, config.symbols))
    if config.feed.source != "simulated" or not config.inference.processes or not asked:
        return False
    try:
        folder = ModelStore(config.models_dir).current(config.model_name)
        if folder is None:
            return True
        manifest = read_manifest(folder)
        if manifest.exchange != config.exchange_id:
            return False  # the operator's choice, and not to be replaced behind his back
        for file in manifest.files:
            read_model(folder, file)
        return any(map(operator.ne, manifest.feature_versions, map(FEATURE_VERSIONS.get, manifest.features)))
    except ModelError:
        return True


def announcement(config: Config) -> str:
    """What takes a while, in one line."""
    return f"no usable model {config.model_name}: training a first one on the simulated market, in seconds"


def train(loaded: LoadedConfig) -> None:
    """Train it, and say so before and after; a failure is told, and stops nothing.

    Ends with the process that is waited for, whatever ends this one.
    """
    config = loaded.config
    print(f"levibot: {announcement(config)}", flush=True)
    began = time.monotonic()
    try:
        made = _run(_command(loaded))
    except _FailedError as error:
        print(
            f"levibot: no first model: {error}; engines give no signal before `levibotctl train` has succeeded",
            file=sys.stderr,
            flush=True,
        )
        return
    serves = "it serves" if made["promoted"] else "it is not better than guessing, so it does NOT serve"
    print(
        f"levibot: trained {made['name']}/{made['version']} in {time.monotonic() - began:.1f} s, "
        f"test AUC {made['scores']['auc']:.3f}: {serves} (the simulated market "
        "has a planted pattern: this says nothing about real ones)",
        flush=True,
    )


def _command(loaded: LoadedConfig) -> list[str]:
    path = [] if loaded.path is None else ["-c", str(loaded.path)]
    symbols = ",".join(loaded.config.symbols[:_MOST_SYMBOLS])
    return [sys.executable, "-m", "levibot.cli", *path, "train", "--json", "--no-picture", "--symbols", symbols]


def _run(command: list[str]) -> dict[str, Any]:
    """Run a command that prints a JSON object; _FailedError with its last words if it fails."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread has been started yet
        )
    except OSError as error:
        raise _FailedError(f"it cannot be started ({error.strerror})") from error
    try:
        said, complaints = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired as error:
        raise _FailedError(f"it took longer than {TIME_LIMIT:g} s") from error
    finally:
        _end(process)
    if process.returncode != 0:
        *_, words = ["", *complaints.strip().splitlines()]
        raise _FailedError(words.removeprefix("Error: ") or f"it ended with exit code {process.returncode}")
    try:
        made: dict[str, Any] = json.loads(said)
    except ValueError as error:
        raise _FailedError(f"it said {said[:80]!r}, expected a manifest") from error
    return made


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent() -> None:
    """In the child: let the kernel end it when the supervisor is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
