"""A challenger against the champion, on rows of the challenger's test span; and what the gate makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from levibot.errors import ModelError, TrainingError
from levibot.ml import promotion
from levibot.ml.history import Floats
from levibot.ml.labels import LEAST_IN_COSTS
from levibot.ml.lanes import LANES
from levibot.ml.manifest import Manifest, is_expired, read_manifest
from levibot.ml.preparation import Plan
from levibot.ml.promotion import Limits, Paired, Reliability
from levibot.ml.rows import Rows, stretches
from levibot.ml.service import Served
from levibot.ml.store import ModelStore


class Verdict(NamedTuple):
    """What the gate says of a challenger."""

    champion: str  # version that serves, which it was compared with; empty: none
    measured: Reliability | None
    paired: Paired | None  # None: there was nothing to compare
    objections: list[str]  # why it may not serve; empty: it may
    notes: list[str]  # what the operator should know
    looks: int = 1  # versions that were judged on bars of its test span, itself included

    @property
    def summary(self) -> str:
        """For the history."""
        return promotion.summary(self.objections, self.paired, self.looks)


def judge(
    store: ModelStore, challenger: Manifest, rows: Rows | None, limits: Limits, now_ms: int | None
) -> Verdict:
    """Put a stored version to the gate.

    Parameters
    ----------
    store
        Where both lie.
    challenger
        As stored.
    rows
        Of its test span, all with a label; None: they are not at hand.
    limits
        Of the configuration.
    now_ms
        Unix time of the market that it is to serve; None: not known.

    Raises
    ------
    ModelError
        If the challenger is damaged.
    """
    model = LANES[challenger.kind].load(store.folder / challenger.reference, challenger.exchange)
    # First of all: if another is promoted meanwhile, a promotion that names this one as champion is refused.
    serves = store.linked(challenger.name)
    looks = looks_at(store, challenger)
    errors = promotion.errors_needed(looks)
    measured = paired = None
    if rows is not None:
        blocks = stretches(rows, challenger.label.horizon_bars)
        measured = promotion.reliability(rows.labels, _answers(model, rows, challenger.symbols), blocks)
    objections = promotion.own_objections(challenger, measured, limits, now_ms, errors)
    champion, trouble = _champion(store, challenger, now_ms)
    if champion is not None:
        other = promotion.label_objection(challenger.label, champion.manifest.label)
        if other:
            objections.append(other)
        elif rows is None:
            objections.append(f"it was not compared with {champion.manifest.reference}, which serves")
        else:
            paired, why = compare(champion, model, rows)
            reason = why if paired is None else paired.objection(limits.margin, errors)
            objections += [reason] if reason else []
    notes = [trouble] if trouble else []
    if looks > 1:
        notes.append(
            f"{looks} versions were judged on bars of this test span; the best of many looks better than it is, "
            f"so gains must exceed {errors:.2f} standard errors"
        )
    return Verdict(serves, measured, paired, objections, notes, looks)


def looks_at(store: ModelStore, challenger: Manifest) -> int:
    """How many versions were judged on bars of the challenger's test span, itself included.

    Later ones count as well: who goes back to the best of many has chosen among all; and so do those that were
    pruned since. The same training made again is the same look.

    Raises
    ------
    DataStoreError
        If the history of the model cannot be read.
    """
    span = challenger.test
    judged = [(gone.test_from_ms, gone.test_until_ms, gone.digests) for gone in store.pruned(challenger.name)]
    for version in store.versions(challenger.name):
        if version == challenger.version:
            continue
        try:
            other = read_manifest(store.folder / challenger.name / version)
        except ModelError:  # `levibotctl models list` tells
            continue
        judged.append((other.test.from_ms, other.test.until_ms, other.digests))
    looks = {digests for since, until, digests in judged if since < span.until_ms and span.from_ms < until}
    return len(looks - {challenger.digests}) + 1


def asked_alike(store: ModelStore, name: str, plan: Plan) -> tuple[Plan, str]:
    """A plan that asks what the primary model, of `name`, asks where one serves; and a note if that changed it.

    Distances that a plan leaves open follow the volatility of its candles, and so are others whenever these are:
    no challenger could be compared with the champion, nor an ensemble hear two models. So those of what serves
    are kept if all else is the same, and they still leave something of a win after costs.
    """
    try:
        folder = store.current(name)
        label = None if folder is None else read_manifest(folder).label
    except ModelError:  # `judge` tells
        return plan, ""
    if label is None or plan.take_profit is not None or plan.stop_loss is not None:
        return plan, ""
    is_alike = (label.kind, label.unit, label.horizon_bars) == (plan.kind, plan.unit, plan.horizon_bars)
    if not is_alike or min(label.take_profit, label.stop_loss) < max(label.least, LEAST_IN_COSTS * plan.costs):
        return plan, ""
    note = (
        f"the distances are those of {name}, which serves, so that models can be compared; "
        "--take-profit and --stop-loss ask for others"
    )
    return replace(plan, take_profit=label.take_profit, stop_loss=label.stop_loss), note


def compare(champion: Served, challenger: Served, rows: Rows) -> tuple[Paired | None, str]:
    """Both on the rows that neither has learned from; else why there are none.

    A champion serves because it did well on its own test span, which may be part of these rows: that flatters it,
    and never the challenger.

    Parameters
    ----------
    champion, challenger
        With the same label.
    rows
        Of the challenger's test span.
    """
    symbols = challenger.manifest.symbols
    answered = {file.symbol for file in champion.manifest.files if file.trees}
    if "" not in answered and not answered.issuperset(symbols):
        return None, f"{champion.manifest.reference} answers for {', '.join(sorted(answered))} alone"
    unseen = rows.open_ms >= promotion.fitted_until_ms(champion.manifest)
    if not unseen.any():
        return None, f"{champion.manifest.reference} has learned from all of the bars that it would be compared on"
    chosen = rows.take(unseen)
    paired = promotion.pair(
        (champion.manifest.reference, challenger.manifest.reference),
        chosen.open_ms,
        chosen.labels,
        (_answers(champion, chosen, symbols), _answers(challenger, chosen, symbols)),
        stretches(chosen, challenger.manifest.label.horizon_bars),
    )
    return paired, ""


def judged_rows(rows: Rows, manifest: Manifest) -> Rows:
    """Those of the test span of a stored model, out of rows that were made again.

    Raises
    ------
    TrainingError
        If they are others than it was judged on.
    """
    span = manifest.test
    chosen = rows.take((rows.open_ms >= span.from_ms) & (rows.until_ms <= span.until_ms))
    if len(chosen.labels) != span.rows:
        raise TrainingError(
            f"these candles give {len(chosen.labels):,} rows from {span.from_utc} to {span.until_utc}, "
            f"{manifest.reference} was judged on {span.rows:,}; give those that it was trained on"
        )
    return chosen


def _champion(store: ModelStore, challenger: Manifest, now_ms: int | None) -> tuple[Served | None, str]:
    """What serves and has to be beaten; a champion that can open nothing any more has not."""
    try:
        folder = store.current(challenger.name)
        if folder is None or folder.name == challenger.version:
            return None, ""
        manifest = read_manifest(folder)
        if now_ms is not None and is_expired(manifest, now_ms):
            return None, f"{folder.name}, which serves, is expired: there is no champion to beat"
        return LANES[challenger.kind].load(folder, challenger.exchange), ""
    except ModelError as error:
        return None, f"what serves cannot be used, so there is no champion to beat: {error}"


def _answers(model: Served, rows: Rows, symbols: Sequence[str]) -> Floats:
    """Probabilities of rows, whose symbols are numbers of `symbols`."""
    names = [symbols[number] for number in rows.symbols.tolist()]
    return model.predict(rows.features[..., model.columns], names)
