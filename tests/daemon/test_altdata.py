"""Alternative data in a real daemon: told with its age, kept over the death of its process."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq

from levibot.altdata.history import History
from levibot.bus.codec import ALTDATA, SEPARATOR, Decoder, topic
from levibot.bus.messages import AltData
from levibot.bus.sockets import make_socket
from levibot.clock import wall_ms
from tests.altdata.providers import serving_beside
from tests.daemon.harness import DaemonUnderTest, daemon
from tests.programs import LEVIBOTCTL

DAY_MS = 86_400_000


def heard(under_test: DaemonUnderTest, asset: str) -> AltData:
    """What comes next of an asset, for who subscribes now."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = make_socket(context, zmq.SUB, connect=f"ipc://{under_test.data / 'run' / 'market-out.sock'}")
    try:
        socket.setsockopt(zmq.RCVTIMEO, 30_000)
        socket.setsockopt(zmq.SUBSCRIBE, topic(ALTDATA, asset))
        return Decoder[AltData](AltData)(socket.recv().partition(SEPARATOR)[2])
    finally:
        socket.close(0)
        context.term()


def yesterday(_request: Any) -> dict[str, Any]:
    day = (wall_ms() // DAY_MS - 1) * DAY_MS
    stamp = datetime.fromtimestamp(day / 1000, UTC).isoformat()
    return {"data": [{"asset": "btc", "time": stamp, "TxCnt": "410000"}]}


def test_values_are_told_again_with_their_age_after_the_process_was_killed(run_dir: Path) -> None:
    with serving_beside({"/v4/timeseries/asset-metrics": yesterday}) as provider:
        settings = {
            "altdata.repeat_interval": 0.1,
            "altdata.coin_metrics.enabled": True,
            "altdata.coin_metrics.url": f"{provider.url}/v4",
            "policy.altdata.heartbeat_interval": 0.1,
        }
        with daemon(run_dir, **settings) as under_test:
            under_test.start(ready=False)
            first = under_test.wait(lambda: under_test.api.get("/altdata")["values"], "a value", seconds=60)
            assert [(value["asset"], value["name"], value["value"]) for value in first] == [
                ("BTC", "transactions", 410_000.0)
            ]
            assert heard(under_test, "BTC").fetched_ms == first[0]["fetched_ms"]

            pid = under_test.worker("altdata")["pid"]
            under_test.wait((under_test.state / "altdata.json").exists, "the board")
            os.kill(pid, signal.SIGKILL)
            under_test.wait_replaced("altdata", pid)
            again = under_test.wait(lambda: under_test.api.get("/altdata")["values"], "the value after the kill")
            assert again[0]["fetched_ms"] == first[0]["fetched_ms"]
            assert again[0]["age_seconds"] >= first[0]["age_seconds"]
            assert heard(under_test, "BTC").fetched_ms == first[0]["fetched_ms"]
            assert len(provider.asked) == 1  # it is young

            shown = subprocess.run(
                [LEVIBOTCTL, "-c", str(under_test.config), "altdata"], capture_output=True, text=True, check=True
            ).stdout
            assert "transactions" in shown
            assert "coin-metrics" in shown
            metrics = under_test.api.get_bytes("/metrics").decode()
            assert 'levi_altdata_values{source="coin-metrics"} 1' in metrics

            kept = History(under_test.data / "altdata").values(["BTC"], 0, wall_ms() + 1)
            assert [value.fetched_ms for value in kept] == [first[0]["fetched_ms"]]

            under_test.write_config(**{"altdata.coin_metrics.enabled": False})
            under_test.post("/daemon/reload")
            assert "altdata" not in {worker["worker"] for worker in under_test.status()["workers"]}
            assert under_test.api.get("/altdata") == {"sources": {}, "values": [], "trouble": ""}
