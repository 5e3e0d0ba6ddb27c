"""Scores by words, with no server: VADER (Hutto and Gilbert 2014), taught the language of these markets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from levibot.altdata.sentiment.headlines import ABSENT, Headline
from levibot.altdata.sentiment.scorer import Keep
from levibot.altdata.source import Usage
from levibot.errors import AltDataError

# Valence, -4 to 4 as in VADER's own lexicon, of words that it lacks or that mean something else in these markets.
CRYPTO_VALENCE: Mapping[str, float] = {
    "accumulate": 1.2, "accumulates": 1.2, "accumulating": 1.2, "adoption": 1.5, "airdrop": 0.8,
    "approval": 2.2, "approve": 2.0, "approved": 2.2, "approves": 2.2, "arrested": -2.2, "ath": 2.2,
    "bankrupt": -3.2, "bankruptcy": -3.2, "bear": -1.5, "bearish": -2.3, "bleed": -1.8, "bleeds": -1.8,
    "breach": -2.4, "breached": -2.4, "breakdown": -1.6, "breakout": 1.8, "bull": 1.5, "bullish": 2.3,
    "capitulation": -2.2, "charged": -1.5, "charges": -1.5, "climb": 1.2, "climbs": 1.2, "collapse": -3.0,
    "collapsed": -3.0, "collapses": -3.0, "correction": -1.2, "crackdown": -2.0, "crash": -3.0, "crashed": -3.0,
    "crashes": -3.0, "crashing": -3.0, "decline": -1.4, "declines": -1.4, "delist": -2.2, "delisted": -2.2,
    "delisting": -2.2, "depeg": -2.8, "depegged": -2.8, "depegs": -2.8, "dip": -1.0, "dips": -1.0, "dovish": 1.2,
    "downgrade": -1.8, "downtrend": -1.6, "drain": -2.0, "drained": -2.4, "drains": -2.2, "drop": -1.4,
    "drops": -1.4, "dump": -2.0, "dumped": -2.0, "dumping": -2.0, "dumps": -2.0, "exploit": -2.6,
    "exploited": -2.8, "exploits": -2.6, "fall": -1.3, "falls": -1.3, "fell": -1.3, "fine": -1.2, "fined": -1.8,
    "fraud": -2.8, "fud": -1.6, "gain": 1.4, "gains": 1.4, "hack": -2.8, "hacked": -3.0, "hacker": -2.4,
    "hackers": -2.4, "hacks": -2.8, "halts": -1.5, "halving": 0.8, "hawkish": -1.2, "hodl": 0.8, "indicted": -2.4,
    "inflow": 1.4, "inflows": 1.4, "insolvency": -3.0, "insolvent": -3.0, "investigation": -1.6, "jump": 1.4,
    "jumps": 1.4, "lawsuit": -1.8, "launch": 0.9, "launches": 0.9, "liquidated": -2.0, "liquidation": -1.8,
    "liquidations": -1.8, "moon": 1.8, "mooning": 2.0, "outage": -1.8, "outflow": -1.4, "outflows": -1.4,
    "outperform": 1.6, "outperforms": 1.6, "partnership": 1.4, "partners": 1.0, "plummet": -2.6, "plummets": -2.6,
    "plunge": -2.6, "plunged": -2.6, "plunges": -2.6, "ponzi": -3.0, "probe": -1.3, "pump": 1.0, "pumps": 1.0,
    "rallied": 1.9, "rallies": 1.9, "rally": 1.9, "rebound": 1.5, "rebounds": 1.5, "record": 0.8, "recover": 1.2,
    "recovers": 1.2, "rejected": -1.8, "rejects": -1.6, "rise": 1.2, "rises": 1.2, "rug": -2.2, "rugpull": -3.2,
    "scam": -2.8, "selloff": -2.2, "sinks": -1.8, "skyrocket": 2.4, "skyrockets": 2.4, "slide": -1.4,
    "slides": -1.4, "slump": -2.0, "slumps": -2.0, "soar": 2.2, "soared": 2.2, "soars": 2.2, "stolen": -2.5,
    "sue": -1.6, "sued": -1.8, "sues": -1.8, "surge": 2.0, "surged": 2.0, "surges": 2.0, "surging": 2.0,
    "tank": -2.0, "tanks": -2.0, "tumble": -2.0, "tumbles": -2.0, "unlock": -0.6, "upgrade": 1.4, "uptrend": 1.6,
    "vulnerability": -1.8, "warns": -1.2, "whale": 0.0, "yield": 0.4,
}  # fmt: skip


class LexiconScorer:
    """VADER with `CRYPTO_VALENCE`: needs no server, and is as blunt as that."""

    name = "vader-crypto-1"

    def __init__(self) -> None:
        self.usage = Usage()
        self._analyser: Any = None

    async def score(self, headlines: Sequence[Headline], now_ms: int, keep: Keep) -> AltDataError | None:
        """The compound score of each."""
        try:  # thousands of headlines take a second
            keep(await asyncio.to_thread(self._compound, headlines))
        except ModuleNotFoundError:
            return AltDataError(ABSENT, "refused")
        return None

    async def close(self) -> None:
        """Nothing is held."""

    def _compound(self, headlines: Sequence[Headline]) -> dict[str, float]:
        analyser = self._analyser = self._analyser or _taught()
        return {h.digest: float(analyser.polarity_scores(h.text)["compound"]) for h in headlines}


def _taught() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()
    analyser.lexicon.update(CRYPTO_VALENCE)
    return analyser
