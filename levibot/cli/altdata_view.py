"""Alternative data for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from levibot.cli.fitting_table import FittingTable

Entry = Mapping[str, Any]

_SOURCES = ("source", "state", "age", "values", "fetches", "failures", "requests", "next", "trouble")
_VALUES = ("asset", "name", "value", "age", "source")


def altdata_view(document: Entry) -> Group:
    """Sources, values, and what is wrong."""
    from levibot.cli.view import duration

    if not document["sources"] and not document["values"]:
        return Group(Text("no source of alternative data is asked: enable one under [altdata], or see `status`"))
    sources = [
        {
            "source": Text(name),
            "state": _state(source),
            "age": Text(duration(source["age_seconds"]) if source["age_seconds"] is not None else "–"),
            "values": Text(str(source["values"])),
            "fetches": Text(str(source["fetches"])),
            "failures": Text(str(sum(source["failures"].values()))),
            "requests": Text(str(source["requests"])),
            "next": Text(duration(source["next_s"]) if source["next_s"] else "–"),
            "trouble": Text(source["trouble"] or "–", style="yellow" if source["trouble"] else ""),
        }
        for name, source in document["sources"].items()
    ]
    values = [
        {
            "asset": Text(value["asset"] or "market", style="dim" if value["expired"] else ""),
            "name": Text(value["name"], style="dim" if value["expired"] else ""),
            "value": Text("too old" if value["expired"] else f"{value['value']:.6g}"),
            "age": Text(duration(value["age_seconds"])),
            "source": Text(value["source"]),
        }
        for value in document["values"]
    ]
    parts: list[Any] = [
        FittingTable(_SOURCES, ("state", "trouble"), ("requests", "fetches", "next"), sources),
        FittingTable(_VALUES, ("name", "source"), (), values),
    ]
    if document["trouble"]:
        parts.append(Text(document["trouble"], style="red"))
    return Group(*parts)


def _state(source: Entry) -> Text:
    """What never failed is not failing: there is nothing yet, or nothing to be had."""
    if source["ok"]:
        return Text("ok", style="green")
    return Text("failing", style="red") if any(source["failures"].values()) else Text("none", style="dim")
