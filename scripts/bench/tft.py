"""The Temporal Fusion Transformer as a pool process asks it: one sequence, and those of 15 engines at once.

The weights are not trained, which changes nothing about the time. Needs the extra `tft`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from levibot.ml.features import FEATURES, OPTIONAL_FEATURES
from levibot.ml.manifest import VOLATILITY, Label
from levibot.ml.tft.extra import absence
from levibot.ml.tft.forecast import STEPS, Scaling
from scripts.bench.figures import LONG, RUNS, Figure, percentile

_TARGET_MS = 40.0
_TARGET_BATCH = 15
_CALLS = 2000 if LONG else 200
_WARM = 20


def rows() -> Iterator[Figure]:
    """Time of a batch, from float64 features to what the probability is made of; onnxruntime alone beside it."""
    reason = absence()
    try:
        from levibot.ml.tft.model import Network, open_session
        from levibot.ml.tft.network import build, export
    except ImportError as error:
        reason = reason or f"no PyTorch ({error}); `make install-tft-cpu` brings it"
    if reason:
        print(f"  skipped: {reason}")
        return
    names = tuple(name for name in FEATURES if name not in OPTIONAL_FEATURES)
    content = export(build(names, hidden=16, heads=2, dropout=0.1, rate=1e-3), len(names))
    session = open_session(content)
    count = len(names)
    network = Network(session, Scaling(center=(0.0,) * count, scale=(1.0,) * count), names.index(VOLATILITY))
    label = Label(take_profit=0.008, stop_loss=0.008, horizon_bars=240)
    for batch in (1, _TARGET_BATCH, 64):
        sequences = np.abs(np.random.default_rng(1).normal(size=(batch, STEPS, count)))
        ours = partial(network.numbers, sequences, label)
        bare = partial(session.run, None, {"rows": sequences.astype(np.float32)})
        pairs = [(_p95(ours), _p95(bare)) for _ in range(RUNS)]
        yield Figure(
            f"TFT, {batch} sequences of {STEPS} bars, p95",
            tuple(pair[0] for pair in pairs),
            "ms",
            _TARGET_MS if batch <= _TARGET_BATCH else None,
            beside=f"onnxruntime alone, in one go: {percentile([pair[1] for pair in pairs], 0.5):.2f} ms",
        )


def _p95(call: Callable[[], object]) -> float:
    """Of many calls, in ms."""
    for _ in range(_WARM):
        call()
    taken = []
    for _ in range(_CALLS):
        begun = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begun) * 1e3)
    return percentile(taken, 0.95)
