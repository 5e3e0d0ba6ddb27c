"""A version is there whole or not at all, never changes, and one link says which serves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from levibot.errors import DataStoreError, FullDiskError, ModelError
from levibot.ml import store as store_module
from levibot.ml.manifest import MANIFEST, MODEL, read_manifest
from levibot.ml.served import HISTORY
from levibot.ml.store import ModelStore
from tests.deadline import wait_for
from tests.full_disk import full_disk
from tests.ml.examples import manifest

NAME = "lightgbm-simulated"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def test_what_is_saved_is_found_again(store: ModelStore) -> None:
    stored = store.save(manifest(), {MODEL: b"a model"})
    folder = store.folder / NAME / stored.version
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, MODEL]
    assert (folder / MODEL).read_bytes() == b"a model"
    assert read_manifest(folder) == stored
    assert stored.files[0].size_bytes == 7
    assert store.versions(NAME) == [stored.version]
    assert store.current(NAME) is None, "nothing serves before it is promoted"


def test_versions_sort_by_time_even_where_the_clock_was_set_back(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []
    for now_ms in (1_800_000_000_000, 1_800_000_000_400, 1_700_000_000_000, 1_800_000_001_000):
        monkeypatch.setattr(store_module, "wall_ms", lambda now_ms=now_ms: now_ms)
        saved.append(store.save(manifest(), {MODEL: b"model"}).version)
    assert saved == [
        "20270115T080000Z-001",
        "20270115T080000Z-002",
        "20270115T080000Z-003",
        "20270115T080001Z-001",
    ]
    assert store.versions(NAME) == saved


def test_a_promoted_version_serves_until_the_next_one_does(store: ModelStore) -> None:
    first, second = (store.save(manifest(), {MODEL: text}).version for text in (b"1", b"2"))
    store.promote(NAME, second)
    assert store.current(NAME) == store.folder / NAME / second
    store.promote(NAME, first)
    assert store.current(NAME) == store.folder / NAME / first
    with pytest.raises(ModelError, match=f"no version '../x'.*newest are: {first}, {second}"):
        store.promote(NAME, "../x")


def test_a_reader_always_finds_a_version_while_others_are_promoted(store: ModelStore) -> None:
    versions = [store.save(manifest(), {MODEL: text}).version for text in (b"1", b"2")]
    store.promote(NAME, versions[0])
    done = threading.Event()

    def swap() -> None:
        for turn in range(200):
            store.promote(NAME, versions[turn % 2])
        done.set()

    thread = threading.Thread(target=swap)
    thread.start()
    looks = 0
    while not done.is_set() or not looks:
        folder = store.current(NAME)
        assert folder is not None
        assert folder.name in versions
        looks += 1
    thread.join()


def _save_many(folder: Path, count: int) -> None:
    for _ in range(count):
        ModelStore(folder).save(manifest(), {MODEL: b"model"})


def test_two_processes_that_save_never_meet(store: ModelStore) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_save_many, args=(store.folder, 10)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(store.versions(NAME)) == 20
    assert {read_manifest(store.folder / NAME / v).version for v in store.versions(NAME)} == set(
        store.versions(NAME)
    )


def _promote_many(folder: Path, versions: list[str]) -> None:
    for version in versions:
        ModelStore(folder).promote(NAME, version, who="somebody", why="a race")


def test_two_processes_that_promote_take_turns(store: ModelStore) -> None:
    versions = [store.save(manifest(), {MODEL: b"model"}).version for _ in range(4)]
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_promote_many, args=(store.folder, part * 10)) for part in _halves(versions)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    changes, damaged = store.changes(NAME)
    assert damaged == 0
    assert store.linked(NAME) == changes[-1].version
    assert changes[0].previous == ""
    assert all(later.previous == change.version for change, later in pairwise(changes))
    written = (store.folder / NAME / HISTORY).read_text().splitlines()
    assert len(written) == len(changes), "each of them took effect"
    assert len(changes) >= 20


def _halves(versions: list[str]) -> tuple[list[str], list[str]]:
    return versions[:2], versions[2:]


def test_a_promotion_is_refused_if_another_version_serves_than_it_was_compared_with(store: ModelStore) -> None:
    first, second, third = (store.save(manifest(), {MODEL: b"model"}).version for _ in range(3))
    store.promote(NAME, first, champion="")
    with pytest.raises(ModelError, match=f"{first} serves by now, {third} was compared with none"):
        store.promote(NAME, third, champion="")
    store.promote(NAME, second, champion=first)
    with pytest.raises(ModelError, match="promote again"):
        store.promote(NAME, third, champion=first)
    assert store.linked(NAME) == second


def test_a_rollback_goes_one_step_back_and_the_next_one_further(store: ModelStore) -> None:
    first, second, third = (store.save(manifest(), {MODEL: b"model"}).version for _ in range(3))
    for version in (first, second, third):
        store.promote(NAME, version)
    assert store.previous(NAME) == second
    change = store.rollback(NAME, who="me", why="it lost money")
    assert (change.version, change.previous, change.action) == (second, third, "rollback")
    assert store.linked(NAME) == second
    assert store.rollback(NAME).version == first
    with pytest.raises(ModelError, match="no version that served before"):
        store.rollback(NAME)
    store.promote(NAME, third)
    assert store.rollback(NAME).version == first
    changes, _ = store.changes(NAME)
    assert [(c.action, c.who, c.why) for c in changes][3] == ("rollback", "me", "it lost money")


def test_a_link_that_leads_astray_is_rolled_back_to_what_served_last_and_then_further(store: ModelStore) -> None:
    first, second = (store.save(manifest(), {MODEL: b"model"}).version for _ in range(2))
    for version in (first, second):
        store.promote(NAME, version)
    link = store.folder / NAME / "current"
    link.unlink()
    link.symlink_to("20200101T000000Z-001")
    assert store.previous(NAME) == second
    assert (store.rollback(NAME).version, store.linked(NAME)) == (second, second)
    assert store.rollback(NAME).version == first
    with pytest.raises(ModelError, match="no version that served before"):
        store.rollback(NAME)


def test_nothing_is_changed_of_a_model_that_is_not_there(store: ModelStore) -> None:
    for call in (store.rollback, lambda name: store.promote(name, "x"), lambda name: store.prune(name, 1)):
        with pytest.raises(ModelError, match="levibotctl train"):
            call(NAME)
    assert not store.folder.exists()


def test_what_serves_and_what_a_rollback_goes_to_is_never_pruned(store: ModelStore) -> None:
    versions = [store.save(manifest(), {MODEL: b"model"}).version for _ in range(5)]
    store.promote(NAME, versions[0])
    store.promote(NAME, versions[2])
    assert store.prune(NAME, 1) == [versions[1], versions[3]]
    assert store.versions(NAME) == [versions[0], versions[2], versions[4]]
    assert store.prune(NAME, 0) == [versions[4]]
    assert store.rollback(NAME).version == versions[0]
    assert store.prune(NAME, 0) == [versions[2]], "a rollback has nowhere to go any more"
    assert [path.name for path in (store.folder / NAME).iterdir() if path.name.startswith(".")] == []


def test_a_disk_that_takes_no_history_switches_nothing(store: ModelStore) -> None:
    first, second = (store.save(manifest(), {MODEL: b"model"}).version for _ in range(2))
    store.promote(NAME, first)
    (store.folder / NAME / HISTORY).unlink()
    (store.folder / NAME / HISTORY).mkdir()
    with pytest.raises(DataStoreError, match=HISTORY):
        store.promote(NAME, second)
    assert store.linked(NAME) == first


def test_killed_at_any_moment_it_leaves_whole_versions(store: ModelStore, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from levibot.ml.store import ModelStore
from levibot.ml.manifest import MODEL
from tests.ml.examples import manifest
store = ModelStore(Path({str(store.folder)!r}))
while True:
    for _ in range(3):
        stored = store.save(manifest(), {{MODEL: b"x" * 200_000}})
        store.promote(stored.name, stored.version)
    store.rollback(stored.name)
    store.prune(stored.name, 4)
"""
    history = store.folder / NAME / HISTORY
    for round_ in range(1, 4):
        process = subprocess.Popen([sys.executable, "-c", script])

        def begun(least: int = 8 * round_) -> bool:
            return history.exists() and history.read_bytes().count(b"\n") >= least

        wait_for(begun, "changes", seconds=60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for version in store.versions(NAME):
            folder = store.folder / NAME / version
            assert (folder / MODEL).stat().st_size == read_manifest(folder).files[0].size_bytes == 200_000
        assert store.current(NAME) is not None
        changes, damaged = store.changes(NAME)
        assert damaged == 0
        assert changes[-1].version == store.linked(NAME)
        before = store.previous(NAME)
        assert before is None or before in store.versions(NAME)
    assert store.rollback(NAME).version == before
    store.promote(NAME, store.versions(NAME)[0])


def test_what_a_crash_left_is_swept_away_later(store: ModelStore) -> None:
    store.save(manifest(), {MODEL: b"model"})
    old, young = (store.folder / NAME / f".saving-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / MODEL).write_bytes(b"hal")
    os.utime(old, (1, 1))
    store.save(manifest(), {MODEL: b"model"})
    assert not old.exists()
    assert young.exists(), "another process may be writing it"
    assert len(store.versions(NAME)) == 2


def test_a_full_disk_leaves_nothing_behind(store: ModelStore) -> None:
    kept = store.save(manifest(), {MODEL: b"model"})
    with full_disk(), pytest.raises(FullDiskError, match="make room"):
        store.save(manifest(), {MODEL: b"x" * 5_000_000})
    assert store.versions(NAME) == [kept.version]
    assert [path.name for path in (store.folder / NAME).iterdir()] == [kept.version]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "A", "a\n", "-a", "x" * 101, "a\0b"])
def test_names_that_could_leave_the_folder_are_refused(store: ModelStore, name: str) -> None:
    for call in (
        lambda: store.versions(name),
        lambda: store.current(name),
        lambda: store.promote(name, "20270115T080000Z-001"),
        lambda: store.save(manifest(name=name), {MODEL: b"model"}),
    ):
        with pytest.raises(ModelError, match="no name of a model"):
            call()
    assert not store.folder.exists()


@pytest.mark.parametrize("target", ["../other/20270115T080000Z-001", "/etc", "20270115T080000Z-001", "x"])
def test_a_link_that_leads_astray_is_refused_with_the_remedy(store: ModelStore, target: str) -> None:
    (store.folder / NAME).mkdir(parents=True)
    link = store.folder / NAME / "current"
    link.symlink_to(target)
    with pytest.raises(ModelError, match="levibotctl train"):
        store.current(NAME)
    link.unlink()
    link.write_text("a file")
    with pytest.raises(ModelError, match="is no link"):
        store.current(NAME)


def test_foreign_files_beside_the_versions_are_not_versions(store: ModelStore) -> None:
    version = store.save(manifest(), {MODEL: b"model"}).version
    (store.folder / NAME / "notes").mkdir()
    (store.folder / NAME / "20270115T080000Z-001").write_text("a file")
    assert store.versions(NAME) == [version]
