"""A backup is of one moment and proves itself; a restore is done or not done, repeats no id and opens nothing."""

from __future__ import annotations

import fcntl
import io
import json
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from levibot.backup.archive import BackupError, pack, unpack
from levibot.backup.restore import restore
from levibot.bus.messages import Reconciled
from levibot.cli.app import ERROR, OK, run_command
from levibot.clock import wall_ms
from levibot.config import Config
from levibot.errors import CorruptStoreError, FullDiskError, StopError
from levibot.execution.books import Books
from levibot.execution.ids import ClientId
from levibot.execution.ledger import Ledger
from levibot.risk.day import DAY_MS, Valuation
from levibot.risk.memory import RiskMemory
from levibot.spec import engine_name
from levibot.supervisor.identity import instance
from levibot.supervisor.registry import Registry
from tests.execution.examples import SYMBOL, D, Desk, entry, leave
from tests.full_disk import full_disk

LEDGER = "ledgers/BTC-USDT.sqlite"


class House:
    """The state of a daemon that has traded, and is stopped."""

    def __init__(self, folder: Path) -> None:
        self.config = Config.model_validate({"symbols": [SYMBOL], "supervisor": {"data_dir": folder / "var"}})
        self.state = self.config.state_dir
        (self.state / "ledgers").mkdir(mode=0o700, parents=True)
        self.instance = instance(self.state)
        self.desk = Desk(self.state / "broker.sqlite", instance=self.instance)
        self.ids: list[str] = []
        registry = Registry.open(self.state / "registry.json")
        registry.update(engine_name(SYMBOL), pid=4711, start_ticks=1)
        registry.update("feed")
        registry.save()
        RiskMemory(self.state / "risk.json", wall_ms).latch("daily_stop", "3 % lost", "risk")
        (self.state / "restarts.jsonl").write_text('{"first": 1}\n')
        (self.state / "exchange-budget-feed.bin").write_bytes(b"budget")
        (self.state / "ballast").write_bytes(bytes(1000))
        (self.state / "recordings").mkdir()
        (self.state / "recordings" / "mine").write_text("bars")
        self.desk.price(100.0)

    def ledger(self) -> Ledger:
        return Ledger.open(self.state / LEDGER, SYMBOL, self.instance)

    def trade(self, times: int = 1) -> None:
        """Buy, journaled as an engine does it."""
        ledger = self.ledger()
        for _ in range(times):
            intent = entry("1", client_id=ledger.new_client_id("entry"), stop_loss=D(90))
            self.ids += [intent.client_id]
            ledger.journal(intent)
            ledger.apply(*self.desk.exchange.submit(intent))
        ledger.close()

    def snapshot(self) -> dict[str, bytes]:
        """All files but those that SQLite keeps while a database is open."""
        paths = [
            path for path in self.state.rglob("*") if path.is_file() and path.suffix in (".json", ".sqlite", "")
        ]
        return {str(path.relative_to(self.state)): path.read_bytes() for path in paths}


@pytest.fixture
def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.trade()
    return made


def _generation(client_id: str) -> str:
    parsed = ClientId.parse(client_id)
    assert parsed is not None
    return parsed.generation


def _reconcile(ledger: Ledger, books: Books) -> Reconciled:
    known = books.symbol_seq[SYMBOL]
    events = books.events_of(SYMBOL, ledger.last_seq)
    unknown = [one for one in ledger.open_ids() if not books.knows(one)]
    return Reconciled(1, SYMBOL, known, events, books.position(SYMBOL), [], unknown)


def test_a_restored_account_is_as_it_was_and_counts_under_new_names(house: House, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    cash = house.desk.books.cash
    manifest = pack(house.state, archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in manifest.files} >= {"broker.sqlite", LEDGER, "instance", "risk.json"}
    house.trade(2)  # what the backup does not know
    RiskMemory(house.state / "risk.json", wall_ms).latch("kill_switch", "a flood", "alice")
    with (house.state / "restarts.jsonl").open("a") as journal:
        journal.write('{"second": 2}\n')
    later = house.desk.books.new_client_id("stop")
    house.desk.books.close()

    restored = restore(archive, house.config)

    assert restored.positions == {SYMBOL: D(1)}
    assert restored.aside is not None
    before = Books(restored.aside / "broker.sqlite", house.instance, "", D(0))
    assert before.position(SYMBOL).quantity == 3
    before.close()
    books = Books(house.state / "broker.sqlite", house.instance, "", D(0))
    assert (books.cash, books.position(SYMBOL).quantity) == (cash, 1)
    assert 0 < books.restored_ms <= wall_ms()
    ledger = house.ledger()
    assert ledger.reconcile(_reconcile(ledger, books)).drift == 0
    new = {books.new_client_id("stop"), ledger.new_client_id("entry")}
    assert not set(map(_generation, (*house.ids, later))) & set(map(_generation, new))
    ledger.close()
    with books.transaction(1):
        books.settle_restore()
    books.close()
    again = Books(house.state / "broker.sqlite", house.instance, "", D(0))
    assert again.restored_ms == 0
    again.close()
    registry = Registry.open(house.state / "registry.json")
    engine = registry.entry(engine_name(SYMBOL))
    assert (engine.paused, engine.pid) == (True, None)
    assert not registry.entry("feed").paused
    assert set(RiskMemory(house.state / "risk.json", wall_ms).latches) == {"daily_stop", "kill_switch"}
    assert "second" in (house.state / "restarts.jsonl").read_text()
    assert (house.state / "exchange-budget-feed.bin").read_bytes() == b"budget"
    assert (house.state / "recordings" / "mine").read_text() == "bars"
    assert not [*house.state.parent.rglob("ballast")]
    assert {path.name for path in house.state.parent.iterdir()} == {house.state.name, restored.aside.name}


def _value(day: int, equity: str) -> Valuation:
    return Valuation(event_ms=day * DAY_MS, equity=D(equity), book_value=D(equity))


@pytest.mark.parametrize("stopped", [True, False])
def test_a_daily_stop_is_that_of_today_whatever_day_the_backup_was_made(
    house: House, tmp_path: Path, stopped: bool
) -> None:
    path, archive = house.state / "risk.json", tmp_path / "backup.tar.gz"
    memory = RiskMemory(path, wall_ms)  # stopped on the day of the backup
    memory.value(_value(20_000, "900"))
    memory.store(0)
    pack(house.state, archive)
    memory.begin_day(20_001)
    memory.unlatch("daily_stop")
    if stopped:
        memory.latch("daily_stop", "again 3 % lost", "risk")
    house.desk.books.close()
    restore(archive, house.config)
    restored = RiskMemory(path, wall_ms)
    assert [latch.reason for latch in restored.latches.values()] == (["again 3 % lost"] if stopped else [])
    assert not restored.begin_day(20_001), "the first price of today ends nothing"
    assert restored.day_start is not None
    assert (restored.day_start.day, restored.day_start.equity) == (20_001, 900)


def test_a_backup_on_another_machine_brings_all_with_it(house: House, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    pack(house.state, archive)
    other = Config.model_validate({"symbols": ["ETH/USDT"], "supervisor": {"data_dir": tmp_path / "other"}})
    restored = restore(archive, other)
    assert restored.aside is None
    assert instance(other.state_dir) == house.instance
    registry = Registry.open(other.state_dir / "registry.json")
    assert registry.entry(engine_name("ETH/USDT")).paused
    assert registry.entry(engine_name(SYMBOL)).paused


def test_a_backup_while_everything_is_written_is_of_one_moment(house: House, tmp_path: Path) -> None:
    stop, backed_up = threading.Event(), []

    def back_up() -> None:
        while not stop.is_set() or not backed_up:
            archive = tmp_path / f"backup-{len(backed_up)}.tar.gz"
            pack(house.state, archive)
            backed_up.append(archive)

    thread = threading.Thread(target=back_up)
    thread.start()
    ledger = house.ledger()
    while not len(backed_up) >= 2:
        intent = entry("0.1", client_id=ledger.new_client_id("entry"))
        ledger.journal(intent)
        ledger.apply(*house.desk.exchange.submit(intent), *house.desk.exchange.submit(leave("0.1")))
    stop.set()
    thread.join()
    ledger.close()
    for number, archive in enumerate(backed_up):
        other = Config.model_validate({"symbols": [SYMBOL], "supervisor": {"data_dir": tmp_path / str(number)}})
        assert restore(archive, other).rebuilt == []
        books = Books(other.state_dir / "broker.sqlite", house.instance, "", D(0))
        copy = Ledger.open(other.state_dir / LEDGER, SYMBOL, house.instance)
        assert copy.set_aside is None
        outcome = copy.reconcile(_reconcile(copy, books))
        assert (outcome.drift, outcome.broker_behind) == (0, False)
        copy.close()
        books.close()


def _flip(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 4
    archive.write_bytes(content)


def _cut(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])


def _rebuild(change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Callable[[Path], None]:
    """Write the archive anew, with other members; None leaves one out."""

    def act(archive: Path) -> None:
        with tarfile.open(archive) as tar:
            files = [(member.name, tar.extractfile(member)) for member in tar]
            members = [(name, file.read()) for name, file in files if file is not None]
        with tarfile.open(archive, "w:gz") as tar:
            for name, content in filter(None, (change(*member) for member in members)):
                made = tarfile.TarInfo(name)
                made.size = len(content)
                tar.addfile(made, io.BytesIO(content))

    return act


def _edited(**fields: object) -> Callable[[str, bytes], tuple[str, bytes]]:
    return lambda name, body: (
        (name, json.dumps({**json.loads(body), **fields}).encode()) if name == "manifest.json" else (name, body)
    )


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (_flip, "damaged|is not what was backed up"),
    (_cut, "damaged"),
    (lambda archive: archive.write_bytes(b"no archive at all"), "is no backup"),
    (_rebuild(lambda name, body: None if name == "manifest.json" else (name, body)), "is no backup of LeviBot"),
    (_rebuild(lambda name, body: None if name == LEDGER else (name, body)), "is missing"),
    (
        _rebuild(lambda name, body: (name, body[:-1] + b"x") if name == "instance" else (name, body)),
        "not what was",
    ),
    (_rebuild(lambda name, body: (f"../{name}" if name == "instance" else name, body)), "not in its manifest"),
    (_rebuild(_edited(format=2)), "upgrade LeviBot"),
    (_rebuild(_edited(state="live-mexc-main")), "is of live-mexc-main"),
    (_rebuild(_edited(files=[{"name": "../../x.json", "size": 0, "sha256": ""}])), "has no place"),
    (_rebuild(_edited(files=[])), "not in its manifest"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGE)
def test_what_is_no_whole_backup_changes_nothing(
    house: House, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    archive = tmp_path / "backup.tar.gz"
    pack(house.state, archive)
    house.desk.books.close()
    damage(archive)
    before = house.snapshot()
    with pytest.raises(BackupError, match=said):
        restore(archive, house.config)
    assert house.snapshot() == before
    assert [path.name for path in house.state.parent.iterdir()] == [house.state.name]


def test_a_worker_that_still_runs_bars_a_restore(house: House, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    pack(house.state, archive)
    fence = house.state / "fences" / "broker.lock"
    fence.parent.mkdir()
    with fence.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StopError, match="broker still runs"):
            restore(archive, house.config)


def test_a_damaged_ledger_is_rebuilt_and_a_damaged_account_refused(house: House, tmp_path: Path) -> None:
    for name, said in ((LEDGER, None), ("broker.sqlite", "not what was written")):
        path = house.state / name
        connection = sqlite3.connect(path)
        column = "history_crc = history_crc + 1"
        connection.execute(f"UPDATE {'ledger' if said is None else 'account'} SET {column}")
        connection.commit()
        connection.close()
        archive = tmp_path / f"{path.stem}.tar.gz"
        pack(house.state, archive)
        if said is None:
            assert restore(archive, house.config).rebuilt == ["BTC-USDT"]
            assert not path.exists()
        else:
            with pytest.raises(CorruptStoreError, match=said):
                restore(archive, house.config)


def test_a_damaged_database_is_named_and_not_backed_up(house: House, tmp_path: Path) -> None:
    (house.state / LEDGER).write_bytes(b"garbage" * 1000)
    with pytest.raises(CorruptStoreError, match=r"BTC-USDT\.sqlite.*damaged.*rebuilds it"):
        pack(house.state, tmp_path / "backup.tar.gz")
    assert not list(tmp_path.glob("*backup*"))


def test_a_full_disk_leaves_no_half_of_a_backup(house: House, tmp_path: Path) -> None:
    house.desk.books.close()
    house.ledger().close()
    with full_disk(40_000), pytest.raises(FullDiskError):
        pack(house.state, tmp_path / "backup.tar.gz")
    assert not list(tmp_path.glob("*backup*"))


def test_a_backup_replaces_no_file_and_needs_an_account(house: House, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(BackupError, match="exists already"):
        pack(house.state, tmp_path / "mine")
    with pytest.raises(BackupError, match="no account yet"):
        pack(tmp_path / "nowhere", tmp_path / "other")
    assert (tmp_path / "mine").read_text() == "precious"


def test_what_is_not_of_the_account_is_not_in_it(house: House, tmp_path: Path) -> None:
    for secret in ("exchange.key", "api-token", ".env", "notes.txt", "exchange-cooldown.json"):
        (house.state / secret).write_text("secret")
    (house.state.parent / "api-token").write_text("secret")
    pack(house.state, tmp_path / "backup.tar.gz")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    unpack(tmp_path / "backup.tar.gz", folder)
    assert not [path for path in folder.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


@pytest.mark.parametrize("name", ["backups", "backups/"])
def test_a_folder_that_is_not_there_is_no_name_of_a_file(
    house: House, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEVIBOT_SUPERVISOR__DATA_DIR", str(house.config.supervisor.data_dir))
    monkeypatch.chdir(tmp_path)
    assert run_command(["backup", name]) == ERROR
    assert "no such folder; make it" in capsys.readouterr().err
    (tmp_path / "backups").mkdir()
    assert run_command(["backup", name]) == OK
    assert [path.suffixes for path in (tmp_path / "backups").iterdir()] == [[".tar", ".gz"]]
