"""Row 16 of the fault table: the wall clock jumps an hour either way."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemon.conftest import MakeDaemon

pytestmark = pytest.mark.unmeasured

SOURCE = Path(__file__).with_name("wall_clock.c")
HOUR = 3600
SILENCE = 4.0  # seconds that a worker may be silent


@pytest.fixture
def shifted_clock(run_dir: Path) -> Path:
    """A library that, preloaded, shifts the wall clock by what a file of the same folder holds."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: the machine's own clock is not touched")
    library = run_dir / "wall_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
    return library


def test_16_a_wall_clock_that_jumps_an_hour_either_way_restarts_nobody(
    make_daemon: MakeDaemon, shifted_clock: Path, run_dir: Path
) -> None:
    offset = run_dir / "offset"
    offset.write_bytes(struct.pack("=q", 0))
    daemon = make_daemon(**{f"policy.{kind}.hang_after": SILENCE for kind in ("engine", "feed", "broker")})
    daemon.start(LD_PRELOAD=str(shifted_clock), WALL_CLOCK_OFFSET=str(offset))
    before = daemon.worker_pids()

    def jump(seconds: int) -> None:
        with offset.open("r+b") as file:  # in place: it is mapped
            file.write(struct.pack("=q", seconds))

        def is_felt() -> bool:
            heard = daemon.engine()["last_heartbeat"]  # None at once after a kill
            return heard is not None and abs(heard - time.time() - seconds) < 60

        daemon.wait(is_felt, "the jump to be felt")
        ticks, start = daemon.engine()["ticks"], time.monotonic()
        daemon.wait(lambda: daemon.engine()["ticks"] > ticks + 40, "ticks")
        daemon.wait(lambda: time.monotonic() - start > SILENCE, "longer than any worker may be silent")
        assert daemon.worker_pids() == before
        assert not daemon.events("worker_condemned")
        status = daemon.status()
        assert status["daemon"]["risk_state"] == "ACTIVE"
        assert all(0 <= engine["market_data_age_seconds"] < 60 for engine in status["engines"]), "no hour"

    jump(HOUR)
    logged = datetime.fromisoformat(daemon.events("worker_ready")[0]["ts"])
    assert abs(logged.timestamp() - time.time()) < 60, "before the jump"
    killed = before["engine-BTC-USDT"]
    os.kill(killed, signal.SIGKILL)

    def is_replaced() -> bool:
        engine = daemon.engine()
        return engine["ready"] and engine["pid"] != killed

    daemon.wait(is_replaced, "the first restart at once")
    assert daemon.engine()["restart_causes"] == {"crash": 1}
    before |= daemon.worker_pids()
    jump(-HOUR)
    os.kill(before["engine-BTC-USDT"], signal.SIGKILL)
    daemon.wait(lambda: daemon.engine()["next_attempt_at"], "backoff")
    due = daemon.engine()["next_attempt_at"] - (time.time() - HOUR)
    assert 30 < due < 70, "a minute after the restart, whatever the clock says"
    assert daemon.stop() == 0
