"""Torch's own operator database, as the list of what is asked of a chip.

Asked:  which operators, in which number formats and directions, make a whole certification?
Answer: the entries of torch.testing._internal's op_db, each with its samples and tolerances; of the formats that were asked for,
        those that the operator has on the reference chip, the host; backward where it has gradients. An entry that has
        none of them is asked in the first that it has.
Limits: the database imports expecttest, which it needs for tests alone: a stand-in is put in its place where it is missing.
        An entry that torch has for a GPU's own compiler only (jiterator) has no format here: it is said to be untested.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import sys
import types
import unittest
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forebay.porting.certify.verdict import Case

FORMATS = ("float32", "bfloat16", "float16", "int64")
DIRECTIONS = ("forward", "backward")


def load() -> dict[str, Any]:
    """Every entry, by its name in verdicts. Imports torch; takes some seconds."""
    if importlib.util.find_spec("expecttest") is None and "expecttest" not in sys.modules:
        module = types.ModuleType("expecttest")
        module.TestCase = unittest.TestCase  # type: ignore[attr-defined]
        module.assert_expected_inline = None  # type: ignore[attr-defined]
        sys.modules["expecttest"] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    _prepare()
    entries: dict[str, Any] = {}
    for op in op_db:
        name = op.name + ("." + op.variant_test_name if op.variant_test_name else "")
        while name in entries:
            name += "+"
        entries[name] = op
    return entries


def _prepare() -> None:
    """Three things of torch's test modules that only tests need, out of the way.

    An operator that draws is seeded by one fixed number inside each call: here a call's seed is the measure's. Each sample is
    made from a seed set for every device there may be, and after a look through the stack for the test that wants it: both take
    longer than most samples, so the host alone is seeded, as nothing else makes samples.
    """
    import torch

    def seed(number: int | None = None) -> None:
        number = 1234 if number is None else number
        torch.default_generator.manual_seed(number)
        random.seed(number)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(number)

    put = {
        "wrapper_set_seed": lambda op, *args, **kwargs: op(*args, **kwargs),
        "set_rng_seed": seed,
        "extract_test_fn": lambda: None,
    }
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("torch.testing._internal"):
            for name in put.keys() & vars(module).keys():
                setattr(module, name, put[name])


def cases(entries: Mapping[str, Any], formats: Sequence[str]) -> list[Case]:
    """Everything that a certification asks, operator by operator."""
    return [case for name, op in entries.items() for case in cases_of(name, op, formats)]


def cases_of(name: str, op: Any, formats: Sequence[str]) -> list[Case]:
    forward, backward = _names(op.supported_dtypes("cpu")), _names(op.supported_backward_dtypes("cpu"))
    if "jiterator" in name:
        forward = backward = set()
    asked = [one for one in formats if one in forward] or sorted(forward)[:1] or [formats[0]]
    found = []
    for one in asked:
        found.append(Case(name, one, "forward"))
        if op.supports_autograd and one in backward and not uninitialised(name):
            found.append(Case(name, one, "backward"))
    return found


def uninitialised(name: str) -> bool:
    """Whether an operator's values are whatever lay in memory: `empty` and its kin."""
    return "empty" in name.partition(".")[0] or name.startswith("new_empty")


def fingerprint(entries: Mapping[str, Any], found: Iterable[Case]) -> str:
    """The same for the same operators, formats and directions."""
    text = "\n".join([*entries, *(f"{case.operator} {case.format} {case.direction}" for case in found)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(dtypes: Any) -> set[str]:
    return {str(dtype).replace("torch.", "") for dtype in dtypes}
