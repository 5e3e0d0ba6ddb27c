"""Loaded once by the forkserver, so that every worker starts with it in shared memory.

Nothing here may start a thread or open a socket. ccxt, polars and machine-learning libraries stay out:
only the process that needs one pays for it.
"""

from __future__ import annotations

import gc
import importlib
import signal

for module in ("entry", "engine", "feed", "broker", "inference", "tft", "altdata"):
    importlib.import_module(f"workers.{module}")

# systemd signals the whole control group, a closed terminal all that ran in it; only the supervisor
# decides when its workers end.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # held until now, see `forkserver.interrupts_held`

gc.collect()
gc.freeze()  # a collection in a worker would write to, and so copy, every page that is shared
