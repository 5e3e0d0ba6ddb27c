"""What a person is told before real money is traded."""

from __future__ import annotations

from levibot.config import Config
from levibot.exchange.private_quirks import private_quirks_of

_SOURCES = {
    "environment": "the environment",
    "systemd": "the systemd credential `exchange`",
}


def live_notice(config: Config) -> str:
    """What will be traded with, and how much can be lost where it is limited; empty for paper money."""
    if config.mode != "live":
        return ""
    risk, live, quote = config.risk, config.live, config.symbols[0].partition("/")[2]
    place = f"{config.exchange_id}{' (its test network)' if config.exchange.sandbox else ''}"
    capital = f"at most {live.capital} {quote}" if live.capital is not None else f"the whole {quote} balance"
    largest = f", {risk.max_order_notional:g} {quote} an entry at most" if risk.max_order_notional else ""
    return "\n".join(
        (
            f"REAL MONEY on {place}, account {config.exchange.account!r}, with the key from "
            f"{_SOURCES.get(live.credentials, live.credentials_file)}",
            f"  symbols    {', '.join(config.symbols)}",
            f"  capital    {capital}",
            f"  position   {risk.position_cap:.1%} of equity at most, {risk.max_positions} at one time{largest}",
            f"  exposure   {risk.gross_exposure:.0%} gross, {risk.net_exposure:.0%} net, "
            f"{risk.correlated_exposure:.0%} in markets that move together",
            f"  daily stop at a loss of {risk.daily_loss:.1%}; {risk.symbol_daily_loss:.1%} for one symbol",
            f"  stops      {_stops(config)}",
        )
    )


def nothing_can_be_opened(config: Config) -> str:
    """Why no entry will ever be made, as far as the settings tell; empty if they do not forbid it."""
    forbids = config.mode == "live" and not config.live.allow_emulated_stops
    if not forbids or private_quirks_of(config.exchange_id).stop_type is not None:
        return ""
    return (
        f"{config.exchange_id} keeps no stops: none of the symbols will be entered, unless "
        "live.allow_emulated_stops = true lets the broker watch them"
    )


def _stops(config: Config) -> str:
    if nothing := nothing_can_be_opened(config):
        return f"NOTHING WILL BE OPENED: {nothing}"
    if config.live.allow_emulated_stops:
        return "kept by the broker where the exchange keeps none: they do nothing while it is down"
    return "on the exchange; markets where it keeps none are not entered"
