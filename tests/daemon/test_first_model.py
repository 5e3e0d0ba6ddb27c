"""A newcomer's first run trains a model before it trades; whatever goes wrong with that stops nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from levibot.ml.features import FEATURES
from levibot.ml.manifest import read_manifest
from levibot.ml.store import ModelStore
from tests.daemon.harness import DaemonUnderTest, daemon
from tests.deadline import wait_for
from tests.ml.examples import stored_model
from tests.programs import LEVIBOTCTL

pytestmark = pytest.mark.unmeasured

NAME = "lightgbm-simulated"


@pytest.fixture
def newcomer(run_dir: Path) -> Iterator[DaemonUnderTest]:
    with daemon(run_dir, engine__strategy="ensemble", inference__processes=1) as under_test:
        yield under_test


def models(under_test: DaemonUnderTest) -> ModelStore:
    return ModelStore(under_test.data / "models")


def launch(under_test: DaemonUnderTest) -> subprocess.Popen[str]:
    """Start it, and return while it trains."""
    with (under_test.folder / "daemon.out").open("a", encoding="utf-8") as out:
        under_test.process = subprocess.Popen(
            [sys.executable, "-m", "levibot", "-c", str(under_test.config), "--no-table"],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
    wait_for(lambda: training(under_test), "the training to begin", seconds=60)
    return under_test.process


def training(under_test: DaemonUnderTest) -> list[psutil.Process]:
    return [process for process in under_test.processes() if "train" in process.cmdline()]


def test_the_first_start_trains_a_model_that_then_serves(newcomer: DaemonUnderTest) -> None:
    newcomer.start()
    folder = models(newcomer).current(NAME)
    assert folder is not None
    manifest = read_manifest(folder)
    assert manifest.scores.auc > 0.8
    before, after = newcomer.output().splitlines()[:2]
    assert before == f"levibot: no usable model {NAME}: training a first one on the simulated market, in seconds"
    assert after.startswith(f"levibot: trained {NAME}/{folder.name} in ")
    assert after.endswith("this says nothing about real ones)")
    assert f"test AUC {manifest.scores.auc:.3f}: it serves (the simulated market has a planted pattern" in after
    newcomer.wait(lambda: all(e["prob_up"] for e in newcomer.status()["engines"]), "probabilities")
    supervisor = psutil.Process(newcomer.status()["daemon"]["pid"])
    for process in (supervisor, *(psutil.Process(engine["pid"]) for engine in newcomer.status()["engines"])):
        mapped = {Path(entry.path).name for entry in process.memory_maps()}
        assert not [name for name in mapped if "lightgbm" in name or "openblas" in name], "only the pool pays"
    assert newcomer.stop() == 0
    newcomer.start()
    assert models(newcomer).versions(NAME) == [folder.name], "it is trained once"


@pytest.mark.long
def test_a_model_of_other_features_is_replaced_and_one_that_serves_is_left_alone(
    newcomer: DaemonUnderTest,
) -> None:
    old = stored_model(newcomer.data / "models", feature_versions=(0,) * len(FEATURES))
    newcomer.start()
    current = models(newcomer).current(NAME)
    assert current is not None
    assert current != old
    assert old.is_dir()


@pytest.mark.parametrize("damaged", [pytest.param("manifest.json", marks=pytest.mark.long), "model.txt"])
@pytest.mark.long
def test_a_damaged_model_is_replaced(newcomer: DaemonUnderTest, damaged: str) -> None:
    old = stored_model(newcomer.data / "models")
    (old / damaged).write_bytes((old / damaged).read_bytes().replace(b"0", b"1"))
    newcomer.start()
    current = models(newcomer).current(NAME)
    assert current is not None
    assert current != old


def test_a_model_of_another_market_is_not_replaced(newcomer: DaemonUnderTest) -> None:
    chosen = stored_model(
        newcomer.data / "models", name="mine", exchange="binance", feature_versions=(0,) * len(FEATURES)
    )
    newcomer.write_config(inference__model="mine")
    newcomer.start()
    assert "training" not in newcomer.output()
    assert models(newcomer).current("mine") == chosen
    newcomer.wait(lambda: "binance" in newcomer.status()["daemon"]["model_trouble"], "the trouble in the status")


@pytest.mark.long
def test_a_failed_training_is_told_and_the_daemon_runs_without(newcomer: DaemonUnderTest) -> None:
    newcomer.data.mkdir(mode=0o700)
    (newcomer.data / "models").write_text("a file is in the way")
    newcomer.start()
    assert "levibot: no first model: " in newcomer.output()
    assert "levibotctl train" in newcomer.output()
    assert all(engine["ready"] for engine in newcomer.status()["engines"])


@pytest.mark.parametrize("settings", [{"engine.strategy": "sma_cross"}, {"inference.processes": 0}])
def test_nothing_is_trained_that_nobody_asks(newcomer: DaemonUnderTest, settings: dict[str, object]) -> None:
    newcomer.write_config(**settings)
    newcomer.start()
    assert "model" not in newcomer.output()
    assert not (newcomer.data / "models").exists()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_ended_while_it_trains_nothing_is_left(newcomer: DaemonUnderTest, signum: int) -> None:
    process = launch(newcomer)
    process.send_signal(signum)
    assert process.wait(60) == (-signum if signum == signal.SIGKILL else 0)
    wait_for(lambda: not newcomer.processes(), "all processes to be gone", seconds=60, every=0.1)
    assert models(newcomer).current(NAME) is None


def test_ctrl_c_in_a_terminal_ends_both_without_a_traceback(newcomer: DaemonUnderTest) -> None:
    process = launch(newcomer)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    wait_for(lambda: not newcomer.processes(), "all processes to be gone", seconds=60, every=0.1)
    assert "Traceback" not in newcomer.output()


@pytest.mark.long
def test_start_says_what_it_waits_for(newcomer: DaemonUnderTest) -> None:
    done = subprocess.run(
        [LEVIBOTCTL, "-c", str(newcomer.config), "start"], capture_output=True, text=True, timeout=90, check=False
    )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        first, *_ = done.stdout.splitlines()
        assert first == f"no usable model {NAME}: training a first one on the simulated market, in seconds"
        assert "all engines are ready" in done.stdout
    finally:
        subprocess.run([LEVIBOTCTL, "-c", str(newcomer.config), "stop"], capture_output=True, check=False)
