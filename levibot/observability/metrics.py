"""What a metric is: its name, type and help, and how it is read from what is known of something.

A table of `Family` is all there is to say of many metrics; `samples_of` turns it into prometheus_client's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from prometheus_client.core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from levibot.observability.exposition import Labels

T = TypeVar("T")
Kind = Literal["gauge", "counter", "histogram"]


class Buckets(NamedTuple):
    """A histogram as it stands: how many there were up to each bound, then in all, and their sum."""

    cumulative: Sequence[int]
    total: float


Reading = float | Mapping[str, float] | Mapping[tuple[str, ...], float] | Buckets | None


@dataclass(frozen=True)
class Family(Generic[T]):
    """One metric.

    Parameters
    ----------
    name
        As it is shown; a counter's ends in ``_total``.
    kind, text
        Type and help.
    read
        Value for one subject, by the values of `labels` if there are any; None: it has no such sample, for
        an old number would mislead.
    labels
        Names of labels besides those of the subject.
    bounds
        Of a histogram.
    """

    name: str
    kind: Kind
    text: str
    read: Callable[[T], Reading]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


class Subjects(Generic[T]):
    """Things of one kind, each with labels of its own, which are written out once.

    Parameters
    ----------
    names
        Of the labels of each.
    values
        Gives their values.
    """

    def __init__(self, names: tuple[str, ...], values: Callable[[T], tuple[str, ...]]) -> None:
        self._names = names
        self._values = values
        self._labels: dict[tuple[tuple[str, ...], tuple[str, ...]], Labels] = {}

    def forget(self) -> None:
        """Drop the labels that were written out: their subjects may be gone."""
        self._labels.clear()

    def collect(self, families: Iterable[Family[T]], subjects: Sequence[T]) -> Iterator[Metric]:
        """One metric after the other, each with the samples of all subjects."""
        for family in families:
            metric = Metric(family.name.removesuffix("_total"), family.text, family.kind)
            metric.samples = [sample for subject in subjects for sample in self._samples(family, subject)]
            yield metric

    def _samples(self, family: Family[T], subject: T) -> Iterable[Sample]:
        reading = family.read(subject)
        if reading is None:
            return ()
        own = self._values(subject)
        if isinstance(reading, Buckets):
            return self._histogram(family, own, reading)
        if isinstance(reading, Mapping):
            names = self._names + family.labels
            return [
                Sample(family.name, self._label(names, own + (key if isinstance(key, tuple) else (key,))), value)
                for key, value in reading.items()
            ]
        return (Sample(family.name, self._label(self._names, own), reading),)

    def _histogram(self, family: Family[T], own: tuple[str, ...], buckets: Buckets) -> list[Sample]:
        names, counts = (*self._names, "le"), buckets.cumulative
        bounds = [*map(floatToGoString, family.bounds), "+Inf"]
        labels = self._label(self._names, own)
        samples = [
            Sample(f"{family.name}_bucket", self._label(names, (*own, bound)), count)
            for bound, count in zip(bounds, counts, strict=True)
        ]
        samples.append(Sample(f"{family.name}_sum", labels, buckets.total))
        samples.append(Sample(f"{family.name}_count", labels, counts[-1]))
        return samples

    def _label(self, names: tuple[str, ...], values: tuple[str, ...]) -> Labels:
        labels = self._labels.get((names, values))
        if labels is None:
            labels = self._labels[names, values] = Labels(names, values)
        return labels
