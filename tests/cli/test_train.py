"""`levibotctl train`, as an operator types it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from levibot.market.candles import COLUMNS
from levibot.ml.manifest import MODEL, read_manifest
from levibot.ml.model import load_model
from levibot.ml.store import ModelStore
from tests.cli.conftest import Place
from tests.deadline import wait_for
from tests.ml.examples import walk

pytestmark = pytest.mark.unmeasured

NAME = "lightgbm-simulated"
Following = Callable[..., subprocess.Popen[str]]


def candles(folder: Path, symbol: str, bars: int, seed: int) -> Path:
    rows = [f"{b.open_ms},{b.open},{b.high},{b.low},{b.close},{b.volume}" for b in walk(bars, seed=seed)]
    path = folder / f"{symbol}-1m.csv"
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


def test_it_trains_on_the_simulated_market_and_lets_the_model_serve(place: Place) -> None:
    done = place.ctl("train", "--days", "3")
    assert done.returncode == 0, done.stderr
    folder = ModelStore(place.data / "models").current(NAME)
    assert folder is not None
    manifest = load_model(folder, "simulated").manifest
    assert manifest.symbols == ("BTC/USDT", "ETH/USDT")
    for words in (
        f"{NAME}/{folder.name}",
        f"{manifest.train.rows:,} rows",
        manifest.test.until_utc,
        f"AUC {manifest.scores.auc:.3f}",
        "constant 0.5: 0.6931, test span's base rate: 0.6",
        "beats every constant, by more than chance,",
        "promoted: it serves from now on",
    ):
        assert words in " ".join(done.stdout.split())
    assert [line.split(" (")[0] for line in done.stderr.splitlines()] == [
        "reading candles",
        "computing features",
        "labelling",
        "growing trees",
        "looking for leaks",
        "judging",
    ]


def test_what_guesses_is_stored_but_does_not_serve(place: Place, tmp_path: Path) -> None:
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        candles(tmp_path, symbol, 6000, seed)
    command = ("train", "--candles", str(tmp_path), "--take-profit", "0.01", "--stop-loss", "0.01")
    done = place.ctl(*command, "--exchange", "binance")
    assert done.returncode == 0, done.stderr
    store = ModelStore(place.data / "models")
    assert store.versions(f"{NAME[:8]}-binance")
    manifest = read_manifest(store.folder / "lightgbm-binance" / store.versions("lightgbm-binance")[0])
    assert "+1.00% before -1.00%, within 240 bars" in done.stdout
    assert manifest.expires_ms > 0, "real markets change"
    assert "does NOT beat every constant on the test span" in done.stdout
    assert manifest.scores.missed
    assert all(reason in done.stdout for reason in manifest.scores.missed)
    assert f"`levibotctl models promote lightgbm-binance/{manifest.version} --force` lets it" in done.stdout
    assert store.current("lightgbm-binance") is None


@pytest.mark.long
def test_what_guesses_serves_if_told_to(place: Place, tmp_path: Path) -> None:
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        candles(tmp_path, symbol, 6000, seed)
    command = ("train", "--candles", str(tmp_path), "--take-profit", "0.01", "--stop-loss", "0.01")
    store = ModelStore(place.data / "models")
    assert "promoted: it serves" in place.ctl(*command, "--exchange", "binance", "--promote").stdout
    assert store.current("lightgbm-binance") is not None
    said = json.loads(place.ctl(*command, "--no-promote", "--json", "--expires-days", "0").stdout)
    assert (said["name"], said["promoted"], said["expires_ms"]) == ("lightgbm-replay", False, 0)
    assert said["missed"]
    assert store.current("lightgbm-replay") is None


def test_a_live_exchange_is_trained_on_what_was_downloaded_of_it(place: Place) -> None:
    place.config.write_text(place.config.read_text() + '[feed]\nsource = "ccxt"\n')
    command = ("train", "--take-profit", "0.01", "--stop-loss", "0.01", "--promote")
    done = place.ctl(*command)
    assert done.returncode == 1
    folder = place.data / "candles" / "mexc"
    assert f"{folder}: no candles of BTC/USDT, ETH/USDT; fetch them with `levibotctl download" in done.stderr
    (proposed,) = re.findall(r"`levibotctl (download .*?)`", done.stderr)
    assert proposed.startswith("download --exchange mexc --symbols BTC/USDT,ETH/USDT --since ")
    folder.mkdir(parents=True)
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        candles(folder, symbol, 6000, seed)
    done = place.ctl(*command)
    assert done.returncode == 0, done.stderr
    assert ModelStore(place.data / "models").current("lightgbm-mexc") is not None


@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        ("--symbols XBT", 4, "no such symbol: 'XBT'"),
        ("--symbols ,", 2, "--symbols names none"),
        ("--candles /nowhere", 2, "does not exist"),
        ("--horizon 0", 2, "0 is not in the range"),
        ("--take-profit 10", 2, "10.0 is not in the range 0<x<10"),
        ("--until soon", 1, "--until = 'soon': expected a UTC time"),
        ("--exchange ../x", 1, "--exchange = '../x': expected lower-case letters"),
        (
            "--days 1 --take-profit 0.4 --stop-loss 0.4",
            1,
            "nearer barriers (--take-profit, --stop-loss) or another",
        ),
    ],
)
def test_a_wrong_option_is_told(place: Place, arguments: str, code: int, found: str) -> None:
    done = place.ctl("train", *arguments.split())
    assert done.returncode == code, done.stderr
    assert found in done.stderr
    assert not (place.data / "models").exists()


def test_a_bad_candle_file_is_told_with_file_and_line(place: Place, tmp_path: Path) -> None:
    path = candles(tmp_path, "BTCUSDT", 100, 1)
    path.write_text(path.read_text().replace("\n", "\nx", 50).replace("\nx", "\n", 49))
    done = place.ctl("train", "--candles", str(tmp_path), "--symbols", "btcusdt")
    assert done.returncode == 1
    assert re.search(rf"Error: {path}:\d+: 'x.*' is no candle", done.stderr)
    done = place.ctl("train", "--candles", str(tmp_path))
    assert re.search(r"BTCUSDT-1m\.csv:\d+|no candles of ETH/USDT", done.stderr)


@pytest.mark.long
def test_a_folder_that_cannot_be_written_is_told(place: Place) -> None:
    place.data.mkdir()
    (place.data / "models").write_text("a file")
    done = place.ctl("train", "--days", "2")
    assert done.returncode == 1
    assert "Error: " in done.stderr
    assert str(place.data / "models") in done.stderr


def test_interrupted_it_leaves_nothing(place: Place, following: Following) -> None:
    process = following("train", "--days", "60")
    assert process.stderr is not None
    lines: list[str] = []
    wait_for(lambda: lines.append(process.stderr.readline()) or "features" in lines[-1], "it to begin")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert not list((place.data).glob(f"models/*/*/{MODEL}"))
