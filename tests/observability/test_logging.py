"""A log line is whole, in the file of its own UTC day, or counted as refused; logging never raises."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.observability.logging import DailyFile, open_log

WRITE_INTO_A_LIMIT = """
import json, os, resource, sys
from pathlib import Path
from levibot.observability.logging import open_log

log, file = open_log(Path(sys.argv[1]), "feed", level="info", retention_days=3)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
for number in range(100):
    log.info("tick", number=number)
refused = file.refused
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for number in range(100, 103):
    log.info("tick", number=number)
print(json.dumps([refused, file.refused]))
"""


def lines(directory: Path) -> list[dict[str, Any]]:
    """All records under `directory`, by file name; fails at a line that is not JSON."""
    return [
        json.loads(line)
        for path in sorted(directory.glob("*.jsonl"))
        for line in path.read_bytes().removesuffix(b"\n").split(b"\n")
    ]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_record_has_time_level_symbol_and_event_first(tmp_path: Path) -> None:
    log, file = open_log(tmp_path, "engine-BTC-USDT", level="info", retention_days=30, symbol="BTC/USDT")
    before = datetime.now(UTC)
    log.warning("order_denied", reason="no grant")
    after = datetime.now(UTC)
    (record,) = lines(tmp_path)
    assert list(record) == ["ts", "level", "symbol", "event", "reason"]
    assert record["level"] == "warning"
    assert record["symbol"] == "BTC/USDT"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["ts"])
    assert before <= datetime.fromisoformat(record["ts"]) <= after
    assert names(tmp_path) == [f"engine-BTC-USDT-{record['ts'][:10].replace('-', '')}.jsonl"]
    file.close()


def test_each_record_goes_to_the_file_of_its_own_day(tmp_path: Path) -> None:
    file = DailyFile(tmp_path, "feed", retention_days=30)
    for day in ("20251231", "20260101", "20251231"):  # the last one was made before midnight, written after
        file.write(day, day.encode())
    file.close()
    assert (tmp_path / "feed-20251231.jsonl").read_text() == "20251231\n20251231\n"
    assert (tmp_path / "feed-20260101.jsonl").read_text() == "20260101\n"


def test_a_new_day_removes_what_is_older_than_the_retention_and_nothing_else(tmp_path: Path) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    days = [(first + timedelta(days=number)).strftime("%Y%m%d") for number in range(6)]
    strangers = ["feed-20200101.txt", "feed-x-20200101.jsonl", "feed.stack", "engine-20200101.jsonl"]
    for name in strangers:
        (tmp_path / name).touch()
    file = DailyFile(tmp_path, "feed", retention_days=2)
    for day in days:
        file.write(day, b"{}")
    file.close()
    assert names(tmp_path) == sorted([*strangers, *(f"feed-{day}.jsonl" for day in days[-3:])])


def test_lines_before_a_restart_are_kept(tmp_path: Path) -> None:
    for number in range(2):
        log, file = open_log(tmp_path, "feed", level="info", retention_days=3)
        log.info("started", number=number)
        file.close()
    assert [record["number"] for record in lines(tmp_path)] == [0, 1]


@pytest.mark.parametrize("what", ["directory", "file"])
def test_what_is_removed_is_created_again(tmp_path: Path, what: str) -> None:
    directory = tmp_path / "logs"
    log, file = open_log(directory, "feed", level="info", retention_days=3)
    log.info("before")
    if what == "directory":
        shutil.rmtree(directory)
    else:
        next(directory.iterdir()).unlink()
    log.info("after")
    file.close()
    assert [record["event"] for record in lines(directory)] == ["after"]
    assert file.refused == 0


def test_a_directory_that_cannot_be_made_is_counted_and_used_once_it_can(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.write_text("in the way")
    log, file = open_log(directory, "feed", level="info", retention_days=3)
    log.info("lost")
    log.info("lost")
    assert file.refused == 2
    directory.unlink()
    log.info("kept")
    file.close()
    assert [record["event"] for record in lines(directory)] == ["kept"]


def test_a_full_disk_is_counted_and_tears_no_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITE_INTO_A_LIMIT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    while_full, in_the_end = json.loads(done.stdout)
    numbers = [record["number"] for record in lines(tmp_path)]
    kept = 100 - while_full
    assert 0 < kept < 100
    assert numbers == [*range(kept), 100, 101, 102]
    assert in_the_end == while_full


def test_a_traceback_is_one_field_of_one_line(tmp_path: Path) -> None:
    log, file = open_log(tmp_path, "feed", level="info", retention_days=3)
    try:
        raise ValueError('said "no"\nand left')
    except ValueError:
        log.exception("bad_row", line=3)
    file.close()
    (record,) = lines(tmp_path)
    assert record["level"] == "error"
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert record["exception"].endswith('ValueError: said "no"\nand left')


def test_a_level_below_the_least_is_not_written(tmp_path: Path) -> None:
    log, file = open_log(tmp_path, "feed", level="warning", retention_days=3)
    for method in (log.debug, log.info, log.warning, log.error):
        method("event")
    file.close()
    assert [record["level"] for record in lines(tmp_path)] == ["warning", "error"]


FIELDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)


@given(event=st.text(st.characters()), value=FIELDS)
def test_any_value_gives_one_line_of_json(
    tmp_path_factory: pytest.TempPathFactory, event: str, value: object
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    log, file = open_log(directory, "feed", level="info", retention_days=3)
    log.info(event, value=value, other='"quoted"\n')
    file.close()
    (record,) = lines(directory)
    assert record["event"] == event.encode("utf-8", "backslashreplace").decode()
    assert record["other"] == '"quoted"\n'
    assert file.refused == 0


def test_log_files_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    log, file = open_log(directory, "feed", level="info", retention_days=3)
    log.info("started")
    file.close()
    assert oct(directory.stat().st_mode & 0o777) == "0o700"
    assert [oct(path.stat().st_mode & 0o777) for path in directory.iterdir()] == ["0o600"]
