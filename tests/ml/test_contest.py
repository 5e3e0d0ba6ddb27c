"""Real models against each other, on rows that neither has learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from levibot.errors import ModelError, TrainingError
from levibot.market.bars import MINUTE_MS
from levibot.ml import contest
from levibot.ml.features import FEATURES
from levibot.ml.manifest import MODEL, Label, Manifest, Part, utc
from levibot.ml.preparation import Plan
from levibot.ml.promotion import Limits
from levibot.ml.rows import Rows
from levibot.ml.scored import Scores
from levibot.ml.store import ModelStore
from tests.ml.examples import START_MS, manifest, model_text
from tests.ml.test_promotion import SCORES

LIMITS = Limits(margin=0.0, calibration_error=0.5)  # the small models are no masters of calibration
LABEL = Label(take_profit=0.008, stop_loss=0.008, horizon_bars=5)
ROWS = 2_000


def part(first: int, last: int) -> Part:
    """Rows of these numbers, a minute apart."""
    from_ms, until_ms = (START_MS + number * MINUTE_MS for number in (first, last + LABEL.horizon_bars + 1))
    said = {"from_ms": from_ms, "until_ms": until_ms, "from_utc": utc(from_ms), "until_utc": utc(until_ms)}
    return Part(
        **said, rows=last - first + 1, positives=0.5, judged=last - first + 1, concurrency=1.0, uniqueness=1.0
    )


@pytest.fixture
def rows() -> Rows:
    """Of a market in which the sign of the first feature says what comes."""
    features = np.random.default_rng(7).normal(size=(ROWS, len(FEATURES)))
    open_ms = START_MS + np.arange(ROWS) * MINUTE_MS
    labels = (features[:, 0] > 0).astype(float)
    places, until_ms = np.arange(ROWS), open_ms + (LABEL.horizon_bars + 1) * MINUTE_MS
    none = np.zeros(ROWS)
    return Rows(none.astype(np.int32), places, open_ms, until_ms, places + 1, features, labels, none, none)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path)


def save(store: ModelStore, *, rounds: int, **changes: Any) -> Manifest:
    """A model of so many trees: the more, the better it knows that market."""
    long_ago = part(-500, -100)
    said = {"label": LABEL, "scores": SCORES, "train": long_ago, "tuning": long_ago, "test": part(0, ROWS - 1)}
    made = manifest(**{**said, **changes})
    files = (msgspec.structs.replace(made.files[0], trees=rounds),)
    return store.save(msgspec.structs.replace(made, files=files), {MODEL: model_text(rounds=rounds)})


def serving(store: ModelStore, **options: Any) -> Manifest:
    stored = save(store, **options)
    store.promote(stored.name, stored.version)
    return stored


def test_without_a_champion_the_constants_are_to_be_beaten(store: ModelStore, rows: Rows) -> None:
    verdict = contest.judge(store, save(store, rounds=20), rows, LIMITS, None)
    assert verdict.objections == []
    assert (verdict.champion, verdict.paired) == ("", None)
    weak = Scores(auc=0.7, log_loss=0.6, brier=0.2, base_log_loss=0.69, base_brier=0.25)
    assert contest.judge(store, save(store, rounds=20, scores=weak), rows, LIMITS, None).objections == weak.missed


def test_a_better_challenger_is_let_in_and_a_worse_or_equal_one_is_not(store: ModelStore, rows: Rows) -> None:
    champion = serving(store, rounds=20)
    better = contest.judge(store, save(store, rounds=60), rows, LIMITS, None)
    assert better.objections == []
    assert better.champion == champion.version
    assert better.paired is not None
    assert (better.paired.rows, better.paired.champion) == (ROWS, f"{champion.name}/{champion.version}")
    assert f"better than {champion.name}" in better.summary
    for rounds in (5, 20):
        (objection,) = contest.judge(store, save(store, rounds=rounds), rows, LIMITS, None).objections
        assert "it is no better" in objection


def test_only_bars_after_all_that_the_champion_has_learned_from_count(store: ModelStore, rows: Rows) -> None:
    serving(store, rounds=20, train=part(0, 500), tuning=part(501, 900), calibration=part(901, 1_200))
    verdict = contest.judge(store, save(store, rounds=60), rows, LIMITS, None)
    assert verdict.paired is not None
    assert verdict.paired.from_utc == utc(START_MS + (1_200 + LABEL.horizon_bars + 1) * MINUTE_MS)
    assert verdict.objections == []


def test_too_few_of_them_are_told(store: ModelStore, rows: Rows) -> None:
    serving(store, rounds=20, train=part(0, ROWS - 50))
    (objection,) = contest.judge(store, save(store, rounds=60), rows, LIMITS, None).objections
    assert "too few to compare it with" in objection
    serving(store, rounds=20, train=part(0, ROWS + 50))
    (objection,) = contest.judge(store, save(store, rounds=60), rows, LIMITS, None).objections
    assert "has learned from all of the bars" in objection


def test_another_label_is_not_compared(store: ModelStore, rows: Rows) -> None:
    serving(store, rounds=20, label=msgspec.structs.replace(LABEL, take_profit=0.02))
    (objection,) = contest.judge(store, save(store, rounds=60), rows, LIMITS, None).objections
    assert objection.startswith("not comparable")


def test_a_champion_that_can_open_nothing_need_not_be_beaten(store: ModelStore, rows: Rows) -> None:
    champion = serving(store, rounds=60, expires_ms=START_MS)
    challenger = save(store, rounds=20)
    verdict = contest.judge(store, challenger, rows, LIMITS, START_MS)
    assert (verdict.objections, verdict.champion) == ([], champion.version)
    assert "is expired: there is no champion to beat" in verdict.notes[0]
    assert contest.judge(store, challenger, rows, LIMITS, None).objections, "by another clock it is not"
    (store.folder / champion.name / champion.version / MODEL).write_bytes(b"")
    verdict = contest.judge(store, challenger, rows, LIMITS, None)
    assert verdict.objections == []
    assert "cannot be used" in verdict.notes[0]


def test_without_rows_nothing_is_known(store: ModelStore) -> None:
    serving(store, rounds=20)
    objections = contest.judge(store, save(store, rounds=60), None, LIMITS, None).objections
    assert ["not known" in objections[0], "was not compared" in objections[1]] == [True, True]


def test_probabilities_that_do_not_come_true_are_refused(store: ModelStore, rows: Rows) -> None:
    wrong = rows._replace(labels=1 - rows.labels)
    (objection,) = contest.judge(store, save(store, rounds=60), wrong, LIMITS, None).objections
    assert objection.startswith("calibration: ")


def test_rows_that_were_made_again_must_be_those_of_the_test(rows: Rows) -> None:
    judged = manifest(test=part(100, 299))
    assert len(contest.judged_rows(rows, judged).labels) == 200
    with pytest.raises(TrainingError, match=r"give 150 rows .* was judged on 200; give those"):
        contest.judged_rows(rows.take(np.arange(ROWS) < 250), judged)


def test_how_many_were_judged_on_the_same_bars_is_told_and_asks_for_more(store: ModelStore, rows: Rows) -> None:
    first = save(store, rounds=5)
    assert contest.judge(store, first, rows, LIMITS, None).looks == 1
    same = save(store, rounds=5)
    elsewhere = save(store, rounds=20, test=part(ROWS + 50, ROWS + 500))
    verdict = contest.judge(store, same, rows, LIMITS, None)
    assert (verdict.looks, verdict.notes) == (1, []), "the same trees are no second look"
    assert contest.looks_at(store, elsewhere) == 1, "it was judged on other bars"
    save(store, rounds=40, test=part(ROWS - 50, ROWS + 20))
    (store.folder / same.name / save(store, rounds=41).version / "manifest.json").write_text("{")
    verdict = contest.judge(store, save(store, rounds=60), rows, LIMITS, None)
    assert verdict.looks == 3
    assert "3 versions were judged on bars of this test span" in verdict.notes[0]
    assert "one of 3" in verdict.summary
    assert contest.looks_at(store, first) == 3, "the one to go back to was chosen among the later ones too"
    serving(store, rounds=80)
    removed = store.prune(first.name, 1, who="alice", why="full disk")
    assert len(removed) == 6
    challenger = save(store, rounds=81)
    assert contest.looks_at(store, challenger) == 5, "what was pruned was looked at all the same"
    assert {(gone.who, gone.why) for gone in store.pruned(first.name)} == {("alice", "full disk")}


def test_a_champion_that_took_over_meanwhile_was_not_compared(
    store: ModelStore, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, rival, challenger = (save(store, rounds=rounds) for rounds in (20, 40, 60))
    store.promote(champion.name, champion.version)
    compare = contest.compare

    def slow(*arguments: Any) -> Any:
        store.promote(rival.name, rival.version)  # by somebody else, while this one is at it
        return compare(*arguments)

    monkeypatch.setattr(contest, "compare", slow)
    verdict = contest.judge(store, challenger, rows, LIMITS, None)
    assert verdict.champion == champion.version
    with pytest.raises(ModelError, match="serves by now"):
        store.promote(challenger.name, challenger.version, champion=verdict.champion)


def test_a_training_asks_what_the_serving_model_asks_unless_it_is_told_otherwise(store: ModelStore) -> None:
    plan = Plan("lightgbm-simulated", "simulated", LABEL.horizon_bars, costs=0.0024)
    assert contest.asked_alike(store, plan.name, plan) == (plan, "")
    serving(store, rounds=5)
    kept, note = contest.asked_alike(store, plan.name, plan)
    assert (kept.take_profit, kept.stop_loss) == (LABEL.take_profit, LABEL.stop_loss)
    assert "--take-profit" in note
    for changes in ({"take_profit": 0.02}, {"horizon_bars": 30}, {"unit": "sigma"}, {"costs": 0.003}):
        other = replace(plan, **changes)
        assert contest.asked_alike(store, plan.name, other) == (other, ""), changes
    (store.folder / plan.name / "current").unlink()
    (store.folder / plan.name / "current").symlink_to("nowhere")
    assert contest.asked_alike(store, plan.name, plan) == (plan, "")
