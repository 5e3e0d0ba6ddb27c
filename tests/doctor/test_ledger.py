"""What `doctor --ledger` advises."""

from __future__ import annotations

from pathlib import Path

import pytest

from levibot.doctor.ledger import examine_ledgers
from levibot.reports.sources import read_records
from tests.execution.examples import SYMBOL, entry
from tests.reports.account import Account, spoil


@pytest.mark.parametrize(
    ("which", "remedy", "told"),
    [
        ("ledgers/BTC-USDT.sqlite", "rebuilds it from the broker's books", f"{SYMBOL} is shown as"),
        ("broker.sqlite", "levibotctl restore FILE", "what the engines' ledgers know"),
    ],
)
def test_what_is_damaged_is_named_with_what_brings_it_back(
    tmp_path: Path, which: str, remedy: str, told: str
) -> None:
    account = Account(tmp_path)
    account.price(100)
    account.order(entry("1"))
    account.settle()
    account.close()
    assert {finding.level for finding in examine_ledgers(tmp_path)} == {"ok"}
    spoil(tmp_path / which)
    found = [finding for finding in examine_ledgers(tmp_path) if finding.check == Path(which).name]
    assert {finding.level for finding in found} == {"fail"}
    assert all(remedy in finding.remedy for finding in found)
    records = read_records(tmp_path)
    assert records.histories[SYMBOL].tally.position.quantity == 1
    (trouble,) = records.troubles
    assert told in trouble
    assert which in trouble
    assert "levibotctl" in trouble
    assert not records.unknown
