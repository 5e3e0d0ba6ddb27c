"""The faults of live market data as a table: what is armed at the exchange, and what must follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

BTC = "BTC/USDT"
_STREAMS: Mapping[str, Mapping[str, str]] = {
    "binance": {"trades": "STREAM *@trade", "depth": "STREAM *@depth*", "quotes": "STREAM *@bookTicker"},
    "mexc": {"trades": "STREAM *deals*", "depth": "STREAM *depth*", "quotes": "STREAM *bookTicker*"},
}


@dataclass(frozen=True)
class Row:
    """One fault.

    Parameters
    ----------
    name
        What happens, in words.
    arms
        Parameters of each `Fault`; ``{trades}``, ``{depth}`` and ``{quotes}`` in `on` are the dialect's streams.
    drops
        Whether all connections are torn down once the faults are armed, so that they meet the redial.
    lasts_s
        Seconds after which the faults are lifted; None: they pass by themselves, or end with the connection.
    interrupts
        Whether data stop, are lost or cannot be trusted, so that the feed has to notice and recover.
    from_lifting
        Whether nothing can be fresh before the fault is lifted, so that the time counts from there.
    needs_ids
        Whether only ids of trades show it: without them it is found when the exchange's own bar of the minute is
        compared, in the market's time.
    """

    name: str
    arms: tuple[Mapping[str, Any], ...]
    drops: bool = False
    lasts_s: float | None = None
    interrupts: bool = True
    from_lifting: bool = False
    needs_ids: bool = False

    def faults(self, dialect: Literal["binance", "mexc"]) -> list[dict[str, Any]]:
        """Parameters of the faults at an exchange of this dialect."""
        return [{**arm, "on": str(arm.get("on", "*")).format(**_STREAMS[dialect])} for arm in self.arms]


def _arm(kind: str, on: str = "*", **parameters: Any) -> Mapping[str, Any]:
    return {"kind": kind, "on": on, **parameters}


def _rest(name: str, kind: str, times: int = 2, **parameters: Any) -> Row:
    """A fault of requests, met where they matter: while a new connection catches up on what it missed."""
    arm = _arm(kind, "GET *", times=times, **parameters)
    return Row(f"reconnect, and REST {name}", (arm,), drops=True)


ROWS = (
    Row("connection closed", (_arm("close", "STREAM *", times=1),)),
    Row("connection torn down: silent reconnect", (), drops=True),
    Row("port refused for 3 s", (_arm("refuse"),), lasts_s=3.0, from_lifting=True),
    Row("silent, no pong", (_arm("silent", only_open=True), _arm("no_pong", "PING", only_open=True))),
    Row("pong but no data", (_arm("silent", only_open=True),)),
    Row("pong but no data, one symbol", (_arm("silent", only_open=True, symbol=BTC),)),
    Row("trades silent, the rest flows", (_arm("silent", "{trades}", only_open=True, symbol=BTC),)),
    Row("book silent, trades flow", (_arm("silent", "{depth}", only_open=True, symbol=BTC),)),
    Row("malformed frame", (_arm("malformed", "{trades}", times=1),)),
    Row("handshake refused twice", (_arm("status", "DIAL *", times=2),), drops=True),
    Row("subscription refused twice", (_arm("refuse_subscription", times=2),), drops=True),
    Row("subscription ignored", (_arm("ignore_subscription", times=1),), drops=True),
    Row(
        "accepted, then dropped, for 4 s",
        (_arm("accept_then_drop", "DIAL *"),),
        drops=True,
        lasts_s=4.0,
        from_lifting=True,
    ),
    Row("frames twice", (_arm("duplicate", "STREAM *", every=2),), lasts_s=4.0, interrupts=False),
    Row("trades out of order", (_arm("reorder", "{trades}", every=3),), lasts_s=4.0, interrupts=False),
    Row(
        "one frame of trades lost", (_arm("drop_frame", "{trades}", skip=1, times=1, symbol=BTC),), needs_ids=True
    ),
    Row("gap in the depth", (_arm("drop_frame", "{depth}", times=1, symbol=BTC),)),
    Row("crossed book", (_arm("crossed_book", "{depth}", times=1, symbol=BTC),)),
    _rest("429, Retry-After 2 s", "status", 1, status=429, retry_after=2),
    _rest("418, Retry-After 4 s", "status", 1, status=418, retry_after=4),
    _rest("503 twice", "status", status=503),
    _rest("hangs", "hang", 1),
    _rest("reset twice", "reset"),
    _rest("answer lost twice", "lost_answer"),
    _rest("HTML with 200", "html"),
    _rest("truncated twice", "truncated"),
    _rest("bad JSON twice", "bad_json"),
    _rest("rows of null twice", "null_rows"),
    _rest("1.5 s late", "delay", 2, delay_ms=1500),
    Row("symbol halted for 6 s", (_arm("halted", symbol=BTC),), lasts_s=6.0, interrupts=False),
    Row("clock skewed by 3 s", (_arm("clock_skew", skew_ms=3_000),), lasts_s=4.0, interrupts=False),
)
