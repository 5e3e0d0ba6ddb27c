"""Checks the text of a LightGBM model before LightGBM parses it.

Its parser trusts the file: a child that points past the end of a tree is read out of bounds, and some
damage ends the process. So what is needed of the text is checked here first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from levibot.errors import ModelError

_REMEDY = "fetch or train the model again"
_SUPPORTED = ("v3", "v4")


def check_model_text(path: Path, text: str, features: Sequence[str]) -> int:
    """Check that `text` is a whole model with one probability as its answer.

    Parameters
    ----------
    path
        Of the file, for errors.
    text
        Its content.
    features
        Names that the model must have been trained with, in order.

    Returns
    -------
    int
        Number of trees.

    Raises
    ------
    ModelError
        If it is something else, cut off, or asks for other features.
    """
    try:
        return _check(text, features)
    except _UnfitError as error:
        raise ModelError(path, f"{error}; {_REMEDY}") from error


class _UnfitError(Exception):
    """What is wrong with the text."""


def _check(text: str, features: Sequence[str]) -> int:
    if not text.startswith("tree\n"):
        raise _UnfitError(f"begins with {text[:40]!r}, expected the text of a LightGBM model")
    body, end, rest = text.partition("end of trees\n")
    head, *trees = body.split("\nTree=")
    if not end or "\nend of parameters\n" not in rest:
        raise _UnfitError("is cut off: the end of the trees or of the parameters is missing")
    header = _fields(head)
    if header.get("version") not in _SUPPORTED:
        raise _UnfitError(f"has format {header.get('version')}, expected one of {', '.join(_SUPPORTED)}")
    objective = header.get("objective", "none")
    if objective.split(" ")[0] != "binary" or header.get("num_tree_per_iteration") != "1":
        raise _UnfitError(f"has objective {objective!r}, expected 'binary', whose answer is a probability")
    if header.get("max_feature_idx") != str(len(features) - 1):
        raise _UnfitError(f"has max_feature_idx {header.get('max_feature_idx')}, expected {len(features) - 1}")
    names = header.get("feature_names", "").split()
    if names != list(features):
        raise _UnfitError(f"was trained with the features {_differing(names, features)}")
    # where each tree begins is taken from these
    sizes = [len(tree) + len("Tree=") + len("\n") for tree in trees]
    sizes[-1:] = [size - len("\n") for size in sizes[-1:]]
    if not trees or header.get("tree_sizes", "").split() != [str(size) for size in sizes]:
        raise _UnfitError(f"is damaged: its {len(trees)} trees are not as long as its head says")
    for number, tree in enumerate(trees):
        _check_tree(number, _fields(f"number={tree}"), len(features))
    return len(trees)


def _fields(block: str) -> dict[str, str]:
    return {key: value for line in block.splitlines() for key, found, value in [line.partition("=")] if found}


def _differing(names: Sequence[str], features: Sequence[str]) -> str:
    if len(names) != len(features):
        return f"{len(names)} in number, expected {len(features)}"
    index = next(i for i, (name, feature) in enumerate(zip(names, features, strict=True)) if name != feature)
    return f"{names[index]!r} at place {index + 1}, expected {features[index]!r}"


def _check_tree(number: int, tree: dict[str, str], features: int) -> None:
    try:
        if tree["number"] != str(number) or tree["num_cat"] != "0" or tree["is_linear"] != "0":
            raise _UnfitError(f"tree {number} is not in its place, or of a kind that is not used here")
        leaves = int(tree["num_leaves"])
        splits = leaves - 1
        numbers = {key: [int(value) for value in tree[key].split()] for key in ("split_feature", *_CHILDREN)}
        values = [[float(value) for value in tree[key].split()] for key in ("threshold", "leaf_value")]
    except (KeyError, ValueError) as error:
        raise _UnfitError(f"tree {number} is damaged: {error}") from error
    lengths = [*map(len, numbers.values()), len(values[0]), len(tree["decision_type"].split()), len(values[1]) - 1]
    if leaves < 1 or any(length != splits for length in lengths):
        raise _UnfitError(f"tree {number} is damaged: {leaves} leaves do not fit the length of its lists")
    if not all(0 <= feature < features for feature in numbers["split_feature"]):
        raise _UnfitError(f"tree {number} asks for a feature beyond the {features} there are")
    if not all(math.isfinite(value) for value in values[1]):
        raise _UnfitError(f"tree {number} has a leaf that is no finite number")
    if splits and sorted(_reached(numbers)) != list(range(-leaves, splits)):
        raise _UnfitError(f"tree {number} is damaged: its splits do not form a tree")


_CHILDREN = ("left_child", "right_child")


def _reached(numbers: dict[str, list[int]]) -> Iterator[int]:
    """Splits (from 0) and leaves (from -1 down) that are somebody's child, and the root."""
    yield 0
    for key in _CHILDREN:
        yield from numbers[key]
