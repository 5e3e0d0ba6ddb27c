"""`levibotctl doctor` beside a real daemon, and without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon
from tests.programs import LEVIBOTCTL

pytestmark = pytest.mark.unmeasured

Findings = dict[str, dict[str, str]]


def examine(config: Path, **environ: str) -> tuple[int, Findings]:
    done = subprocess.run(
        [LEVIBOTCTL, "-c", str(config), "doctor", "--json"],
        capture_output=True, text=True, timeout=90, check=False, env={**os.environ, **environ},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_a_running_daemon_is_well(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    code, findings = examine(daemon.config)
    assert code == 0, [finding for finding in findings.values() if finding["level"] == "fail"]
    assert "2 of 2 engines ready" in findings["daemon"]["found"]
    assert findings["preload"]["found"] == "took in 4 workers"
    assert findings["forkserver"]["found"] == "one thread"
    assert findings["fences"]["found"] == "4 held, each by its worker"
    assert "held by the daemon" in findings["daemon lock"]["found"]
    assert findings["code"]["level"] == "ok"


@pytest.mark.long
def test_a_daemon_that_does_not_answer_is_found(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"])
    daemon.start()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGSTOP)
    code, findings = examine(daemon.config)
    daemon.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert findings["daemon"]["level"] == "fail"
    assert str(daemon.process.pid) in findings["daemon lock"]["found"]


def test_without_a_daemon_the_rest_is_checked_all_the_same(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    code, findings = examine(daemon.config)
    assert code == 0
    assert findings["daemon"]["level"] == "ok"
    assert findings["preload"]["level"] == "ok"
    assert not daemon.data.exists(), "looking changes nothing"


def test_a_broken_configuration_is_one_finding_among_others(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.config.write_text('symbols = ["BTCUSDT"]\n[supervisor]\ndata_dir = "var"\n', encoding="utf-8")
    code, findings = examine(daemon.config)
    assert code == 1
    assert "BTCUSDT" in findings["configuration"]["found"]
    assert "disk space" in findings
    assert "are not checked" in findings["settings"]["found"]
    assert not [name for name in findings if "port" in name], "of the defaults nobody wants to know"
    daemon.config.write_text("[supervisor\n", encoding="utf-8")
    code, findings = examine(daemon.config)
    assert (code, set(findings)) == (1, {"configuration", "folders"})


def test_the_table_names_what_to_do(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    done = subprocess.run(
        [LEVIBOTCTL, "-c", str(daemon.config), "doctor"],
        capture_output=True, text=True, timeout=90, check=False, env={**os.environ, "OMP_NUM_THREADS": "4"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "→ unset OMP_NUM_THREADS" in done.stdout
    assert "1 to mend" in done.stdout


@pytest.mark.parametrize("module", ["numpy", "lightgbm", "ccxt", "polars"])
def test_the_doctor_loads_no_heavy_library(module: str) -> None:
    script = f"import sys, levibot.doctor.examination; sys.exit({module!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=90)
