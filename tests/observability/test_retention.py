"""What is swept away, and above all what is not."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from levibot.config import Config
from levibot.durable import set_aside
from levibot.execution.store import set_aside as set_database_aside
from levibot.observability.retention import sweep

NOW_MS = 1_750_000_000_000
DAY = 86_400
OLD, DAMAGED_LONG_AGO = 15 * DAY, 91 * DAY
RECORDING = "engine-BTC-USDT-20250501T000000Z-1.msgpack"
OF_FEED = "BTC-USDT_USDT-20250501-20250501T000000.123Z-0001.levifeed"


def config_of(data: Path, **retention: Any) -> Config:
    return Config.model_validate({"supervisor": {"data_dir": data}, "retention": retention})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "var"


def write(path: Path, age_seconds: float, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    stamp = NOW_MS / 1000 - age_seconds
    os.utime(path, (stamp, stamp))
    return path


def tree(folder: Path) -> Mapping[str, int]:
    return {str(p.relative_to(folder)): p.lstat().st_size for p in folder.rglob("*") if not p.is_dir()}


def test_old_recordings_and_damaged_files_go(data: Path) -> None:
    config = config_of(data)
    state = config.state_dir
    gone = [
        write(state / "recordings" / RECORDING, OLD),
        write(state / "registry.json.corrupt-20250101T000000Z", DAMAGED_LONG_AGO),
        write(state / "restarts.jsonl.corrupt-20250101T000000Z-2", DAMAGED_LONG_AGO),
        write(state / "ledgers" / "BTC-USDT.sqlite.corrupt-20250101T000000Z", DAMAGED_LONG_AGO),
        write(state / "ledgers" / "BTC-USDT.sqlite.corrupt-20250101T000000Z-wal", DAMAGED_LONG_AGO),
    ]
    gone.append(write(state / "broker.sqlite.schema-1-20250101T000000.123456Z.bak", DAMAGED_LONG_AGO))
    kept = [
        write(state / "ledgers" / "BTC-USDT.sqlite.schema-2-20250601T000000.123456Z.bak", 89 * DAY),
        write(state / "recordings" / "engine-BTC-USDT-20250610T000000Z-1.msgpack", 13 * DAY),
        write(state / "risk.json.corrupt-20250601T000000Z", 89 * DAY),
    ]
    gone.append(write(state / "recordings" / "feed" / OF_FEED, OLD))
    kept.append(write(state / "recordings" / "feed" / OF_FEED.replace("0001", "0002"), 13 * DAY))
    result = sweep(config, (), NOW_MS)
    assert result.removed == {"recording": 2, "set_aside": 4, "old_schema": 1}
    assert (result.freed_bytes, result.errors) == (70, [])
    assert not [path for path in gone if path.exists()]
    assert all(path.exists() for path in kept)
    assert sweep(config, (), NOW_MS).removed == {}


def test_a_database_set_aside_today_stays_and_goes_when_its_time_has_come(data: Path) -> None:
    config = config_of(data)
    ledger = config.state_dir / "ledgers" / "BTC-USDT.sqlite"
    files = [write(ledger.with_name(ledger.name + part), 400 * DAY) for part in ("", "-wal", "-shm", "-suspect")]
    registry = write(config.state_dir / "registry.json", 400 * DAY)
    set_database_aside(ledger)
    set_aside(registry)
    today = int(time.time() * 1000)
    assert sweep(config, (), today).removed == {}
    assert sweep(config, (), today + 91 * DAY * 1000).removed == {"set_aside": len(files) + 1}
    assert tree(config.state_dir) == {}


@pytest.mark.parametrize(
    "name",
    [
        "{state}/broker.sqlite",
        "{state}/broker.sqlite-wal",
        "{state}/ledgers/BTC-USDT.sqlite",
        "{state}/registry.json",
        "{state}/restarts.jsonl",
        "{state}/risk.json.corrupt",
        "{state}/risk.json.corrupt-copy",
        "{state}/my.corrupt-20250101T000000Z.bak",
        "{state}/my.corrupt-20259999T000000Z",
        "{state}/recordings/notes.txt",
        "{state}/recordings/" + RECORDING + ".bak",
        "{state}/recordings/copy-of-" + RECORDING,
        "{state}/recordings/engine-BTC-USDT.msgpack",
        "{state}/recordings/keep/" + RECORDING,
        "{state}/recordings/feed/" + RECORDING,
        "{state}/recordings/feed/" + OF_FEED + ".bak",
        "{state}/recordings/feed/notes.levifeed",
        "{state}/recordings/" + OF_FEED,
        "{state}/recordings/keep/" + OF_FEED,
        "{state}/" + RECORDING,
        "models/lightgbm-simulated/1/model.txt",
        "models/lightgbm-simulated/1/model.txt.corrupt-20250101T000000Z",
        "logs/feed-20200101.jsonl",
        "logs/feed.stack.old",
        "logs/daemon.out",
    ],
)
def test_what_is_not_known_by_its_name_and_place_is_never_touched(data: Path, name: str) -> None:
    config = config_of(data, recordings_gb=1e-9)
    state = config.state_dir.relative_to(data)
    write(data / name.format(state=state), 5000 * DAY, size=2_000_000)
    before = tree(data)
    result = sweep(config, (), NOW_MS)
    assert tree(data) == before
    assert (result.removed, result.trimmed) == ({}, 0)


def test_of_too_many_recordings_the_oldest_go_until_the_rest_fits(data: Path) -> None:
    config = config_of(data, recordings_gb=250e-9)
    folder = config.state_dir / "recordings"
    for day in range(1, 6):
        write(folder / f"engine-ETH-USDT-2025060{day}T000000Z-1.msgpack", (6 - day) * DAY, size=100)
    assert sweep(config, (), NOW_MS).removed == {"recording": 3}
    assert sorted(path.name[16:24] for path in folder.iterdir()) == ["20250604", "20250605"]


def test_recordings_of_engines_and_of_the_feed_share_one_limit(data: Path) -> None:
    config = config_of(data, recordings_gb=250e-9)
    folder = config.state_dir / "recordings"
    for day in range(1, 6):
        write(folder / f"engine-ETH-USDT-2025060{day}T000000Z-1.msgpack", (6 - day) * DAY, size=50)
        write(folder / "feed" / OF_FEED.replace("0001", f"000{day}"), (6 - day) * DAY - 1, size=50)
    written = folder / "feed" / OF_FEED.replace("0001", "0002")
    with written.open("ab"):
        assert sweep(config, (os.getpid(),), NOW_MS).removed == {"recording": 5}
    assert sorted(path.name[-13:-9] for path in (folder / "feed").iterdir()) == ["0002", "0004", "0005"]
    assert sorted(path.name[22:24] for path in folder.iterdir() if path.is_file()) == ["04", "05"]


def test_a_recording_that_is_being_written_stays_however_old_and_large(data: Path) -> None:
    config = config_of(data, recordings_gb=1e-9)
    folder = config.state_dir / "recordings"
    written = write(folder / RECORDING, OLD, size=100)
    just_begun = write(folder / "engine-BTC-USDT-20250615T000000Z-2.msgpack", 10, size=100)
    with written.open("ab"):
        assert sweep(config, (os.getpid(), 2**22 + 1), NOW_MS).removed == {}
    assert sweep(config, (os.getpid(),), NOW_MS).removed == {"recording": 1}
    assert just_begun.exists()


def test_links_are_neither_followed_nor_removed(data: Path, tmp_path: Path) -> None:
    config = config_of(data)
    elsewhere = write(tmp_path / "elsewhere" / "precious", OLD)
    inside = write(tmp_path / "linked" / RECORDING, OLD)
    folder = config.state_dir / "recordings"
    folder.mkdir(parents=True)
    (folder / RECORDING).symlink_to(elsewhere)
    (folder / "engine-ETH-USDT-20250501T000000Z-1.msgpack").mkdir()
    write(data / "logs" / "x", 0)
    (data / "logs" / "feed.stack").symlink_to(write(tmp_path / "big", DAMAGED_LONG_AGO, size=3_000_000))
    assert sweep(config, (), NOW_MS).removed == {}
    assert (folder / RECORDING).is_symlink()
    assert (tmp_path / "big").stat().st_size == 3_000_000
    (folder / RECORDING).unlink()
    (folder / "engine-ETH-USDT-20250501T000000Z-1.msgpack").rmdir()
    folder.rmdir()
    folder.symlink_to(inside.parent)
    of_feed = write(inside.parent / "feed" / OF_FEED, OLD)
    assert sweep(config, (), NOW_MS).removed == {}
    assert inside.exists()
    assert of_feed.exists()


def test_stack_dumps_are_trimmed_in_place_since_their_worker_has_them_open(data: Path) -> None:
    config = config_of(data)
    logs = config.log_dir
    logs.mkdir(parents=True)
    large = logs / "engine-BTC-USDT.stack"
    with large.open("a", encoding="utf-8") as worker:
        worker.writelines(f"dump {number:06}\n" for number in range(200_000))
        worker.flush()
        result = sweep(config, (), NOW_MS)
        assert (result.trimmed, result.errors) == (1, [])
        worker.write("a dump that comes later\n")
    lines = large.read_text(encoding="utf-8").splitlines()
    assert lines[-2:] == ["dump 199999", "a dump that comes later"]
    assert lines[0].startswith("dump ")
    assert large.stat().st_size <= 500_100
    old = write(logs / "feed.stack", DAMAGED_LONG_AGO)
    assert sweep(config, (), NOW_MS).trimmed == 1
    assert old.stat().st_size == 0


def test_what_cannot_be_removed_is_told_and_stops_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(data)
    folder = config.state_dir / "recordings"
    stubborn = write(folder / RECORDING, OLD)
    other = write(folder / "engine-ETH-USDT-20250501T000000Z-1.msgpack", OLD)
    unlink = Path.unlink

    def refusing(path: Path, missing_ok: bool = False) -> None:
        if path == stubborn:  # root may remove anything, so the kernel cannot be made to refuse here
            raise PermissionError(1, "not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    write(data / "logs", 0)  # a file in the place of a folder
    result = sweep(config, (), NOW_MS)
    assert result.removed == {"recording": 1}
    assert [type(error) for error in result.errors] == [PermissionError, NotADirectoryError]
    assert not other.exists()


def test_nothing_there_is_nothing_to_do(data: Path) -> None:
    result = sweep(config_of(data), (), NOW_MS)
    assert (result.removed, result.errors) == ({}, [])
