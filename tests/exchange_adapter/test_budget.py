"""The share of the rate limit: never exceeded in any minute, first come first served, a reserve that holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levibot.clock import boot_ns
from levibot.config_market import ExchangeConfig
from levibot.errors import BudgetError, CoolDownError, LockedStoreError
from levibot.exchange.bucket_file import BucketFile
from levibot.exchange.budget import Allowance, Bucket, Budget, WeightClass
from levibot.exchange.cooldown import CoolDown

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


@given(
    per_minute=st.floats(30, 6000),
    requests=st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 5)), min_size=1, max_size=200),
)
def test_no_minute_ever_holds_more_than_the_limit(per_minute: float, requests: list[tuple[float, float]]) -> None:
    bucket = Bucket(per_minute, 0)
    now, sent = 0, []
    for pause_s, weight in requests:
        now += int(pause_s * SECOND)
        now += int(bucket.wait_s(weight, now) * SECOND) + 1
        assert bucket.take(weight, now)
        sent.append((now, weight))
    for start, _ in sent:
        assert sum(weight for at, weight in sent if start <= at < start + MINUTE) <= per_minute + 1e-6


def test_a_full_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = Bucket(600, 0)
    taken = sum(bucket.take(1, 0) for _ in range(200))
    assert taken == 100
    assert bucket.wait_s(1, 0) == pytest.approx(1 / (500 / 60))
    assert bucket.wait_s(1, SECOND) == 0


def test_what_is_heavier_than_the_burst_waits_for_a_full_bucket_and_is_paid_back() -> None:
    bucket = Bucket(60, 0)  # a burst of 10
    assert bucket.take(25, 0)
    assert bucket.wait_s(1, 0) == pytest.approx(16 / (50 / 60))
    assert not bucket.take(1, 15 * SECOND)


def test_the_shares_of_all_processes_are_the_whole() -> None:
    config = ExchangeConfig(feed_share=0.3, download_share=0.1, reserved_share=0.25)
    parts = [Allowance.of(config, role, 1200) for role in ("feed", "broker", "download")]
    assert sum(part.ordinary + part.protective for part in parts) == pytest.approx(1200)
    assert parts[1].protective == pytest.approx(300)
    assert Allowance.of(ExchangeConfig(requests_per_minute=100), "feed", 1200).ordinary == pytest.approx(40)


def budget(
    path: Path,
    ordinary: float,
    protective: float = 0.0,
    patience_s: float = 0.05,
    now_ns: Callable[[], int] = boot_ns,
) -> Budget:
    return Budget(Allowance(ordinary, protective), CoolDown(path / "cool.json"), patience_s, None, now_ns)


def test_orders_never_use_up_what_is_kept_for_exits(tmp_path: Path) -> None:
    async def scenario() -> None:
        share = budget(tmp_path, ordinary=60, protective=60, now_ns=lambda: MINUTE)
        for _ in range(10):
            await share.take(1, "order")
        with pytest.raises(BudgetError, match="60 a minute"):
            await share.take(1, "order")
        for _ in range(10):
            await share.take(1, "protective")
        assert share.used_last_minute == 20
        assert share.sent == 20

    asyncio.run(scenario())


def test_an_exit_first_uses_what_is_free(tmp_path: Path) -> None:
    async def scenario() -> None:
        share = budget(tmp_path, ordinary=60, protective=60)
        for _ in range(20):
            await share.take(1, "protective")

    asyncio.run(scenario())


def test_a_turn_comes_in_the_order_of_asking(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        share = budget(tmp_path, ordinary=6000, patience_s=10)
        order: list[int] = []

        async def ask(number: int, weight: float) -> None:
            await share.take(weight, "data")
            order.append(number)

        await ask(0, 1000)
        await asyncio.gather(ask(1, 30), ask(2, 1), ask(3, 20), ask(4, 1))
        return order

    assert asyncio.run(scenario()) == [0, 1, 2, 3, 4]


def test_nothing_is_sent_during_a_cool_down_not_even_exits(tmp_path: Path) -> None:
    async def scenario() -> None:
        share = budget(tmp_path, ordinary=60, protective=60)
        share.cool_down.begin(9, "429")
        for weight_class in ("data", "order", "protective"):
            with pytest.raises(CoolDownError, match="429; nothing is sent for 9 s") as raised:
                await share.take(1, weight_class)
            assert 8 < raised.value.wait_s <= 9
        assert share.sent == 0

    asyncio.run(scenario())


def test_a_cool_down_that_begins_while_one_waits_stops_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        share = budget(tmp_path, ordinary=6000, patience_s=10)
        await share.take(1000, "data")
        waiting = asyncio.create_task(share.take(10, "data"))
        await asyncio.sleep(0)
        share.cool_down.begin(9, "418")
        with pytest.raises(CoolDownError):
            await waiting

    asyncio.run(scenario())


def test_who_dies_and_starts_again_has_no_more_to_spend(tmp_path: Path) -> None:
    path = tmp_path / "state" / "budget.bin"

    def life(now_ns: int, boot: str = "boot-1") -> tuple[float, float]:
        """Spend all there is; how much that was, ordinary and protective."""

        async def scenario() -> tuple[float, float]:
            file = BucketFile(path, lambda: boot)
            try:
                cool_down = CoolDown(tmp_path / "cool.json")
                share = Budget(Allowance(60, 120), cool_down, 0.01, file, lambda: now_ns)
                spent = []
                for weight_class in ("order", "protective"):
                    before = share.sent
                    with pytest.raises(BudgetError):
                        await spend(share, weight_class)
                    spent.append(float(share.sent - before))
                return spent[0], spent[1]
            finally:
                file.close()

        return asyncio.run(scenario())

    async def spend(share: Budget, weight_class: WeightClass) -> None:
        while True:
            await share.take(1, weight_class)

    assert life(MINUTE) == (10, 20)
    assert life(MINUTE) == (0, 0)
    assert life(MINUTE + 6 * SECOND) == (5, 10)
    assert life(SECOND, "boot-2") == (10, 20)
    path.write_bytes(b"rubbish")
    assert life(2 * SECOND, "boot-2") == (10, 20)


def test_a_share_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    first = BucketFile(tmp_path / "budget.bin")
    with pytest.raises(LockedStoreError, match="another process uses this share"):
        BucketFile(tmp_path / "budget.bin")
    first.close()
    BucketFile(tmp_path / "budget.bin").close()
