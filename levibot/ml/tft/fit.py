"""Fitting: the network by Lightning, and the link from its forecast to the event by logistic regression."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, Timer
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

from levibot.errors import TrainingError
from levibot.ml.history import Floats
from levibot.ml.tft.forecast import EventLink
from levibot.ml.tft.network import build, inputs

_MONITORED = "val_loss"
_PATIENCE = 3  # epochs without a better forecast of the tuning span
_LEAST_GAIN = 1e-4
_CLIP = 0.5  # norm of a gradient
_RIDGE = 1e-3  # on weights of standardised numbers: where a forecast says nothing, it stays at the base rate


@dataclass(frozen=True)
class Effort:
    """How large the network is, and how long it is fitted.

    Parameters
    ----------
    hidden, heads, dropout, rate
        Width, heads of attention, dropout, and rate of learning.
    batch
        Sequences in one step.
    epochs
        Passes over the training span, at most.
    seconds
        After which fitting ends, with the best that it has found.
    """

    hidden: int = 16
    heads: int = 2
    dropout: float = 0.1
    rate: float = 3e-3
    batch: int = 128
    epochs: int = 20
    seconds: float = 900.0


@dataclass(frozen=True)
class Examples:
    """Sequences to fit on.

    Parameters
    ----------
    scaled
        All rows, scaled; shape (rows, features).
    ends
        Where in them the sequences end; shape (n,).
    targets
        What came after them; shape (n, horizon).
    """

    scaled: Any
    ends: Any
    targets: Any


def fit_network(
    train: Examples,
    tuning: Examples,
    features: tuple[str, ...],
    effort: Effort,
    *,
    seed: int,
    threads: int,
    accelerator: str,
    report: Callable[[int, int], None],
) -> Any:
    """A trained network, with the weights that forecast the tuning span best.

    Parameters
    ----------
    train, tuning
        Fitted on, and stopped early on.
    features
        Their names.
    effort
        How large, and how long.
    seed
        The same seed, data, threads and versions give the same weights on a CPU.
    threads
        CPU cores to use.
    accelerator
        ``auto``: a GPU where there is one; ``cpu``.
    report
        Told how many steps of how many are done.

    Raises
    ------
    TrainingError
        If the forecast became no number.
    """
    with _quiet(), isolate_rng(include_cuda=False), _threads(threads):
        lightning.seed_everything(seed, workers=True, verbose=False)
        network = build(
            features, hidden=effort.hidden, heads=effort.heads, dropout=effort.dropout, rate=effort.rate
        )
        keeper = _Keeper(report)
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=effort.epochs,
            gradient_clip_val=_CLIP,
            deterministic="warn",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[
                keeper,
                EarlyStopping(_MONITORED, patience=_PATIENCE, min_delta=_LEAST_GAIN),
                Timer(timedelta(seconds=effort.seconds), interval="step", verbose=False),
            ],
        )
        trainer.fit(network, _loader(train, effort.batch, seed), _loader(tuning, 4 * effort.batch, None))
        if keeper.best is not None:
            network.load_state_dict(keeper.best)
        if not all(torch.isfinite(weight).all() for weight in network.parameters()):
            raise TrainingError("the network's weights are no numbers; train with another --seed")
        return network


def fit_link(numbers: Floats, labels: Floats) -> EventLink:
    """Logistic regression, with a slight pull to the base rate.

    Parameters
    ----------
    numbers
        What forecasts say of the event, by `levibot.ml.tft.forecast.tell`. Shape (n, 3).
    labels
        What happened: 1 or 0, both. Shape (n,).
    """
    from scipy.optimize import minimize

    center, scale = numbers.mean(axis=0), numbers.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = np.column_stack([(numbers - center) / scale, np.ones(len(numbers))])
    penalty = np.array([_RIDGE] * numbers.shape[1] + [0.0])

    def loss(weights: Floats) -> tuple[float, Floats]:
        odds = standard @ weights
        value = (np.logaddexp(0, odds) - labels * odds).mean() + (penalty * weights**2).sum() / 2
        gradient = standard.T @ (1 / (1 + np.exp(-odds)) - labels) / len(labels) + penalty * weights
        return float(value), gradient

    found = minimize(loss, np.zeros(standard.shape[1]), jac=True, method="L-BFGS-B").x
    weights = found[:-1] / scale
    return EventLink(weights=tuple(weights.tolist()), intercept=float(found[-1] - weights @ center))


class _Batches(Dataset):
    """Whole batches: to gather sequences one by one takes longer than to learn from them."""

    def __init__(self, examples: Examples) -> None:
        self._scaled = torch.from_numpy(examples.scaled)
        self._ends = torch.from_numpy(examples.ends)
        self._targets = torch.from_numpy(examples.targets.astype(np.float32))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, chosen: list[int]) -> tuple[dict[str, torch.Tensor], tuple[torch.Tensor, None]]:
        from levibot.ml.tft.sequences import BACK

        targets = self._targets[chosen]
        rows = self._scaled[self._ends[chosen][:, None] + torch.from_numpy(BACK)]
        return inputs(rows, targets), (targets, None)


def _loader(examples: Examples, batch: int, seed: int | None) -> Any:
    """Batches in an order drawn by `seed`; None: as they come, and the last one though it be short."""
    batches = _Batches(examples)
    if seed is None:
        order: Any = SequentialSampler(batches)
    else:
        order = RandomSampler(batches, generator=torch.Generator().manual_seed(seed))
    short = seed is not None and len(batches) > batch
    return DataLoader(batches, sampler=BatchSampler(order, batch, drop_last=short), batch_size=None)


class _Keeper(Callback):
    """Keeps the best weights, and tells how far the fitting has come."""

    def __init__(self, report: Callable[[int, int], None]) -> None:
        self.best: dict[str, Any] | None = None
        self._least = float("inf")
        self._report = report

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self._report(trainer.global_step, trainer.num_training_batches * trainer.max_epochs)

    def on_validation_end(self, trainer: Any, network: Any) -> None:
        loss = float(trainer.callback_metrics[_MONITORED])
        if loss < self._least:
            self._least, self.best = loss, copy.deepcopy(network.state_dict())


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning tells of hardware and of what it would recommend; errors are exceptions."""
    log = logging.getLogger("lightning.pytorch")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
