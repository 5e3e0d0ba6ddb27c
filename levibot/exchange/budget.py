"""One rate limit for an account and its address, kept by every process in its own fixed share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

from levibot.clock import boot_ns
from levibot.config_market import ExchangeConfig
from levibot.errors import BudgetError, CoolDownError
from levibot.exchange.bucket_file import BucketFile, BucketState
from levibot.exchange.cooldown import CoolDown

Role = Literal["feed", "broker", "download"]
WeightClass = Literal["data", "order", "protective"]

_BURST = 1 / 6  # of a minute's weight may be sent at once
_MINUTE_NS = 60_000_000_000
_ORDER_PATIENCE_S = 1.0  # of an order that opens risk: what it was decided on does not count for longer
_NS = 1_000_000_000


class Allowance(NamedTuple):
    """Weight a minute of one process."""

    ordinary: float
    protective: float  # kept for cancels, exits and reconciliation

    @classmethod
    def of(cls, config: ExchangeConfig, role: Role, exchange_per_minute: float) -> Allowance:
        """The share of `role`; shares are fixed, so that no process has to ask another.

        Parameters
        ----------
        config
            Section ``[exchange]``.
        exchange_per_minute
            Weight a minute that the exchange allows, where the configuration says nothing.
        """
        whole = config.requests_per_minute or exchange_per_minute
        if role == "feed":
            return cls(whole * config.feed_share, 0.0)
        if role == "download":
            return cls(whole * config.download_share, 0.0)
        rest = 1 - config.feed_share - config.download_share - config.reserved_share
        return cls(whole * rest, whole * config.reserved_share)


class Bucket:
    """A token bucket that lets through at most `per_minute` in any 60 seconds.

    A sixth of it may go at once; the rest comes back evenly, so that burst and refill together stay within
    the limit wherever the minute begins. A request heavier than the burst waits for a full bucket.

    Parameters
    ----------
    per_minute
        Weight.
    now_ns
        Time of its start, when it is full.
    """

    def __init__(self, per_minute: float, now_ns: int) -> None:
        self._burst = per_minute * _BURST
        self._per_ns = per_minute * (1 - _BURST) / _MINUTE_NS
        self._tokens = self._burst
        self._at_ns = now_ns

    def wait_s(self, weight: float, now_ns: int) -> float:
        """Seconds until `weight` may be taken; 0: now."""
        self._refill(now_ns)
        missing = min(weight, self._burst) - self._tokens
        return max(0.0, missing / self._per_ns / _NS)

    def take(self, weight: float, now_ns: int) -> bool:
        """Take `weight` if there is enough."""
        self._refill(now_ns)
        if self._tokens < min(weight, self._burst) - 1e-9:
            return False
        self._tokens -= weight
        return True

    @property
    def state(self) -> BucketState:
        """What is in it, and since when."""
        return BucketState(self._tokens, self._at_ns)

    def restore(self, state: BucketState) -> None:
        """Go on from what a former process of the same boot has left."""
        self._tokens, self._at_ns = min(self._burst, state.tokens), min(self._at_ns, state.at_ns)

    def _refill(self, now_ns: int) -> None:
        self._tokens = min(self._burst, self._tokens + (now_ns - self._at_ns) * self._per_ns)
        self._at_ns = now_ns


class Budget:
    """What one process may send to the exchange, and when.

    Parameters
    ----------
    allowance
        Its share.
    cool_down
        Obeyed by every process alike.
    patience_s
        Seconds that a request waits for its turn, at most.
    file
        Where what is left is kept over a restart; None: nowhere.
    now_ns
        Clock for ages and waits.
    """

    def __init__(
        self,
        allowance: Allowance,
        cool_down: CoolDown,
        patience_s: float = 30.0,
        file: BucketFile | None = None,
        now_ns: Callable[[], int] = boot_ns,
    ) -> None:
        self.allowance = allowance
        self.cool_down = cool_down
        self.sent = 0  # requests, ever
        self._patience_s = patience_s
        self._now_ns = now_ns
        self._ordinary = Bucket(allowance.ordinary, now_ns())
        self._protective = Bucket(allowance.protective, now_ns()) if allowance.protective else None
        self._buckets = [self._ordinary, *([self._protective] if self._protective else [])]
        self._file = file
        for bucket, state in zip(self._buckets, (file and file.load(len(self._buckets))) or (), strict=False):
            bucket.restore(state)
        self._turns = {"ordinary": asyncio.Lock(), "protective": asyncio.Lock()}  # first come, first served
        self._recent: deque[tuple[int, float]] = deque()

    @property
    def used_last_minute(self) -> float:
        """Weight sent in the last 60 seconds."""
        self._forget()
        return sum(weight for _, weight in self._recent)

    @property
    def is_used_up(self) -> bool:
        """Whether a request would have to wait for its turn now, though nobody forbids it."""
        return self._ordinary.wait_s(1.0, self._now_ns()) > 0

    async def take(self, weight: float, weight_class: WeightClass) -> None:
        """Wait until a request of `weight` may be sent.

        Raises
        ------
        CoolDownError
            If the exchange wants to be left alone.
        BudgetError
            If the turn did not come in time.
        """
        self.check_cool_down()
        if weight_class == "protective" and self._protective is not None:
            if not self._ordinary.take(weight, self._now_ns()):
                await self._wait(self._protective, weight, self._turns["protective"], self._patience_s)
        else:
            patience_s = self._patience_s if weight_class == "data" else min(_ORDER_PATIENCE_S, self._patience_s)
            await self._wait(self._ordinary, weight, self._turns["ordinary"], patience_s)
        if self._file is not None:
            self._file.save([bucket.state for bucket in self._buckets])
        self.check_cool_down()  # it may have begun while we waited
        self.sent += 1
        self._recent.append((self._now_ns(), weight))
        self._forget()

    def check_cool_down(self) -> None:
        """Raise `CoolDownError` while nothing may be sent."""
        remaining_s = self.cool_down.remaining_s()
        if remaining_s > 0:
            raise CoolDownError(self.cool_down.reason, remaining_s)

    async def _wait(self, bucket: Bucket, weight: float, turn: asyncio.Lock, patience_s: float) -> None:
        try:
            async with asyncio.timeout(patience_s), turn:
                while not bucket.take(weight, self._now_ns()):
                    await asyncio.sleep(bucket.wait_s(weight, self._now_ns()))
        except TimeoutError:
            raise BudgetError(
                f"no turn within {patience_s:.0f} s: this process may send requests of weight "
                f"{self.allowance.ordinary:.0f} a minute; raise [exchange] requests_per_minute or its share if "
                "the exchange allows it"
            ) from None

    def _forget(self) -> None:
        since_ns = self._now_ns() - _MINUTE_NS
        while self._recent and self._recent[0][0] < since_ns:
            self._recent.popleft()
