"""The check before a reload, as a real process of a real launcher."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from levibot.errors import ConfigError
from levibot.supervisor.config_check import check_file
from levibot.supervisor.process import ForkserverLauncher


def check(path: Path, time_limit: float) -> None:
    async def run() -> None:
        launcher = ForkserverLauncher(lambda _event, **_fields: None)
        try:
            await check_file(path, launcher, time_limit)
        finally:
            await launcher.close()

    asyncio.run(run())


def test_a_strategy_that_hangs_is_given_up_with_all_that_it_started(run_dir: Path) -> None:
    config, pid = run_dir / "supervisor.toml", run_dir / "pid"
    config.write_text('engine.strategy = "slow:Slow"\n', encoding="utf-8")
    start = "import subprocess, time\n\nchild = subprocess.Popen(['sleep', '600'])\n"
    note = f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
    (run_dir / "slow.py").write_text(start + note + "time.sleep(600)\n", encoding="utf-8")
    limit_s = 4.0
    while not pid.exists():  # by then it has begun to import the strategy, but on a busy machine
        with pytest.raises(ConfigError, match=f"takes longer than {limit_s:g} s"):
            check(config, limit_s)
        limit_s *= 2
    left = int(pid.read_text(encoding="utf-8"))
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_a_good_file_passes(run_dir: Path) -> None:
    config = run_dir / "supervisor.toml"
    config.write_text('engine.strategy = "sma_cross"\n', encoding="utf-8")
    check(config, 30.0)
