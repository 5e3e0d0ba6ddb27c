"""Symbols have one form each inside and on disk; the clocks mean what they say."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from levibot.clock import boot_id, boot_ns, boot_seconds, wall_ms
from levibot.errors import UnknownSymbolError
from levibot.symbols import is_canonical, on_disk, resolve

CONFIGURED = ["BTC/USDT", "BTC/USDT:USDT", "ETH/USDT", "1000PEPE/USDT"]
ASSETS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=20)
SYMBOLS = st.one_of(
    st.builds("{}/{}".format, ASSETS, ASSETS), st.builds("{}/{}:{}".format, ASSETS, ASSETS, ASSETS)
)


@given(symbol=SYMBOLS)
def test_canonical_symbols_are_canonical_and_safe_on_disk(symbol: str) -> None:
    assert is_canonical(symbol)
    assert re.fullmatch(r"[A-Z0-9]+-[A-Z0-9]+(_[A-Z0-9]+)?", on_disk(symbol))


@pytest.mark.parametrize("text", ["", "BTC", "btc/usdt", "BTC-USDT", "BTC/USDT/X", "../x", "BTC/USDT\n", "BTC/"])
def test_anything_else_is_not_canonical(text: str) -> None:
    assert not is_canonical(text)


@given(first=SYMBOLS, second=SYMBOLS)
def test_two_symbols_never_share_a_name_on_disk(first: str, second: str) -> None:
    assume(first != second)
    assert on_disk(first) != on_disk(second)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("BTC/USDT", "BTC/USDT"),
        ("btc-usdt", "BTC/USDT"),
        (" BTCUSDT ", "BTC/USDT"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT"),
        ("BTC-USDT_USDT", "BTC/USDT:USDT"),
        ("btcusdtusdt", "BTC/USDT:USDT"),
        ("1000pepeusdt", "1000PEPE/USDT"),
    ],
)
def test_what_users_write_is_resolved_among_the_configured(written: str, meant: str) -> None:
    assert resolve(written, CONFIGURED) == meant


@given(symbol=SYMBOLS)
def test_each_written_form_of_a_lone_symbol_means_it(symbol: str) -> None:
    for written in (symbol, symbol.lower(), on_disk(symbol), re.sub("[/:]", "", symbol)):
        assert resolve(written, [symbol]) == symbol


def test_an_unknown_symbol_is_refused_with_the_nearest_and_all_that_are_known() -> None:
    with pytest.raises(UnknownSymbolError, match=r"'BTCUSD'; did you mean BTC/USDT\?.*BTC/USDT.*ETH/USDT"):
        resolve("BTCUSD", CONFIGURED)
    with pytest.raises(UnknownSymbolError, match=r"\(configured: none\)"):
        resolve("BTC/USDT", [])
    with pytest.raises(UnknownSymbolError, match=r"'btc'; did you mean BTC/USDT\?"):
        resolve("btc", ["ETH/USDT", "BTC/USDT"])
    with pytest.raises(UnknownSymbolError, match=r"'DOGE/USDT' \(configured"):  # no other coin is suggested
        resolve("DOGE/USDT", ["ETH/USDT", "SOL/USDT"])


def test_a_written_form_that_two_symbols_share_is_refused() -> None:
    with pytest.raises(UnknownSymbolError):
        resolve("ABCDE", ["AB/CDE", "ABC/DE"])


def test_the_boot_clock_only_grows_and_its_units_agree() -> None:
    before, seconds, after = boot_ns(), boot_seconds(), boot_ns()
    assert before <= seconds * 1e9 + 1000
    assert seconds * 1e9 <= after + 1000


def test_the_wall_clock_is_unix_time_in_milliseconds() -> None:
    before = time.time()
    now = wall_ms()
    assert int(before * 1000) <= now <= int(time.time() * 1000)


def test_the_boot_has_one_identity() -> None:
    assert boot_id() == boot_id()
    assert re.fullmatch(r"[0-9a-f-]{36}", boot_id())
