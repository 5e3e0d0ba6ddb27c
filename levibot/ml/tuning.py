"""A search for better settings of the trees, on what comes before calibration and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from levibot.errors import TrainingError
from levibot.locations import make_private
from levibot.ml.boosting import Params, default_params, fixed_params, grow
from levibot.ml.rows import Rows
from levibot.ml.scores import log_loss
from levibot.ml.splits import walk_forward

_FOLDS = 3
_START_TRIALS = 10  # drawn at random before a model of the settings guides the search
_STOPPING = 0.8  # share of a fold's rows to fit on; the later ones stop the growth
_LEAST_ROWS = 40  # to fit on, and to stop by


@dataclass(frozen=True)
class Search:
    """How much is to be searched.

    Parameters
    ----------
    trials
        In all, those of an earlier run that was interrupted included.
    seconds
        After which no further trial is begun; None: no limit.
    storage
        SQLite file that keeps the trials.
    seed, threads
        As of the training.
    """

    trials: int
    seconds: float | None
    storage: Path
    seed: int
    threads: int


class Tuned(NamedTuple):
    """What a search came to."""

    params: dict[str, str | int | float | bool]  # to be put over the defaults
    summary: dict[str, str | int | float | bool]  # for the manifest


def import_optuna() -> Any:
    """Optuna, quiet.

    Raises
    ------
    TrainingError
        If it is not installed; the text names the remedy.
    """
    try:
        import optuna
    except ImportError as error:
        raise TrainingError(
            f"tuning needs Optuna, of the extra 'train' ({error}); install it with `make install-train`, or "
            "`pip install 'levibot[train]'`; or train without --tune"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns of an interrupt with a traceback
    return optuna


def tune(
    rows: Rows, embargo_bars: int, names: tuple[str, ...], study: str, search: Search, told: Callable[[int], None]
) -> Tuned:
    """Search settings by the log loss of folds that each are judged on what came after them.

    The first trial is that of the defaults, so what is found is no worse there. A trial is given up after a fold
    if it is worse than half of the others were by then. The growth within a fold is stopped by rows of its own
    past: the rows that it is judged on choose nothing but among trials.

    Parameters
    ----------
    rows
        Of the training and the tuning span, with labels.
    embargo_bars
        As of the spans.
    names
        Of the features.
    study
        Name under which the trials are kept: what has the same goes on where it ended.
    search
        How much.
    told
        Told how many trials are done.

    Raises
    ------
    TrainingError
        If Optuna is missing, the rows are too few for the folds, or no trial came to an end.
    KeyboardInterrupt
        If the user interrupts it; the text tells how many trials are kept.
    """
    optuna = import_optuna()
    folds = [
        (*_stopped(rows.take(fold.fit)), rows.take(fold.judge))
        for fold in walk_forward(rows, _FOLDS, embargo_bars)
    ]
    fixed = fixed_params(search.seed, search.threads)

    def objective(trial: Any) -> float:
        params = {**fixed, **_suggest(trial, len(rows.labels))}
        losses: list[float] = []
        for number, (fitted_on, stopped_on, judged_on) in enumerate(folds):
            losses.append(_loss(fitted_on, stopped_on, judged_on, params, names))
            trial.report(float(np.mean(losses)), number)
            if number + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(losses))

    made = _open(optuna, study, search)
    finished = _finished(optuna, made)
    if not finished:
        made.enqueue_trial(_within(default_params(len(rows.labels)), len(rows.labels)), skip_if_exists=True)
    told(len(finished))
    if len(finished) < search.trials:
        try:
            made.optimize(
                objective,
                n_trials=search.trials - len(finished),
                timeout=search.seconds,
                callbacks=[lambda study, _trial: told(len(_finished(optuna, study)))],
            )
        except KeyboardInterrupt:
            done = len(_finished(optuna, made))
            raise KeyboardInterrupt(
                f"interrupted after {done} of {search.trials} trials; the same command goes on"
            ) from None
    return _result(optuna, made)


def _suggest(trial: Any, rows: int) -> dict[str, str | int | float | bool]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 63, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 20, _most_in_leaf(rows), log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
        "bagging_freq": 1,
        "lambda_l1": trial.suggest_float("lambda_l1", 1e-3, 10.0, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 100.0, log=True),
    }


def _within(params: Params, rows: int) -> dict[str, str | int | float | bool]:
    """The defaults as a trial."""
    leaf = min(int(params["min_data_in_leaf"]), _most_in_leaf(rows))
    shared = {name: value for name, value in params.items() if name != "bagging_freq"}
    return {**shared, "min_data_in_leaf": leaf, "lambda_l1": 1e-3}


def _most_in_leaf(rows: int) -> int:
    return max(40, min(2000, rows // 20))


def _stopped(rows: Rows) -> tuple[Rows, Rows]:
    """Rows of a fold to grow trees on, and the later ones that stop the growth."""
    middle_ms = rows.open_ms[int(_STOPPING * len(rows.open_ms))]
    earlier, later = rows.take(rows.until_ms <= middle_ms), rows.take(rows.open_ms >= middle_ms)
    if min(len(earlier.labels), len(later.labels)) < _LEAST_ROWS:
        raise TrainingError(
            "there are too few rows for the folds of a search; give more candles, or leave out --tune"
        )
    return earlier, later


def _loss(fitted_on: Rows, stopped_on: Rows, judged_on: Rows, params: Params, names: tuple[str, ...]) -> float:
    booster = grow(fitted_on, stopped_on, params, names, lambda _tree: None)
    said = booster.predict(judged_on.features, num_iteration=booster.best_iteration, num_threads=1)
    return log_loss(judged_on.labels, said)


def _open(optuna: Any, name: str, search: Search) -> Any:
    make_private(search.storage.parent)
    storage = optuna.storages.RDBStorage(f"sqlite:///{search.storage.absolute()}")
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True, direction="minimize")
    seed = search.seed + len(_finished(optuna, study))  # who goes on must not draw the same again
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_START_TRIALS)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_START_TRIALS)
    return study


def _finished(optuna: Any, study: Any) -> list[Any]:
    """Trials that came to an end, and those that were given up; not those that a crash has cut off."""
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    found: list[Any] = study.get_trials(deepcopy=False, states=ended)
    return found


def _result(optuna: Any, study: Any) -> Tuned:
    finished = _finished(optuna, study)
    complete = [trial for trial in finished if trial.state == optuna.trial.TrialState.COMPLETE]
    if not complete:
        raise TrainingError("no trial came to an end within the time limit; give more with --time-limit")
    best = min(complete, key=lambda trial: (trial.value, trial.number))
    first = next((trial.value for trial in complete if trial.number == 0), None)
    summary: dict[str, str | int | float | bool] = {
        "tuning_trials": len(finished),
        "tuning_pruned": len(finished) - len(complete),
        "tuning_folds": _FOLDS,
        "tuning_log_loss": float(best.value),
        **({} if first is None else {"tuning_default_log_loss": float(first)}),
    }
    return Tuned(dict(best.params), summary)
