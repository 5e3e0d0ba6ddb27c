"""Do the versions fit: Python, packages, and the code that runs?"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import levibot
from levibot.doctor.finding import Finding, Patient

_LEAST_PYTHON = (3, 11)
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*(.+?))?\s*\\?$", re.MULTILINE)
_RANGE = re.compile(r"^([A-Za-z0-9._-]+)>=([0-9.]+)$")
_SHOWN = 4


def check_versions(patient: Patient) -> Iterator[Finding]:
    """Python, the packages, and whether the code has changed under the running daemon."""
    yield judge_python(sys.version_info[:3])
    requirements = Path(levibot.__file__).parents[1] / "requirements" / "run.txt"
    yield judge_packages(wanted_packages(requirements), installed_packages())
    if patient.daemon:
        yield judge_code(bool(patient.daemon["code_changed"]), str(patient.daemon["version"]))


def judge_python(version: tuple[int, ...]) -> Finding:
    """Judge the interpreter."""
    text = ".".join(map(str, version))
    if version[:2] < _LEAST_PYTHON:
        return Finding("Python", "fail", text, "install Python 3.11 or newer, and make the environment anew")
    return Finding("Python", "ok", text)


def wanted_packages(requirements: Path) -> dict[str, tuple[str, str]]:
    """What must be installed: name → ("==" or ">=", version), from the pins beside the code or its metadata.

    Pins that hold only elsewhere (another system, another Python) are left out.
    """
    if requirements.is_file():
        pins = _PIN.findall(requirements.read_text(encoding="utf-8"))
        return {_normal(name): ("==", version) for name, version, marker in pins if not marker}
    ranges = map(_RANGE.match, metadata.requires("levibot") or [])
    return {_normal(match[1]): (">=", match[2]) for match in ranges if match}


def installed_packages() -> dict[str, str]:
    """Name → version of every package that this interpreter can import."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        if distribution.metadata["Name"]:
            found.setdefault(_normal(distribution.metadata["Name"]), distribution.version)
    return found


def judge_packages(wanted: Mapping[str, tuple[str, str]], installed: Mapping[str, str]) -> Finding:
    """Compare what must be there with what is."""
    missing = [name for name in wanted if name not in installed]
    other = [
        f"{name} {installed[name]} (wanted {sign}{version})"
        for name, (sign, version) in wanted.items()
        if name in installed and not _fits(installed[name], sign, version)
    ]
    remedy = "run `make install` (a service: `make install-service`)"
    if missing:
        return Finding("packages", "fail", f"missing: {_short(missing)}", remedy)
    if other:
        return Finding("packages", "warn", f"other versions than tested: {_short(other)}", remedy)
    return Finding("packages", "ok", f"{len(wanted)} as wanted")


def judge_code(changed: bool, version: str) -> Finding:
    """Judge whether the running daemon's code is that on disk."""
    if changed:
        found = "changed since the daemon started: it starts no worker any more"
        return Finding("code", "fail", found, "run `levibotctl upgrade`")
    if version != levibot.__version__:
        found = f"the daemon runs {version}, this is {levibot.__version__}"
        return Finding("code", "warn", found, "use the levibotctl of the daemon's own environment, or upgrade")
    return Finding("code", "ok", f"LeviBot {version}, as on disk")


def _fits(installed: str, sign: str, version: str) -> bool:
    return installed == version if sign == "==" else _numbers(installed) >= _numbers(version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:4])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _short(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
