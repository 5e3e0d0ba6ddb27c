"""The registry survives a restart, a full disk and a damaged file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from levibot.errors import DataStoreError, NewerSchemaError
from levibot.supervisor.registry import SCHEMA, Entry, Registry
from levibot.supervisor.states import Desired, Observed
from tests.full_disk import full_disk

BTC, ETH = "engine-BTC-USDT", "engine-ETH-USDT"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "registry.json"


def test_nothing_is_known_at_first(path: Path) -> None:
    registry = Registry.open(path)
    assert registry.workers == []
    assert registry.entry(BTC) == Entry(desired=Desired.UP, paused=False, observed=Observed.STOPPED)
    assert registry.save()
    assert not path.exists()


def test_everything_comes_back(path: Path) -> None:
    registry = Registry.open(path)
    registry.update(BTC, desired=Desired.DOWN, paused=True)
    registry.update(ETH, observed=Observed.RUNNING, pid=4711, start_ticks=99, incarnation=3)
    made = registry.update(ETH, position="0.5 ETH at 2000")
    assert made == registry.entry(ETH)
    assert registry.save()
    opened = Registry.open(path)
    assert opened.workers == [BTC, ETH]
    assert opened.entry(BTC) == Entry(desired=Desired.DOWN, paused=True)
    assert opened.entry(ETH) == Entry(
        observed=Observed.RUNNING, pid=4711, start_ticks=99, incarnation=3, position="0.5 ETH at 2000"
    )
    assert opened.set_aside is None


def test_people_can_read_it(path: Path) -> None:
    registry = Registry.open(path)
    registry.update(BTC, desired=Desired.DOWN)
    registry.save()
    assert json.loads(path.read_text()) == {
        "schema": SCHEMA,
        "workers": {
            BTC: {
                "desired": "down",
                "paused": False,
                "observed": "stopped",
                "pid": None,
                "start_ticks": None,
                "incarnation": 0,
                "position": "",
            }
        },
    }
    assert f'\n    "{BTC}": {{\n      "desired": "down",\n' in path.read_text()


def test_a_removed_worker_stays_removed(path: Path) -> None:
    registry = Registry.open(path)
    registry.update(BTC, paused=True)
    registry.update(ETH, paused=True)
    registry.save()
    registry.remove(BTC)
    registry.remove("never-known")
    registry.save()
    assert Registry.open(path).workers == [ETH]


def test_an_unchanged_registry_is_not_written(path: Path) -> None:
    registry = Registry.open(path)
    registry.update(BTC, paused=True)
    registry.save()
    path.unlink()
    registry.update(BTC, paused=True)
    assert registry.save()
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"schema": 1, "workers": []}',
        b'{"schema": 1}',
        b'{"schema": 1, "workers": {"feed": {"desired": "sideways"}}}',
        b'{"schema": 1, "workers": {"feed": {"wanted": "up"}}}',
        b'{"schema": 1, "workers": {"feed": []}}',
    ],
)
def test_a_damaged_registry_is_set_aside_and_reported(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    registry = Registry.open(path)
    assert registry.set_aside is not None
    assert registry.set_aside.name.startswith("registry.json.corrupt-2")
    assert registry.set_aside.read_bytes() == content
    assert registry.damage
    assert registry.workers == []
    assert not path.exists()
    registry.update(BTC, paused=True)
    assert registry.save()
    assert Registry.open(path).entry(BTC).paused


def test_the_damage_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"schema": 1, "workers": {"feed": {"desired": "sideways"}}}')
    assert "desired" in Registry.open(path).damage


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    content = json.dumps({"schema": SCHEMA + 1, "workers": {"feed": {"wanted": "up"}}})
    path.write_text(content)
    with pytest.raises(NewerSchemaError):
        Registry.open(path)
    assert path.read_text() == content
    assert len(list(path.parent.iterdir())) == 1


def test_an_unreadable_registry_is_not_called_damaged(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DataStoreError, match="cannot be read"):
        Registry.open(path)
    assert path.is_dir()


def test_a_full_disk_keeps_the_file_and_memory_goes_on(path: Path) -> None:
    registry = Registry.open(path)
    registry.update(BTC, paused=True)
    registry.save()
    before = path.read_bytes()
    registry.update(BTC, paused=False, incarnation=7)
    with full_disk(room=10):
        assert not registry.save()
        assert not registry.save()
    assert registry.refused == 2
    assert path.read_bytes() == before
    assert registry.entry(BTC).incarnation == 7
    assert registry.save()
    assert Registry.open(path).entry(BTC).incarnation == 7
