"""What a promotion takes from the configuration and the user's account."""

from __future__ import annotations

import os

from levibot.api.caller import user_name
from levibot.clock import wall_ms
from levibot.config import Config
from levibot.ml.contest import Verdict
from levibot.ml.manifest import Manifest
from levibot.ml.promotion import Limits


def limits(config: Config) -> Limits:
    """What the configuration demands of a challenger."""
    return Limits(config.training.promotion_margin, config.training.calibration_error)


def market_ms(config: Config) -> int | None:
    """Time of the market that models serve; None where it is not the wall clock's."""
    return None if config.feed.is_artificial else wall_ms()


def user() -> str:
    """Who asks."""
    return user_name(os.getuid())


def noted(config: Config, manifest: Manifest, verdict: Verdict) -> Verdict:
    """The verdict, and a note where engines ask a model about markets that it has never seen."""
    if manifest.name not in (config.model_name, config.tft_model_name):
        return verdict
    unseen = [name for name in config.symbols if config.asks_model(name) and name not in manifest.symbols]
    if not unseen:
        return verdict
    note = f"not trained on {', '.join(unseen)}, which the configuration trades with it"
    return verdict._replace(notes=[*verdict.notes, note])
