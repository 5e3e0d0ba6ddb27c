"""From a table of families to samples."""

from __future__ import annotations

from prometheus_client.core import Metric

from levibot.observability.metrics import Buckets, Family, Reading, Subjects

Thing = dict[str, Reading]


def collect(family: Family[Thing], *things: tuple[str, Reading]) -> Metric:
    subjects: Subjects[Thing] = Subjects(("name",), lambda thing: (str(thing["name"]),))
    known: list[Thing] = [{"name": name, "value": value} for name, value in things]  # type: ignore[dict-item]
    (metric,) = subjects.collect([family], known)
    return metric


def value(thing: Thing) -> Reading:
    return thing["value"]


def shown(metric: Metric) -> list[tuple[str, dict[str, str], float]]:
    return [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples]


def test_each_subject_has_a_sample_and_one_without_a_value_has_none() -> None:
    metric = collect(Family("levi_things_total", "counter", "x", value), ("a", 1), ("b", None), ("c", 0))
    assert (metric.name, metric.type, metric.documentation) == ("levi_things", "counter", "x")
    assert shown(metric) == [("levi_things_total", {"name": "a"}, 1), ("levi_things_total", {"name": "c"}, 0)]


def test_further_labels_come_from_the_reading() -> None:
    one = collect(Family("levi_thing", "gauge", "x", value, ("state",)), ("a", {"on": 1, "off": 0}))
    assert shown(one) == [
        ("levi_thing", {"name": "a", "state": "on"}, 1),
        ("levi_thing", {"name": "a", "state": "off"}, 0),
    ]
    two = collect(Family("levi_thing", "gauge", "x", value, ("p", "q")), ("a", {("1", "2"): 7}))
    assert shown(two) == [("levi_thing", {"name": "a", "p": "1", "q": "2"}, 7)]


def test_a_histogram_has_buckets_sum_and_count() -> None:
    family = Family("levi_seconds", "histogram", "x", value, bounds=(0.5, 1.0))
    metric = collect(family, ("a", Buckets([1, 2, 4], 9.5)))
    assert shown(metric) == [
        ("levi_seconds_bucket", {"name": "a", "le": "0.5"}, 1),
        ("levi_seconds_bucket", {"name": "a", "le": "1.0"}, 2),
        ("levi_seconds_bucket", {"name": "a", "le": "+Inf"}, 4),
        ("levi_seconds_sum", {"name": "a"}, 9.5),
        ("levi_seconds_count", {"name": "a"}, 4),
    ]
