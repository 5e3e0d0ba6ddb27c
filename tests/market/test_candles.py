"""A candle file is read whole and right, or refused with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars
import pytest

from levibot.errors import MarketDataError
from levibot.market.bars import MINUTE_MS, Candle
from levibot.market.candles import CANDLE_SUFFIXES, COLUMNS, find_file, first_open_ms, read_candles
from tests.market.real_data import real_data

HEADER = ",".join(COLUMNS)
GOOD = ["60000,5,7,4,6,1.5", "120000,6,6,6,6,0", "240000,6,8,5,7,2"]


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", CANDLE_SUFFIXES)
def test_all_forms_of_a_file_give_the_same_candles(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"BTCUSDT-1m{suffix}"
    if suffix == ".parquet":
        rows = [[float(value) for value in row.split(",")] for row in GOOD]
        frame = polars.DataFrame(rows, schema=list(COLUMNS), orient="row")
        frame.with_columns(polars.col("timestamp").cast(polars.Int64)).write_parquet(path)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress("\n".join([HEADER, *GOOD]).encode()))
    else:
        write(path, *GOOD)
    table = read_candles(path)
    assert list(table.from_index(0)) == [
        Candle(60_000, 5, 7, 4, 6, 1.5),
        Candle(120_000, 6, 6, 6, 6, 0),
        Candle(240_000, 6, 8, 5, 7, 2),
    ]
    assert first_open_ms(path) == MINUTE_MS
    assert table.index_at(121_000) == 2


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("300000,nan,7,4,6,1", "NaN"),
        ("300000,5,inf,4,6,1", "NaN or infinity"),
        ("300000,5,7,4,6,-1", "volume -1.0"),
        ("300000,5,7,-4,6,1", "a price of -4.0"),
        ("300000,0,7,0,6,1", "a price of 0.0"),
        ("300000,5,4,7,6,1", "high 4.0 below low 7.0"),
        ("300000,9,7,4,6,1", "outside low"),
        ("300000,5,7,4,3,1", "outside low"),
        ("240000,5,7,4,6,1", "240000 twice"),
        ("180000,5,7,4,6,1", "180000 after 240000"),
        ("300001,5,7,4,6,1", "whole minute"),
        ("300000,5,7,4,6", "expected six numbers"),
        ("300000,5,7,4,6,1,9", "expected six numbers"),
        ("300000,5,x,4,6,1", "expected six numbers"),
        ("", "expected six numbers"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(tmp_path: Path, row: str, found: str) -> None:
    path = write(tmp_path / "BTCUSDT-1m.csv", *GOOD, row)
    with pytest.raises(MarketDataError) as caught:
        read_candles(path)
    assert str(caught.value).startswith(f"{path}:5: ")
    assert found in str(caught.value)


def test_a_bad_row_of_a_parquet_file_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT.parquet"
    rows = [[60_000, 5.0, 7.0, 4.0, 6.0, 1.0], [120_000, 5.0, None, 4.0, 6.0, 1.0]]
    polars.DataFrame(rows, schema=list(COLUMNS), orient="row").write_parquet(path)
    with pytest.raises(MarketDataError, match=r"BTCUSDT.parquet:2: .*expected six numbers"):
        read_candles(path)
    path.write_bytes(b"PAR1 this is none")
    with pytest.raises(MarketDataError, match="not readable as Parquet"):
        read_candles(path)


def test_a_wrong_header_an_empty_file_and_a_cut_off_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match=r"A\.csv:1: header is"):
        read_candles(write(tmp_path / "A.csv", *GOOD, header="time,open,high,low,close,volume"))
    with pytest.raises(MarketDataError, match="no candles"):
        read_candles(write(tmp_path / "B.csv"))
    with pytest.raises(MarketDataError, match="no candles"):
        first_open_ms(tmp_path / "B.csv")
    whole = gzip.compress("\n".join([HEADER, *(f"{n * MINUTE_MS},5,7,4,6,1" for n in range(1, 9000))]).encode())
    (tmp_path / "C.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MarketDataError, match=r"C\.csv\.gz:\d+: the gzip stream is damaged or cut off"):
        read_candles(tmp_path / "C.csv.gz")
    (tmp_path / "D.csv.gz").write_bytes(b"no gzip at all")
    with pytest.raises(MarketDataError, match="damaged"):
        read_candles(tmp_path / "D.csv.gz")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("BTC/USDT", "BTCUSDT-1m.csv.gz"),
        ("BTC/USDT", "BTC-USDT.parquet"),
        ("BTC/USD", "BTCUSD_1m_2018.csv.gz"),
        ("BTC/USDT:USDT", "BTC-USDT_USDT-1m.csv"),
        ("BTC/USDT:USDT", "BTCUSDT-1m.csv"),
    ],
)
def test_files_are_found_by_the_names_people_give_them(tmp_path: Path, symbol: str, name: str) -> None:
    for other in (name, "ETHUSDT-1m.csv", "BTCUSDTX-1m.csv", "BTCUSDT-5m.csv", "BTCUSD_1h.csv"):
        (tmp_path / other).touch()
    assert find_file(tmp_path, symbol, CANDLE_SUFFIXES) == tmp_path / name


def test_a_swap_file_is_not_taken_for_its_pair_and_two_candidates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "BTC-USDT_USDT-1m.csv").touch()
    assert find_file(tmp_path, "BTC/USDT", CANDLE_SUFFIXES) is None
    (tmp_path / "BTCUSDT.csv").touch()
    (tmp_path / "BTCUSDT-1m.csv").touch()
    with pytest.raises(MarketDataError, match=r"BTCUSDT-1m\.csv and BTCUSDT\.csv could both be BTC/USDT"):
        find_file(tmp_path, "BTC/USDT", CANDLE_SUFFIXES)
    with pytest.raises(MarketDataError, match="no such folder"):
        find_file(tmp_path / "none", "BTC/USDT", CANDLE_SUFFIXES)


def test_every_real_candle_file_passes(tmp_path: Path) -> None:
    counts = {path.name: len(read_candles(path)) for path in real_data("candles", "binance-um-2025-05").iterdir()}
    assert len(counts) == 10
    assert counts["BTCUSDT-1m.csv.gz"] == 73_139
