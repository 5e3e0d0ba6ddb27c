"""Our text of metrics says the same as prometheus_client's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_open
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from levibot.observability.exposition import Exposition, Labels

# What Prometheus 2.42 and 3 send, and what a browser does.
OPEN = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"
NEWEST = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2"
)
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"

# The parsers of prometheus_client cut a text at every line end that Python knows.
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], include_characters='\\"\n'), max_size=20
)
numbers = st.one_of(st.integers(0, 10**15), st.floats(min_value=0, allow_nan=False))


class Fixed:
    def __init__(self, *metrics: Metric) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def written(metric: Metric, accept: str) -> str:
    return "".join(Exposition(accept).parts([metric]))


def by_peer(metric: Metric, generate: Callable[[CollectorRegistry], bytes]) -> str:
    registry = CollectorRegistry()
    registry.register(Fixed(metric))
    return generate(registry).decode()


def metric_of(kind: str, value: float, label: str, text: str) -> Metric:
    metric = Metric("levi_thing", text or "x", kind)
    labels = Labels(("symbol", "state"), (label, "a"))
    if kind == "histogram":
        bounds = ("0.001", "5.0", "+Inf")
        metric.samples = [
            Sample("levi_thing_bucket", Labels(("symbol", "le"), (label, bound)), 3) for bound in bounds
        ]
        metric.samples.append(Sample("levi_thing_sum", Labels(("symbol",), (label,)), value))
        metric.samples.append(Sample("levi_thing_count", Labels(("symbol",), (label,)), 3))
    else:
        suffix = "_total" if kind == "counter" else ""
        metric.samples = [Sample(f"levi_thing{suffix}", labels, value)]
    return metric


@given(st.sampled_from(["gauge", "counter", "histogram"]), numbers, texts, texts)
def test_the_older_text_says_what_the_client_library_says(kind: str, value: float, label: str, text: str) -> None:
    metric = metric_of(kind, value, label, text)
    ours, theirs = written(metric, BROWSER), by_peer(metric, generate_latest)
    assert list(parse_text(ours)) == list(parse_text(theirs))


@given(st.sampled_from(["gauge", "counter", "histogram"]), numbers, texts, texts)
def test_openmetrics_says_what_the_client_library_says(kind: str, value: float, label: str, text: str) -> None:
    metric = metric_of(kind, value, label, text)
    ours, theirs = written(metric, OPEN), by_peer(metric, generate_open)
    assert list(parse_open(ours)) == list(parse_open(theirs))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (3, "3"), (0.25, "0.25")],
)
def test_numbers_are_shown_as_prometheus_reads_them(value: float, shown: str) -> None:
    assert written(metric_of("gauge", value, "s", "x"), BROWSER).endswith(f" {shown}\n")


def test_a_sample_with_plain_labels_or_none_is_shown_too() -> None:
    metric = Metric("levi_thing", "x", "gauge")
    metric.samples = [Sample("levi_thing", {}, 1), Sample("levi_thing", {"a": 'b"'}, 2)]
    assert written(metric, BROWSER).splitlines()[2:] == ["levi_thing 1", 'levi_thing{a="b\\""} 2']


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (OPEN, "application/openmetrics-text; version=1.0.0"),
        (NEWEST, "application/openmetrics-text; version=1.0.0"),
        (BROWSER, "text/plain; version=0.0.4"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4"),
        ("", "text/plain; version=0.0.4"),
        (";;,,q=", "text/plain; version=0.0.4"),
    ],
)
def test_the_format_is_the_one_that_was_asked_for(accept: str, content_type: str) -> None:
    exposition = Exposition(accept)
    assert exposition.content_type.startswith(content_type)
    document = "".join(exposition.parts([metric_of("counter", 1, "s", "x")]))
    open_metrics = content_type.startswith("application")
    assert document.endswith("# EOF\n") == open_metrics
    assert ("# TYPE levi_thing counter" in document) == open_metrics
