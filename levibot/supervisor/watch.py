"""Steady alerts of unsteady facts: what is told when, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from levibot.alerting.alert import Severity
from levibot.supervisor.conditions import CONDITIONS, Condition
from levibot.supervisor.facts import Facts, Finding

_PATIENCE = 45.0  # seconds until what a life before raised is over: at first little is known


@dataclass
class _Track:
    since: float  # it holds, or is absent, without a break
    holds: bool
    told: bool
    calm: float  # seconds until it is over


class Watch:
    """Turns what the checks find from moment to moment into alerts that do not flap.

    Parameters
    ----------
    raise_alert, clear
        As of `Alerts`. An alert that stands is raised again only if it got worse.
    standing
        Keys of the alerts that stand from a life before: they are not told again, and end when they are over.
    conditions
        The table.
    """

    def __init__(
        self,
        raise_alert: Callable[[str, Severity, str, str], None],
        clear: Callable[[str], None],
        standing: Iterable[str],
        conditions: Iterable[Condition] = CONDITIONS,
    ) -> None:
        self._raise = raise_alert
        self._clear = clear
        self._conditions = tuple(conditions)
        self._tracks: dict[str, _Track] = {}
        self._severities: dict[str, Severity] = {}
        self._inherited = {key for key in standing if self.owns(key)}

    def owns(self, key: str) -> bool:
        """Whether an alert of this key is raised and cleared here."""
        return any(condition.name == _name(key) for condition in self._conditions)

    def look(self, facts: Facts, now: float) -> None:
        """Check everything; `now` is in seconds of CLOCK_BOOTTIME."""
        for condition in self._conditions:
            for key in [key for key in self._inherited if _name(key) == condition.name]:
                calm = condition.calm and max(condition.calm, _PATIENCE)
                self._tracks[key] = _Track(now, True, True, calm)
                self._inherited.discard(key)
            told = any(self._tracks[key].told for key in self._keys_of(condition))
            findings = condition.find(facts, told)
            if findings is None:
                continue
            found = {finding.key: finding for finding in findings}
            # While one finding stands for all, none of the others is over.
            keys = [condition.name] if condition.name in found else {*found, *self._keys_of(condition)}
            for key in keys:
                sure = key not in found and condition.surely_over(facts, key)
                self._follow(condition, key, found.get(key), now, sure=sure)

    def _keys_of(self, condition: Condition) -> list[str]:
        return [key for key in self._tracks if _name(key) == condition.name]

    def _follow(self, condition: Condition, key: str, finding: Finding | None, now: float, *, sure: bool) -> None:
        track = self._tracks.setdefault(key, _Track(now, finding is not None, False, condition.calm))
        if track.holds != (finding is not None):
            track.holds, track.since = finding is not None, now
        lasted = now - track.since
        if finding is not None:
            track.calm = max(track.calm, finding.calm)
        if finding is None:
            if not track.told:
                del self._tracks[key]
            elif lasted >= (condition.calm if sure else track.calm):
                del self._tracks[key]
                self._severities.pop(key, None)
                self._clear(key)
        elif (lasted >= condition.after or track.told) and self._severities.get(key) != finding.severity:
            worse = key not in self._severities or finding.severity == "critical"
            track.told = True
            self._severities[key] = finding.severity
            if worse:
                self._raise(key, finding.severity, finding.message, finding.remedy)


def _name(key: str) -> str:
    """Condition that an alert's key belongs to."""
    return key.partition(":")[0]
