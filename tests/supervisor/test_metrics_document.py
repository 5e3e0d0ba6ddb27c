"""docs/metrics.md lists what the collector makes, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from levibot.observability.metrics import Family
from levibot.supervisor.altdata_metrics import ALTDATA_FAMILIES
from levibot.supervisor.daemon_metrics import DAEMON_FAMILIES
from levibot.supervisor.equity_metrics import EQUITY_FAMILIES
from levibot.supervisor.feed_metrics import FEED_FAMILIES
from levibot.supervisor.supervisor_metrics import SUPERVISOR_FAMILIES
from levibot.supervisor.trading_metrics import TRADING_FAMILIES
from levibot.supervisor.worker_metrics import ENGINE_FAMILIES, INFERENCE_FAMILIES, WORKER_FAMILIES
from tests.prometheus import ROOT

DOCUMENT = ROOT / "docs" / "metrics.md"


def rows(families: Iterable[Family[Any]], *labels: str) -> list[str]:
    """What the document should say of these families; to be copied into it when it does not."""
    return [
        f"| `{family.name}` | {family.kind} | {_code(*labels, *family.labels)} | {family.text} |"
        for family in families
    ]


def test_the_document_lists_every_metric_and_invents_none() -> None:
    expected = [
        *rows(DAEMON_FAMILIES),
        *rows(SUPERVISOR_FAMILIES),
        *rows(EQUITY_FAMILIES),
        *rows(FEED_FAMILIES),
        *rows(ALTDATA_FAMILIES),
        *rows(TRADING_FAMILIES),
        *rows(WORKER_FAMILIES, "worker", "symbol"),
        *rows(ENGINE_FAMILIES, "symbol"),
        *rows(INFERENCE_FAMILIES, "worker"),
    ]
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("| `levi_")] == expected


def test_the_document_tells_the_bounds_of_histograms() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    families = (*DAEMON_FAMILIES, *SUPERVISOR_FAMILIES, *FEED_FAMILIES, *TRADING_FAMILIES, *ENGINE_FAMILIES)
    bounds = {family.bounds for family in families if family.kind == "histogram"}
    for each in bounds:
        assert ", ".join(f"{bound:g}" for bound in each) in text


def _code(*labels: str) -> str:
    return ", ".join(f"`{label}`" for label in labels)
