"""Strategies of a user, as a file of the configuration's folder, for an engine under test."""

from __future__ import annotations

STRATEGY = '''
from levibot.strategies.base import Signal

class ByPrice:
    """Long above 100, flat below, no opinion at 100."""
    warm_up_bars = 2

    def warm_up(self, bars):
        pass

    def on_bar(self, bar, position):
        return self._judge(bar.close)

    def _judge(self, price):
        if price == 13:
            raise RuntimeError("unlucky price")
        if price == 17:
            while True:
                pass
        return None if price == 100 else Signal("long" if price > 100 else "flat", 0.6, 0.5)

class ByTick(ByPrice):
    def on_tick(self, tick, position):
        return self._judge(tick.last)

class ByFlow(ByPrice):
    """Long after a trade above 100; its reason tells what it was given."""
    def __init__(self):
        self.told = []
        self.trades = []

    def on_trades(self, trades, position):
        self.trades += [int(trade.trade_id) for trade in trades.trades]
        once = self.trades == sorted(set(self.trades))
        self.told.append(f"{len(self.trades)} trades {'each once' if once else 'wrong'}")
        price = trades.trades[-1].price
        return Signal("long" if price > 100 else "flat", reason=" ".join(self.told[-4:]))

    def on_book(self, book, position):
        self.told.append(f"b{book.seq}")
        return None

    def on_correction(self, bar):
        self.told.append(f"c{bar.open_ms // 60000}={bar.close:g}")

class ByContext(ByPrice):
    """Long when the context of the minute before rose and the mood is good; its reason tells what it knows."""
    def __init__(self):
        self.context = {}
        self.mood = None

    def on_context(self, bar):
        self.context[bar.open_ms] = bar

    def on_altdata(self, data):
        self.mood = data.value

    def on_bar(self, bar, position):
        before = self.context.get(bar.open_ms - 60000)
        rose = before is not None and before.close > 100
        known = "none" if before is None else f"{before.close:g} bought {before.buy_volume:g} of {before.trades:g}"
        return Signal("long" if rose and self.mood else "flat", reason=f"{known} mood {self.mood}")
'''
