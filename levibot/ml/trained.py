"""What a training gives: a model that is not stored yet, and all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from levibot import __version__
from levibot.bus.messages import ModelKind
from levibot.clock import wall_ms
from levibot.ml.boosting import ranges
from levibot.ml.card import write_card
from levibot.ml.features import FEATURE_VERSIONS
from levibot.ml.history import Floats
from levibot.ml.importance import Importance
from levibot.ml.manifest import Calibration, Manifest, ModelFile, utc
from levibot.ml.preparation import Plan, Prepared, only
from levibot.ml.provenance import commit, libraries
from levibot.ml.rows import Rows, describe, stretches
from levibot.ml.scores import score
from levibot.ml.splits import Split

CARD = "card.md"
_DAY_MS = 86_400_000


class Trained(NamedTuple):
    """A model that is not stored yet."""

    manifest: Manifest
    contents: dict[str, bytes]  # of its files
    test: Rows  # what it was judged on, all with a label; nothing was fitted or chosen on them


class Made(NamedTuple):
    """What one kind of training has made of its rows."""

    kind: ModelKind
    features: tuple[str, ...]
    spans: Split  # with all features of the registry
    data_sha256: str
    contents: Mapping[str, bytes]
    files: tuple[ModelFile, ...]  # of these contents
    probabilities: Floats  # of the labelled rows of the test span
    leaks: tuple[str, ...]
    params: Mapping[str, str | int | float | bool]
    libraries: tuple[str, ...]  # that it depends on
    context: str = ""  # leading market that its features are of
    importance: Importance | None = None  # of its features, where it was measured


def new_file(
    name: str, content: bytes, *, symbol: str = "", trees: int = 0, calibration: Calibration | None = None
) -> ModelFile:
    """A file of a version as it is before the store, which reckons its digest; parameters as of `ModelFile`."""
    return ModelFile(
        name=name,
        symbol=symbol,
        sha256="0" * 64,
        size_bytes=len(content),
        trees=trees,
        calibration=calibration or Calibration(),
    )


def describe_training(plan: Plan, data: Prepared, made: Made, test: Rows) -> Trained:
    """Judge what was made on its test span, and write manifest and card.

    Parameters
    ----------
    plan
        What was to be trained.
    data
        What it was made from.
    made
        What came of it.
    test
        The labelled rows of its test span, as a gate asks the model about them.
    """
    spans, now_ms = made.spans, wall_ms()
    judged = spans.test.labelled()
    newest_ms = max(int(history.bars.open_ms[-1]) for history in data.histories if len(history.judged))
    manifest = Manifest(
        kind=made.kind,
        name=plan.name,
        version="",  # this, and the files' digests, are the store's
        exchange=plan.exchange,
        features=made.features,
        feature_versions=tuple(FEATURE_VERSIONS[name] for name in made.features),
        ranges=ranges(only(spans, made.features).train.labelled().features),
        symbols=data.symbols,
        context=made.context,
        label=data.label,
        data_sha256=made.data_sha256,
        train=describe(spans.train),
        tuning=describe(spans.tuning),
        calibration=describe(spans.calibration),
        test=describe(spans.test),
        scores=score(
            judged.labels,
            made.probabilities,
            float(np.nanmean(spans.train.labels)),
            stretches(judged, data.label.horizon_bars),
        ),
        leaks=made.leaks,
        seed=plan.seed,
        params=dict(made.params),
        libraries=libraries(made.libraries),
        levibot=__version__,
        commit=commit(),
        created_ms=now_ms,
        created_utc=utc(now_ms),
        expires_ms=newest_ms + plan.life_days * _DAY_MS if plan.life_days else 0,
        files=made.files,
    )
    card = write_card(manifest, made.importance, judged.labels, made.probabilities)
    described = msgspec.structs.replace(manifest, files=(*made.files, new_file(CARD, card)))
    return Trained(described, {**made.contents, CARD: card}, test)
