"""What a key may do, and money that comes and goes without a trade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from levibot.errors import ConfigError, RetryError, UnfitKeyError
from levibot.exchange.credentials import Credentials
from levibot.exchange.private import PrivateTrading
from levibot.exchange.trading import Transfer
from tests.exchange.accounts import Account as ExchangeAccount
from tests.exchange.settings import KEY
from tests.exchange_adapter.trading import Account, open_trading

RIGHTS = {"can_trade": True, "can_withdraw": False, "tied_to_address": True}


@pytest.fixture(autouse=True)
def rights(account: Account) -> ExchangeAccount:
    """The exchange's account, which may do what it should at the start of each test."""
    owner = account.exchange.exchange.accounts[0]
    for name, allowed in RIGHTS.items():
        setattr(owner, name, allowed)
    return owner


def test_a_key_that_trades_and_does_not_withdraw_is_taken(account: Account) -> None:
    told = account.play(lambda trading: trading.examine_key())
    if account.exchange.dialect == "binance":
        assert told == []
    else:
        assert len(told) == 1
        assert "make sure there that this one cannot withdraw" in told[0]
    assert not any(KEY in text for text in told)


def test_a_key_that_may_withdraw_is_refused_where_the_exchange_tells(
    account: Account, rights: ExchangeAccount
) -> None:
    rights.can_withdraw = True
    if account.exchange.dialect == "binance":
        with pytest.raises(UnfitKeyError, match=r"may withdraw.*take that right from it"):
            account.play(lambda trading: trading.examine_key())
    else:
        assert account.play(lambda trading: trading.examine_key())


def test_a_key_that_may_not_trade_is_refused(account: Account, rights: ExchangeAccount) -> None:
    rights.can_trade = False
    with pytest.raises(UnfitKeyError, match="may not trade"):
        account.play(lambda trading: trading.examine_key())


def test_a_key_for_any_address_is_taken_with_a_warning_where_the_exchange_tells(
    account: Account, rights: ExchangeAccount
) -> None:
    rights.tied_to_address = False
    told = account.play(lambda trading: trading.examine_key())
    assert len(told) == 1
    assert ("works from any address" in told[0]) is (account.exchange.dialect == "binance")


@pytest.mark.parametrize(
    "wrong", [Credentials("an0ther-k3y", "an0ther-s3cret"), Credentials(KEY, "an0ther-s3cret")]
)
def test_a_key_that_the_exchange_does_not_know_is_refused_by_name(account: Account, wrong: Credentials) -> None:
    async def act() -> None:
        async with open_trading(account.exchange, account.state_dir, wrong) as trading:
            await trading.examine_key()

    with pytest.raises(UnfitKeyError, match=f"does not accept key {wrong.fingerprint}") as refused:
        asyncio.run(act())
    assert wrong.secret not in str(refused.value)
    assert wrong.key not in str(refused.value)


@pytest.mark.parametrize("kind", ["null_rows", "html", "lost_answer"])
def test_rights_that_are_not_told_are_neither_there_nor_missing(account: Account, kind: str) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        for on in ("GET /sapi/v1/account/apiRestrictions", "GET /api/v3/account"):
            account.exchange.arm(kind, on, times=1)  # type: ignore[arg-type]
        with pytest.raises(RetryError):
            await trading.examine_key()

    account.play(scenario)


def test_an_exchange_that_wants_a_password_says_so(account: Account) -> None:
    async def scenario(trading: PrivateTrading) -> None:
        session = trading._session
        original = session.sibling

        def wanting(*listeners: Callable[..., None]) -> object:
            made = original(*listeners)
            made.requiredCredentials = {**made.requiredCredentials, "password": True}
            return made

        session.sibling = wanting  # type: ignore[method-assign]
        other = PrivateTrading(session, Credentials(KEY, "secret"))
        with pytest.raises(ConfigError, match="wants a password with the key; add it, in LEVIBOT_API_PASSWORD"):
            await other.open()

    account.play(scenario)


def moved(before: list[Transfer], after: list[Transfer]) -> list[tuple[str, Decimal]]:
    known = {row.reference for row in before}
    return [(row.asset, row.amount) for row in after if row.reference not in known]


def test_deposits_and_withdrawals_are_told_when_they_count(account: Account, rights: ExchangeAccount) -> None:
    def move(asset: str, amount: str, fee: str = "0", *, done: bool = True) -> None:
        account.exchange.run(
            lambda exchange: rights.transfer(
                asset, Decimal(amount), exchange.clock.server_ms(), fee=Decimal(fee), done=done
            )
        )

    async def scenario(trading: PrivateTrading) -> None:
        since_ms = trading.exchange_ms() - 5000
        before, money = await trading.transfers(since_ms), await trading.balances()
        move("USDT", "1000.123456789012345678")
        move("USDT", "-250.5", "1.000000000000000001")
        move("BTC", "0.5", done=False)
        move("BTC", "-0.25", "0.0005", done=False)
        told = await trading.transfers(since_ms)
        assert sorted(moved(before, told)) == [
            ("BTC", Decimal("-0.2505")),
            ("USDT", Decimal("-251.500000000000000001")),
            ("USDT", Decimal("1000.123456789012345678")),
        ]
        after = await trading.balances()
        for asset in ("BTC", "USDT"):
            change = sum(amount for name, amount in moved(before, told) if name == asset)
            assert after[asset].total - money[asset].total == change
        account.exchange.run(lambda _: rights.finish(rights.transfers[-2]))
        assert ("BTC", Decimal("0.5")) in moved(before, await trading.transfers(since_ms))
        assert len({row.reference for row in told}) == len(told)
        half_a_year_ms = 183 * 86_400_000
        longer = await trading.transfers(since_ms - half_a_year_ms)
        assert len({row.reference for row in longer}) == len(longer) > len(told), "asked for in parts, told once"
        assert await trading.transfers(trading.exchange_ms() + 60_000) == []

    account.play(scenario)
