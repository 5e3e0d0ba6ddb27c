"""The daemon sweeps by itself."""

from __future__ import annotations

import os
import time

import pytest

from tests.daemon.conftest import MakeDaemon

pytestmark = pytest.mark.unmeasured


def test_old_recordings_are_swept_at_the_start_and_the_present_one_is_not(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(symbols=["BTC/USDT"], **{"engine.record_inputs": True, "feed.record": True})
    recordings = daemon.state / "recordings"
    (recordings / "feed").mkdir(parents=True)
    old = [
        recordings / "engine-BTC-USDT-20240101T000000Z-1.msgpack",
        recordings / "feed" / "BTC-USDT-20240101-20240101T000000.000Z-0001.levifeed",
    ]
    for path in old:
        path.write_bytes(b"x")
        os.utime(path, (time.time() - 15 * 86_400,) * 2)
    daemon.start()
    daemon.wait(lambda: daemon.events("old_files_removed"), "the sweep")
    assert daemon.events("old_files_removed")[0]["recording"] == 2
    assert not [path for path in old if path.exists()]
    daemon.wait(lambda: list((recordings / "feed").iterdir()), "a recording of the feed")
    present = [path for path in recordings.rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in present) == [".levifeed", ".msgpack"]
    assert daemon.status()["daemon"]["errors"] == {}
