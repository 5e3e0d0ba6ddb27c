"""The daemon sweeps by itself."""

from __future__ import annotations

import os
import time

from tests.daemon.conftest import MakeDaemon


def test_old_recordings_are_swept_at_the_start_and_the_present_one_is_not(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"], **{"engine.record_inputs": True})
    recordings = daemon.state / "recordings"
    recordings.mkdir(parents=True)
    old = recordings / "engine-BTC-USDT-20240101T000000Z-1.msgpack"
    old.write_bytes(b"x")
    os.utime(old, (time.time() - 15 * 86_400,) * 2)
    daemon.start()
    daemon.wait(lambda: daemon.events("old_files_removed"), "the sweep")
    assert daemon.events("old_files_removed")[0]["recording"] == 1
    assert not old.exists()
    assert len(list(recordings.iterdir())) == 1
    assert daemon.status()["daemon"]["errors"] == {}
