"""Checks the text of a LightGBM model before LightGBM parses it.

Its parser trusts the file: a child that points past the end of a tree is read out of bounds, and what is
no number, stands twice or has another length ends the process, for it reads trees in threads of its own
and what these raise is caught by nobody. So all that it reads is checked here first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from levibot.errors import ModelError

_REMEDY = "fetch or train the model again"
_SUPPORTED = ("v3", "v4")
_END_OF_TREES = "end of trees\n"

_NUMBER = r"-?\d+(\.\d+)?(e[-+]?\d+)?"
_OBJECTIVE = re.compile(rf"binary sigmoid:{_NUMBER}")
_WHOLE_NUMBER = re.compile(r"-?\d{1,9}")
_WHOLE_NUMBERS = re.compile(rf"({_WHOLE_NUMBER.pattern}( {_WHOLE_NUMBER.pattern})*)?")
_NUMBERS = re.compile(rf"({_NUMBER}( {_NUMBER})*)?")
_BOUND = rf"(inf|{_NUMBER})"  # infinite where a split asks only whether a feature is missing
_BOUNDS = re.compile(rf"({_BOUND}( {_BOUND})*)?")

_HEADER = (
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "feature_names",
    "feature_infos",
    "tree_sizes",
)
_CHILDREN = ("left_child", "right_child")
# Of a split: its bit 0 is set where it is one by category, bit 1 where what is missing goes left; bits 2 and 3
# say what is missing: nothing, 0, or NaN.
_MISSING_BITS = 0b1100
_DECISIONS = frozenset({0b0000, 0b0010, 0b0100, 0b0110, 0b1000, 0b1010})
_OF_SPLITS = {
    "split_feature": _WHOLE_NUMBERS,
    "split_gain": _NUMBERS,
    "threshold": _BOUNDS,
    "decision_type": _WHOLE_NUMBERS,
    **dict.fromkeys(_CHILDREN, _WHOLE_NUMBERS),
    "internal_value": _NUMBERS,
    "internal_weight": _NUMBERS,
    "internal_count": _WHOLE_NUMBERS,
}
_OF_LEAVES = {"leaf_value": _NUMBERS, "leaf_weight": _NUMBERS, "leaf_count": _WHOLE_NUMBERS}
_OF_TREE = {
    **dict.fromkeys(("number", "num_leaves", "num_cat", "is_linear"), _WHOLE_NUMBER),
    "shrinkage": re.compile(_NUMBER),
}


class Checked(NamedTuple):
    """What a sound text is of.

    Parameters
    ----------
    trees
        How many.
    demanded
        Features that were never missing where the trees learned: LightGBM takes a NaN of these for 0.
    """

    trees: int
    demanded: frozenset[str]


def check_model_text(path: Path, text: str, features: Sequence[str]) -> Checked:
    """Check that `text` is a whole model with one probability as its answer.

    Parameters
    ----------
    path
        Of the file, for errors.
    text
        Its content.
    features
        Names that the model must have been trained with, in order.

    Raises
    ------
    ModelError
        If it is something else, cut off, or asks for other features.
    """
    try:
        return _check(text, features)
    except _UnfitError as error:
        raise ModelError(path, f"{error}; {_REMEDY}") from error


def needed(text: str) -> str:
    """What LightGBM needs of a model to predict.

    The importances and parameters behind the trees are for people, and not checked: a line there that is
    none ends the process, too.
    """
    trees, end, _ = text.partition(_END_OF_TREES)
    return trees + end


class _UnfitError(Exception):
    """What is wrong with the text."""


def _check(text: str, features: Sequence[str]) -> Checked:
    if not text.startswith("tree\n"):
        raise _UnfitError(f"begins with {text[:40]!r}, expected the text of a LightGBM model")
    body, end, rest = text.partition(_END_OF_TREES)
    head, *trees = body.split("\nTree=")
    if not end or "\nend of parameters\n" not in rest:
        raise _UnfitError("is cut off: the end of the trees or of the parameters is missing")
    header = _fields(head.removeprefix("tree\n"), "the head")
    if header.get("version") not in _SUPPORTED:
        raise _UnfitError(f"has format {header.get('version')}, expected one of {', '.join(_SUPPORTED)}")
    _check_header(header, features)
    # where each tree begins is taken from these
    sizes = [len(tree) + len("Tree=") + len("\n") for tree in trees]
    sizes[-1:] = [size - len("\n") for size in sizes[-1:]]
    if not trees or header["tree_sizes"].split(" ") != [str(size) for size in sizes]:
        raise _UnfitError(f"is damaged: its {len(trees)} trees are not as long as its head says")
    demanded: set[int] = set()
    for number, tree in enumerate(trees):
        demanded |= _check_tree(number, _fields(f"number={tree}", f"tree {number}"), len(features))
    return Checked(len(trees), frozenset(features[index] for index in demanded))


def _fields(block: str, name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.rstrip("\n").split("\n"):
        key, separator, value = line.partition("=")
        if not separator or key in found:
            raise _UnfitError(f"{name} is damaged: the line {line[:40]!r} is no entry, or stands there twice")
        found[key] = value
    return found


def _check_header(header: dict[str, str], features: Sequence[str]) -> None:
    objective = header.get("objective", "none")
    answers = (header.get("num_class"), header.get("num_tree_per_iteration"))
    if not _OBJECTIVE.fullmatch(objective) or answers != ("1", "1"):
        raise _UnfitError(f"has objective {objective!r:.60}, expected 'binary', whose answer is a probability")
    if header.get("max_feature_idx") != str(len(features) - 1):
        raise _UnfitError(f"has max_feature_idx {header.get('max_feature_idx')}, expected {len(features) - 1}")
    names = header.get("feature_names", "").split(" ")
    if names != list(features):
        raise _UnfitError(f"was trained with the features {_differing(names, features)}")
    if header.keys() != set(_HEADER) or len(header["feature_infos"].split(" ")) != len(features):
        raise _UnfitError(f"is damaged: its head is not made of {', '.join(_HEADER)}")


def _differing(names: Sequence[str], features: Sequence[str]) -> str:
    if len(names) != len(features):
        return f"{len(names)} in number, expected {len(features)}"
    index = next(i for i, (name, feature) in enumerate(zip(names, features, strict=True)) if name != feature)
    return f"{names[index]!r} at place {index + 1}, expected {features[index]!r}"


def _check_tree(number: int, tree: dict[str, str], features: int) -> set[int]:
    """Check a tree; places of the features that it demands."""
    forms = {**_OF_TREE, **_OF_SPLITS, **_OF_LEAVES}
    for key in sorted(forms.keys() ^ tree.keys()):
        raise _UnfitError(f"tree {number} is damaged: {key[:40]!r} is missing, or of a kind that is not used here")
    for key, value in tree.items():
        if not forms[key].fullmatch(value):
            raise _UnfitError(f"tree {number} is damaged: {key} is not made of numbers")
    if (tree["number"], tree["num_cat"], tree["is_linear"]) != (str(number), "0", "0"):
        raise _UnfitError(f"tree {number} is not in its place, or of a kind that is not used here")
    lists = {key: tree[key].split() for key in (*_OF_SPLITS, *_OF_LEAVES)}
    leaves = int(tree["num_leaves"])
    splits = leaves - 1
    checked = lists if splits else ("leaf_value", *_OF_SPLITS)  # one leaf alone has not all statistics
    if leaves < 1 or any(len(lists[key]) != (leaves if key in _OF_LEAVES else splits) for key in checked):
        raise _UnfitError(f"tree {number} is damaged: {leaves} leaves do not fit the length of its lists")
    if not all(0 <= int(feature) < features for feature in lists["split_feature"]):
        raise _UnfitError(f"tree {number} asks for a feature beyond the {features} there are")
    if not all(int(decision) in _DECISIONS for decision in lists["decision_type"]):
        raise _UnfitError(f"tree {number} has a split of a kind that is not used here")
    if not all(math.isfinite(float(value)) for value in lists["leaf_value"]):
        raise _UnfitError(f"tree {number} has a leaf that is no finite number")
    children = {key: [int(value) for value in lists[key]] for key in _CHILDREN}
    if splits and sorted(_reached(children)) != list(range(-leaves, splits)):
        raise _UnfitError(f"tree {number} is damaged: its splits do not form a tree")
    splits_by = zip(lists["split_feature"], lists["decision_type"], strict=True)
    return {int(feature) for feature, decision in splits_by if not int(decision) & _MISSING_BITS}


def _reached(children: dict[str, list[int]]) -> Iterator[int]:
    """Splits (from 0) and leaves (from -1 down) that are somebody's child, and the root."""
    yield 0
    for numbers in children.values():
        yield from numbers
