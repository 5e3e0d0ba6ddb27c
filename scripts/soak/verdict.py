"""Judging what was watched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from scripts.soak.watch import Document, Track, Watch

JUDGED_SECONDS = 600.0  # of an engine for each kill that it felt, from which on its uptime has no excuse
RETURN_SECONDS = 2.0  # that each such kill may cost in shorter runs, where one restart alone is over the limit
NOISE_BYTES = 500_000  # growth of one process that is no leak, whatever its slope


@dataclass(frozen=True)
class Limits:
    """What a soak must keep."""

    uptime: float = 0.999  # of each engine: ready / (ready + down)
    slope_bytes_per_minute: float = 50_000.0  # of unique memory
    errors: int = 0  # that follow no kill


@dataclass(frozen=True)
class Verdict:
    """One line of the judgement."""

    what: str
    value: str
    limit: str
    met: bool


def judge(watch: Watch, limits: Limits) -> list[Verdict]:
    """What was kept and what was not; each line names the worst case."""
    shared_kills = sum(track.kills for track in watch.tracks.values() if track.first["kind"] in ("feed", "broker"))
    return [
        Verdict("daemon", "; ".join(watch.problems) or "always there", "always there", not watch.problems),
        _restarts(watch.tracks),
        _errors(watch.tracks, limits),
        _uptime(watch.engines, shared_kills, limits),
        _memory(watch.tracks, limits),
        _end(watch.tracks),
    ]


def _restarts(tracks: Mapping[str, Track]) -> Verdict:
    unexplained = {name: max(0, track.restarts - track.kills) for name, track in tracks.items()}
    kills = sum(track.kills for track in tracks.values())
    value = f"{sum(unexplained.values())}{_named(unexplained)}; {kills} kills besides"
    return Verdict("restarts that nobody made", value, "0", not any(unexplained.values()))


def _errors(tracks: Mapping[str, Track], limits: Limits) -> Verdict:
    unexplained = {name: track.errors - track.explained_errors for name, track in tracks.items()}
    after_kills = sum(track.explained_errors for track in tracks.values())
    count = sum(unexplained.values())
    value = f"{count}{_named(unexplained)}; {after_kills} after kills"
    return Verdict("errors that follow no kill", value, f"≤ {limits.errors}", count <= limits.errors)


def _uptime(engines: Mapping[str, Track], shared_kills: int, limits: Limits) -> Verdict:
    what, limit = "uptime of the worst engine", f"≥ {limits.uptime:.1%}"
    if not engines:
        return Verdict(what, "no engine", limit, met=False)
    excused = {name: _excused_seconds(track, shared_kills) for name, track in engines.items()}
    missed = {
        name: track
        for name, track in engines.items()
        if track.down_seconds > (1 - limits.uptime) * track.watched_seconds + excused[name]
    }
    name, _ = min((missed or engines).items(), key=lambda item: item[1].uptime)
    value = f"{engines[name].uptime:.4%} ({name}, down {engines[name].down_seconds:.2f} s)"
    if excused[name]:
        limit += (
            f" but for {excused[name]:g} s: {RETURN_SECONDS:g} a kill, under {JUDGED_SECONDS / 60:g} min per kill"
        )
    return Verdict(what, value, limit, not missed)


def _excused_seconds(engine: Track, shared_kills: int) -> float:
    """What the kills that an engine felt, its own and those of feed and broker, may cost it beside the limit."""
    kills = engine.kills + shared_kills
    return kills * RETURN_SECONDS if engine.watched_seconds < kills * JUDGED_SECONDS else 0.0


def _memory(tracks: Mapping[str, Track], limits: Limits) -> Verdict:
    most_slope = limits.slope_bytes_per_minute
    what = "steepest growth of unique memory"
    limit = f"≤ {most_slope / 1000:g} kB/min, or {NOISE_BYTES / 1e6:g} MB in all"
    grown = {name: growth for name, track in tracks.items() if (growth := track.growth) is not None}
    if not grown:
        return Verdict(what, "too short to tell", limit, met=True)
    leaks = {name: g for name, g in grown.items() if g[0] > most_slope and g[1] > NOISE_BYTES}
    name, (slope, most) = max((leaks or grown).items(), key=lambda item: item[1][0])
    value = f"{slope / 1000:+.1f} kB/min, {most / 1e6:+.2f} MB in all ({name})"
    return Verdict(what, value, limit, not leaks)


def _end(tracks: Mapping[str, Track]) -> Verdict:
    lasts = {name: track.last for name, track in tracks.items()}
    away = [name for name, last in lasts.items() if not last["ready"] and last["state"] != "stopped"]
    return Verdict("not ready at the end", ", ".join(away) or "none", "none", not away)


def show(verdicts: Sequence[Verdict], title: str, console: Console) -> None:
    """Print the judgement."""
    table = Table("figure", "value", "limit", "", title=title)
    for verdict in verdicts:
        word = "[green]met[/]" if verdict.met else "[red]missed[/]"
        table.add_row(verdict.what, verdict.value, verdict.limit, word)
    console.print(table)


def document(watch: Watch, verdicts: Sequence[Verdict]) -> Document:
    """The same for programs."""
    return {
        "passed": all(verdict.met for verdict in verdicts),
        "verdicts": [vars(verdict) for verdict in verdicts],
        "killed": watch.killed,
        "workers": {
            name: {
                "uptime": track.uptime,
                "down_seconds": track.down_seconds,
                "restarts": track.restarts,
                "kills": track.kills,
                "errors": track.errors,
                "explained_errors": track.explained_errors,
                "slope_bytes_per_minute": track.growth[0] if track.growth else None,
                "last_error": track.last["last_error"],
            }
            for name, track in watch.tracks.items()
        },
    }


def _named(counts: dict[str, int]) -> str:
    names = [name for name, count in counts.items() if count]
    return f" ({', '.join(names)})" if names else ""


def explained(watch: Watch) -> Iterator[str]:
    """Lines about each worker that had errors, or took another model."""
    for name, track in watch.tracks.items():
        if track.errors:
            last = track.last["last_error"]
            yield f"{name}: {track.errors} errors, {track.explained_errors} after a kill; last: {last}"
        if track.loads:
            steps = ", ".join(f"{step / 1e6:+.2f} MB" for step in track.load_steps) or "too short to tell"
            yield f"{name}: took another model {track.loads} times; its memory changed by: {steps} (no growth)"
