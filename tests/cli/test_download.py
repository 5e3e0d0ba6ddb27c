"""`levibotctl download`, as an operator types it, on the loopback exchange."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator

import polars
import pytest

from tests.cli.conftest import Place
from tests.deadline import wait_for
from tests.exchange.running import RunningExchange, running
from tests.exchange.settings import Settings
from tests.market.real_data import real_data

Following = Callable[..., subprocess.Popen[str]]
SPAN = ("--since", "2023-03-20", "--until", "2023-03-26T00:00:00Z")


@pytest.fixture(scope="module")
def recorded() -> Iterator[RunningExchange]:
    folder = real_data("candles", "binance-spot-2023-03")
    settings = Settings(dialect="mexc", symbols=("BTC/USDT",), replay=folder, history=100_000, speed=0.001)
    with running(settings) as exchange:
        yield exchange


@pytest.fixture
def exchange(recorded: RunningExchange, place: Place) -> Iterator[RunningExchange]:
    """One that the configuration points at; mexc is the default."""
    urls = "\n".join(f'"{key}" = "{url}"' for key, url in recorded.connection().urls.items())
    text = place.config.read_text().replace('"BTC/USDT", "ETH/USDT"', '"BTC/USDT"')
    place.config.write_text(f"{text}[exchange]\nrequests_per_minute = 30000\n[exchange.urls]\n{urls}\n")
    yield recorded
    recorded.clear()


def test_it_downloads_what_the_configuration_names_and_reports_the_gap(
    place: Place, exchange: RunningExchange
) -> None:
    done = place.ctl("download", *SPAN)
    assert done.returncode == 0, done.stderr
    folder = place.data / "candles" / "mexc"
    assert polars.read_parquet(folder / "BTC-USDT" / "*.parquet").height == 6 * 1440 - 80
    assert "gap: BTC/USDT from 2023-03-24T12:40Z, 80 min: the exchange had no bars when asked on 20" in done.stdout
    assert "8,560" in done.stdout
    assert place.data.stat().st_mode & 0o777 == 0o700, "as the daemon makes it"
    assert f"{folder}: set [feed] path to it" in done.stdout
    assert "BTC/USDT: 6 of 6 days" in done.stderr
    again = json.loads(place.ctl("download", *SPAN, "--json").stdout)
    asked = again["symbols"]["BTC/USDT"]["gaps"][0]["asked"]
    assert again["symbols"]["BTC/USDT"] == {
        "bars": 8560,
        "from": "2023-03-20T00:00Z",
        "until": "2023-03-26T00:00Z",
        "new_days": 0,
        "without_trades": 72,
        "gaps": [{"from": "2023-03-24T12:40Z", "minutes": 80, "asked": asked}],
        "error": None,
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_download_that_is_killed_leaves_whole_days_and_goes_on(
    place: Place, exchange: RunningExchange, following: Following, number: signal.Signals
) -> None:
    exchange.arm("hang", "GET /api/v3/klines", skip=10)
    process = following("download", *SPAN)
    folder = place.data / "candles" / "mexc" / "BTC-USDT"
    wait_for(lambda: len(list(folder.glob("*.parquet"))) >= 2, "two days", seconds=80)
    process.send_signal(number)
    assert process.wait(60) == (130 if number == signal.SIGINT else -number)
    kept = len(list(folder.glob("*.parquet")))
    exchange.clear()
    document = json.loads(place.ctl("download", *SPAN, "--json").stdout)
    assert document["symbols"]["BTC/USDT"]["new_days"] == 6 - kept
    assert document["symbols"]["BTC/USDT"]["bars"] == 8560
    assert not list(folder.glob("*.tmp"))


def test_mistakes_are_told_with_their_remedy(place: Place, exchange: RunningExchange) -> None:
    unknown = place.ctl("download", *SPAN, "--symbols", "NO/PE")
    assert (unknown.returncode, unknown.stderr) == (
        4,
        "Error: mexc has no market NO/PE; remove it from symbols\n",
    )
    later = place.ctl("download", "--since", "2023-03-20", "--until", "2023-03-19")
    assert later.returncode == 1
    assert "--since is not before --until" in later.stderr
    assert "Missing option '--since'" in place.ctl("download").stderr
    assert "2023-99-99" in place.ctl("download", "--since", "2023-99-99").stderr
    nowhere = place.ctl("download", *SPAN, "--exchange", "mexx")
    assert nowhere.returncode == 1
    assert "did you mean mexc" in nowhere.stderr


def test_an_exchange_that_is_down_is_an_error_of_one_line(place: Place, exchange: RunningExchange) -> None:
    exchange.arm("status", "GET /api/v3/exchangeInfo", status=503)
    down = place.ctl("download", *SPAN)
    assert down.returncode == 1
    assert down.stderr.startswith("Error: asking mexc for data: ExchangeNotAvailable: mexc GET http")
    assert "; look at this machine's network, [exchange.urls] and proxy" in down.stderr
    assert down.stderr.count("\n") == 1


def test_without_a_network_the_reason_is_told(place: Place) -> None:
    urls = '"spot.public" = "http://127.0.0.1:9"\n"spot.private" = "http://127.0.0.1:9"\n'
    place.config.write_text(f"{place.config.read_text()}[exchange.urls]\n{urls}")
    down = place.ctl("download", *SPAN)
    assert (down.returncode, down.stderr.count("\n")) == (1, 1)
    assert "connection refused by 127.0.0.1:9" in down.stderr


@pytest.mark.long
def test_again_asks_for_old_holes(place: Place, exchange: RunningExchange) -> None:
    place.ctl("download", *SPAN)
    assert (
        json.loads(place.ctl("download", *SPAN, "--again", "--json").stdout)["symbols"]["BTC/USDT"]["new_days"]
        == 1
    )
