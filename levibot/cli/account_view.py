"""A broker with real money for people: how its books stand to the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

Entry = Mapping[str, Any]


def account_summary(broker: Entry) -> Text:
    """The account in a few words, for the line of the broker; empty where it trades on paper."""
    line, account = Text(), broker.get("account")
    if account is None:
        return line
    age_s = account["reconciled_s"]
    if age_s is None:
        line.append(" · not compared with the exchange yet", "yellow")
    else:
        line.append(f" · compared with the exchange {age_s:.0f} s ago")
    if account["foreign_orders"]:
        line.append(f" · {account['foreign_orders']} orders of others")
    if account["unknown_orders"]:
        line.append(f" · {account['unknown_orders']} orders whose answer was lost", "yellow")
    if account["frozen"]:
        line.append(f" · frozen: {', '.join(account['frozen'])}", "red")
    if account["drift"]:
        line.append(f" · short of {', '.join(account['drift'])}", "red")
    if account["trouble"]:
        line.append(f" · {account['trouble']}", "yellow")
    return line
