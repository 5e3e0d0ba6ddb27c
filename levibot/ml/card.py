"""A model's card: what it is, from what, how good, and what it is not good for; for people."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from levibot.ml.history import Floats
from levibot.ml.importance import Importance
from levibot.ml.manifest import Manifest, Part, utc
from levibot.ml.splits import question

_BINS = 10  # of the table of calibration
_SHOWN = 15  # features


def write_card(manifest: Manifest, found: Importance | None, labels: Floats, probabilities: Floats) -> bytes:
    """Content of ``card.md``.

    Parameters
    ----------
    manifest
        Of the version, which has no number yet.
    found
        Importance of its features; None: it was not measured.
    labels, probabilities
        Of the test span: 0 or 1, and what was said. Shape (rows,).
    """
    sections = (
        _purpose(manifest),
        _data(manifest),
        _making(manifest),
        _quality(manifest),
        _calibration(labels, probabilities),
        _features(manifest, found),
        _limits(manifest),
    )
    return "\n".join(line for section in sections for line in (*section, "")).encode()


def _purpose(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.name}"
    yield ""
    yield f"Made {manifest.created_utc} by LeviBot {manifest.levibot}."
    yield ""
    yield "## What it says"
    yield ""
    yield f"The probability, at the close of a one-minute bar, of: {question(manifest.label)}."
    if manifest.label.kind == "triple_barrier":
        yield "It is given that the price moves as far at all; where it touches neither barrier, it says nothing."
    yield ""
    if manifest.kind == "tft":
        each = "One network for all symbols"
    elif any(file.symbol for file in manifest.files):
        each = "Trees of its own for each symbol"
    else:
        each = "One set of trees for all symbols"
    yield f"{each}: {', '.join(manifest.symbols)}, of the exchange {manifest.exchange}."


def _data(manifest: Manifest) -> Iterator[str]:
    yield "## Data"
    yield ""
    yield "| span | from | until | judged | labels | rises | labels at once | uniqueness |"
    yield "|---|---|---|---:|---:|---:|---:|---:|"
    spans: dict[str, Part | None] = {
        "train": manifest.train,
        "tuning": manifest.tuning,
        "calibration": manifest.calibration,
        "test": manifest.test,
    }
    for name, part in spans.items():
        if part is not None:
            yield (
                f"| {name} | {part.from_utc} | {part.until_utc} | {part.judged:,} | {part.rows:,} | "
                f"{part.positives:.1%} | {part.concurrency:.1f} | {part.uniqueness:.4f} |"
            )
    yield ""
    name, known = "calibration" if manifest.calibration else "tuning", manifest.experience
    yield f"Of the judged bars of the {name} span {known.touched:.1%} have a label. A bet on the others ends"
    if known.untouched_return is None:
        yield "at the horizon, and is reckoned to bring nothing but costs: what it brings was not measured."
    else:
        moved = f"{known.untouched_return:+.3%}"
        yield f"at the horizon, where the price has moved {moved} on average. The ensemble reckons with both."
    yield ""
    yield "No label looks past its span, and the first bars of each are left out. Labels overlap: labels times"
    yield "uniqueness is about how many independent ones there are."
    yield ""
    yield f"SHA-256 of the rows: `{manifest.data_sha256}`."


def _making(manifest: Manifest) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    libraries = ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())
    yield f"Seed {manifest.seed}; {libraries}."
    yield ""
    yield "| setting | value |"
    yield "|---|---|"
    for name, value in manifest.params.items():
        yield f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |"
    for file in manifest.files:
        if file.trees:
            calibrated = f"{file.trees}, calibrated: {file.calibration.kind}"
            yield f"| trees of {file.symbol or 'all symbols'} | {calibrated} |"


def _quality(manifest: Manifest) -> Iterator[str]:
    scores = manifest.scores
    yield "## Quality on the test span"
    yield ""
    yield "| | model | constant 0.5 | test span's base rate | training span's base rate |"
    yield "|---|---:|---:|---:|---:|"
    even = "" if scores.even is None else f"{scores.even.log_loss:.4f}"
    hindsight = "" if scores.hindsight is None else f"{scores.hindsight.log_loss:.4f}"
    yield f"| log loss | {scores.log_loss:.4f} | {even} | {hindsight} | {scores.base_log_loss:.4f} |"
    yield f"| Brier | {scores.brier:.4f} | 0.2500 | | {scores.base_brier:.4f} |"
    yield f"| AUC | {scores.auc:.4f} | 0.5000 | 0.5000 | 0.5000 |"
    yield ""
    for name, constant in (("a constant 0.5", scores.even), ("the test span's base rate", scores.hindsight)):
        if constant is not None:
            yield f"Gain in log loss on {name}: {constant.gain:.4f} ± {constant.gain_error:.4f} (standard error)."
    yield ""
    yield from (f"- {reason}" for reason in scores.missed or ["It beats every constant by more than chance."])


def _calibration(labels: Floats, probabilities: Floats) -> Iterator[str]:
    yield "## Calibration on the test span"
    yield ""
    yield "| said, from | to | on average | came true | rows |"
    yield "|---:|---:|---:|---:|---:|"
    order = np.argsort(probabilities, kind="stable")
    for places in np.array_split(order, min(_BINS, len(order))):
        said, came = probabilities[places], labels[places].mean()
        yield f"| {said[0]:.3f} | {said[-1]:.3f} | {said.mean():.3f} | {came:.3f} | {len(places):,} |"


def _features(manifest: Manifest, found: Importance | None) -> Iterator[str]:
    yield "## Features that it lives on"
    yield ""
    versions = dict(zip(manifest.features, manifest.feature_versions, strict=True))
    if found is None:
        yield f"{', '.join(f'{name} (version {version})' for name, version in versions.items())}."
        yield ""
        yield "What each of them moves was not measured. The symbol itself is none of them."
        return
    yield "| feature | version | moves the log-odds by | share of the gain |"
    yield "|---|---:|---:|---:|"
    for place in found.order()[:_SHOWN]:
        name = found.names[place]
        yield f"| {name} | {versions[name]} | {found.shap[place]:.4f} | {found.gain[place]:.1%} |"
    yield ""
    yield f"Of {len(found.names)}; all are in `importance.json`. The symbol itself is none of them."


def _limits(manifest: Manifest) -> Iterator[str]:
    yield "## Limits"
    yield ""
    for alarm in manifest.leaks or ():
        yield f"- LEAK: {alarm}."
    if manifest.leaks is None:
        yield "- It was not checked for leaks."
    elif not manifest.leaks:
        yield "- No leak was found: spans apart, no feature too good, none that later bars change, none of noise."
    if manifest.exchange == "simulated":
        yield "- The simulated market has a planted pattern: this says nothing about real ones."
    yield "- A probability is not a profit: costs decide, and the test span is one piece of the past."
    yield "- It opens nothing on features outside of what it has learned from."
    expiry = f"after {utc(manifest.expires_ms)}" if manifest.expires_ms else "never"
    yield f"- Too old to open a position: {expiry}."
