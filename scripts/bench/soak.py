"""A soak with sudden deaths: 30 minutes and a kill every 2 of them, or a short one with kills every 15 s."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.bench.figures import LONG, Figure
from scripts.bench.live import open_daemon
from scripts.soak.verdict import NOISE_BYTES, Limits, judge
from scripts.soak.watch import Watch
from scripts.soak_test import ENGINES, OWN, TICK_HZ

SECONDS, KILL_EVERY = (1800.0, 120.0) if LONG else (180.0, 15.0)


def rows() -> Iterator[Figure]:
    """Figures of one run."""
    with open_daemon(ENGINES, TICK_HZ, **OWN) as daemon:
        daemon.start()
        daemon.wait_until_ready()
        watch = Watch(daemon.client, KILL_EVERY)
        watch.run(SECONDS)
    limits = Limits()
    missed = [f"{v.what}: {v.value}" for v in judge(watch, limits) if not v.met]
    note = f"{ENGINES} engines × {TICK_HZ:g} Hz for {SECONDS / 60:g} min, killed: {', '.join(watch.killed)}"
    worst = min(track.uptime for track in watch.engines.values())
    yield Figure("soak: uptime of the worst engine", (worst * 100,), "%", limits.uptime * 100, "at least", note)
    grown = [growth[1] for track in watch.tracks.values() if (growth := track.growth) is not None]
    if grown:  # a short run sees mostly warm-up: what counts as flat grows with the length, from the noise on
        most = max(NOISE_BYTES, limits.slope_bytes_per_minute * SECONDS / 60)
        name = "soak: unique memory that one process gained after its warm-up"
        yield Figure(name, (max(grown) / 1e6,), "MB", most / 1e6, beside=note)
    errors = sum(track.errors for track in watch.tracks.values())
    of_kills = sum(track.explained_errors for track in watch.tracks.values())
    beside = "; ".join(missed) or f"{errors} errors in all, {of_kills} of them within seconds of a kill"
    yield Figure("soak: errors that follow no kill", (float(errors - of_kills),), "", 0, beside=beside)
