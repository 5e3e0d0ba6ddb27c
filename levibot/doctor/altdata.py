"""Are the packages there that the sources of alternative data need?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from levibot.config_altdata import AltDataConfig
from levibot.doctor.finding import Finding, Patient

_CHECK = "alternative data"


def check_altdata(patient: Patient) -> Iterator[Finding]:
    """What is enabled, and what it lacks; no provider is asked."""
    config = patient.config.altdata
    asked = config.asked
    if not asked:
        yield Finding(_CHECK, "ok", "no source is asked")
        return
    missing = sorted({package for package in _packages(config) if find_spec(package) is None})
    if missing:
        found = f"{', '.join(missing)} is not installed: what needs it tells nothing"
        yield Finding(_CHECK, "fail", found, "pip install 'levibot[altdata]', or disable it under [altdata]")
    else:
        yield Finding(_CHECK, "ok", f"asked: {', '.join(asked)}; `levibotctl altdata` shows what they tell")


def _packages(config: AltDataConfig) -> Iterator[str]:
    if config.news.enabled:
        yield "feedparser"
        if config.news.scorer == "vader":
            yield "vaderSentiment"
    if config.dune.enabled:
        yield "dune_client"
