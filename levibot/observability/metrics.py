"""What a metric is: its name, type and help, and how it is read from what is known of something.

A table of `Family` is all there is to say of many metrics; `samples_of` turns it into prometheus_client's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from levibot.observability.exposition import Labels

T = TypeVar("T")
Kind = Literal["gauge", "counter", "histogram"]
_BUCKET = ("le",)


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
        self._labels: dict[tuple[str, ...], dict[tuple[str, ...], dict[Any, Labels]]] = {}

    def forget(self) -> None:
        """Drop the labels that were written out: their subjects may be gone."""
        self._labels.clear()

    def collect(self, families: Iterable[Family[T]], subjects: Sequence[T]) -> Iterator[Metric]:
        """One metric after the other, each with the samples of all subjects."""
        named = [(self._values(subject), subject) for subject in subjects]
        for family in families:
            metric = Metric(family.name.removesuffix("_total"), family.text, family.kind)
            samples = metric.samples
            for own, subject in named:
                reading = family.read(subject)
                if isinstance(reading, Buckets):
                    samples += self._histogram(family, own, reading)
                elif isinstance(reading, Mapping):
                    written = self._written(family.labels, own)
                    samples += [Sample(family.name, written[key], value) for key, value in reading.items()]
                elif reading is not None:
                    samples.append(Sample(family.name, self._written((), own)[()], reading))
            yield metric

    def _histogram(self, family: Family[T], own: tuple[str, ...], buckets: Buckets) -> Iterator[Sample]:
        written, labels = self._written(_BUCKET, own), self._written((), own)[()]
        name = family.name + "_bucket"
        for bound, count in zip((*family.bounds, inf), buckets.cumulative, strict=True):
            yield Sample(name, written[bound], count)
        yield Sample(family.name + "_sum", labels, buckets.total)
        yield Sample(family.name + "_count", labels, buckets.cumulative[-1])

    def _written(self, names: tuple[str, ...], own: tuple[str, ...]) -> dict[Any, Labels]:
        """Labels of one subject by the values of `names`."""
        of_all = self._labels.setdefault(names, {})
        written = of_all.get(own)
        if written is None:
            written = of_all[own] = _Written(self._names + names, own)
        return written


class _Written(dict[Any, Labels]):
    """Labels of one subject by what they have besides those of the subject; made when first asked for."""

    def __init__(self, names: tuple[str, ...], own: tuple[str, ...]) -> None:
        super().__init__()
        self._names = names
        self._own = own

    def __missing__(self, key: str | float | tuple[str, ...]) -> Labels:
        further = key if isinstance(key, tuple) else (_bound(key) if isinstance(key, float) else key,)
        labels = self[key] = Labels(self._names, (*self._own, *further))
        return labels


def _bound(seconds: float) -> str:
    return "+Inf" if seconds == inf else repr(seconds)
