"""schemathesis holds a real daemon to its own OpenAPI document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from levibot.api.client import ApiError, NotRunningError
from tests.api.requests import ask, free_port
from tests.daemon.conftest import make_daemon as make_daemon  # a fixture of another package
from tests.daemon.harness import DaemonUnderTest

pytestmark = pytest.mark.unmeasured

# Not for random requests, and called one by one below or in other tests: `/daemon` ends or restarts what
# is tested, add and remove change which symbols there are, without the feed `/health` is rightly unwell, and a
# stream has no end to wait for.
LEFT_OUT = "^/(daemon|stream|workers/restart|engines/(add|remove))"
NOT_FOR_SINGLE_CALLS = ("ignored_auth", "unsupported_method")  # they send requests of their own: a second stop


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def daemon(make_daemon: Any, port: int) -> DaemonUnderTest:
    under_test: DaemonUnderTest = make_daemon(api__port=port, api__read_token=True)
    under_test.start()
    return under_test


def bearer(daemon: DaemonUnderTest, name: str = "api-token") -> dict[str, str]:
    token = (daemon.data / name).read_text(encoding="ascii").strip()
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("examples", [pytest.param(20, marks=pytest.mark.long)])
def test_random_requests_find_no_answer_that_is_not_declared(
    daemon: DaemonUnderTest, port: int, tmp_path: Path, examples: int
) -> None:
    accepted = '["400", "401", "403", "404", "409", "414", "422", "5xx"]'  # a path that is too long is refused too
    config = f"[checks]\nnegative_data_rejection.expected-statuses = {accepted}\n"
    (tmp_path / "schemathesis.toml").write_text(config)
    options = ["--checks", "all", "--max-examples", str(examples), "--generation-database", "none", "--no-color"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json"),
            *("-H", f"Authorization: {bearer(daemon)['Authorization']}"),
            *("--exclude-path-regex", LEFT_OUT, *options),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    paths = daemon.api.get("/openapi.json")["paths"]
    wanted = sum(len(methods) for path, methods in paths.items() if not re.match(LEFT_OUT, path))
    assert f"Tested: {wanted}" in done.stdout
    status = daemon.status()
    assert status["daemon"]["api"]["answers"].get("5xx", 0) == 0
    assert status["daemon"]["errors"] == {}
    assert not any(worker["restart_causes"] for worker in [*status["engines"], *status["workers"]])


def test_no_change_is_made_and_nothing_is_read_without_the_right_token(daemon: DaemonUnderTest, port: int) -> None:
    paths = daemon.api.get("/openapi.json")["paths"]
    reading = bearer(daemon, "api-read-token")["Authorization"]
    changes = [path.replace("{symbol}", "BTC/USDT") for path, methods in paths.items() if "post" in methods]
    reads = [path.replace("{symbol}", "BTC/USDT") for path, methods in paths.items() if "get" in methods]
    assert len(changes) >= 14
    for path in changes:
        assert ask(port, "POST", path).code == 401, path
        assert ask(port, "POST", path, Authorization=reading).code == 401, path
    for path in [*reads, "/openapi.json"]:
        assert ask(port, "GET", path).code == 401, path
    status = daemon.status()
    assert (status["running"], status["paused"]) == (2, 0)
    assert not status["daemon"]["shutting_down"]


@pytest.mark.long
def test_routes_that_end_or_change_the_run_answer_as_declared(daemon: DaemonUnderTest, port: int) -> None:
    import schemathesis  # late: this takes a second, which every process of a parallel run would pay
    from schemathesis.checks import CHECKS

    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", headers=bearer(daemon))
    excluded = [check for name in NOT_FOR_SINGLE_CALLS for check in CHECKS.get_by_names([name])]

    def call(path: str, code: int = 200, query: dict[str, str] | None = None, **parameters: str) -> Any:
        case = schema[path]["POST"].Case(path_parameters=parameters, query=query or {})
        response = case.call_and_validate(headers=bearer(daemon), excluded_checks=excluded)
        assert response.status_code == code, response.text
        return response.json()

    assert call("/engines/add/{symbol}", symbol="SOL/USDT")["status"] == "added"
    call("/engines/add/{symbol}", code=409, symbol="SOL/USDT")
    assert call("/engines/remove/{symbol}", query={"keep": "true"}, symbol="SOL/USDT")["status"] == "removed"
    call("/engines/remove/{symbol}", code=404, symbol="SOL/USDT")
    assert call("/daemon/reload")["added"] == []
    daemon.write_config(engine__strateg="x")
    call("/daemon/reload", code=400)
    del daemon.settings["engine.strateg"]
    daemon.write_config()
    before = daemon.status()["daemon"]["uptime_seconds"]
    assert call("/daemon/upgrade")["ok"]

    def is_new() -> bool:
        try:
            return bool(daemon.status()["daemon"]["uptime_seconds"] < before)
        except (NotRunningError, ApiError):
            return False

    daemon.wait(is_new, "the new daemon", seconds=60)
    assert isinstance(call("/daemon/stop")["positions"], dict)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 0
