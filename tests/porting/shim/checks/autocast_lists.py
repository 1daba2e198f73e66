"""Checks of autocast against the lists that torch's own tests hold CUDA to."""

import sys
import types
import unittest

import torch

if "expecttest" not in sys.modules:
    try:
        import expecttest  # noqa: F401
    except ImportError:  # torch's test helpers derive a class from it that isn't used here
        sys.modules["expecttest"] = types.ModuleType("expecttest")
        sys.modules["expecttest"].TestCase = unittest.TestCase

from torch.testing._internal.autocast_test_lists import AutocastTestLists

LISTS = AutocastTestLists(torch.device("cuda"))


def function(name, where):
    place = {"torch": torch, "nn": torch._C._nn, "linalg": torch.linalg}[where]
    return getattr(place, name, None)


def formats(value):
    """The number formats of a result's tensors."""
    if isinstance(value, torch.Tensor):
        return {value.dtype}
    if isinstance(value, (tuple, list)):
        return set().union(*map(formats, value))
    return set()


def check(found):
    assert not found, found


def wrong(entries, wanted, where="torch", narrow=torch.float16):
    found = {}
    for name, args, *more in entries:
        if isinstance(args, str):
            continue  # einsum's equation stands alone, and torch's own test passes it over; see below
        options = more[-1] if more and isinstance(more[-1], dict) else {}  # before it may stand whether ROCm skips it
        call = getattr(args[0], name, None) if where == "method" else function(name, where)
        if call is None:
            continue
        words = args[1:] if where == "method" else args
        with torch.autocast("cuda", dtype=narrow):
            made = formats(call(*words, **options))
        if made - {wanted}:
            found[name] = made
    return found


def promoted(entries, where="torch"):
    found = {}
    for name, args, out_type in entries:
        call = getattr(args[0], name) if where == "method" else function(name, where)
        with torch.autocast("cuda"):
            made = formats(call(*(args[1:] if where == "method" else args)))
        if made - {out_type}:
            found[name] = (made, out_type)
    return found


def what_cuda_runs_narrow_is_narrow():
    for narrow in (torch.float16, torch.bfloat16):
        check(wrong(LISTS.torch_fp16, narrow, narrow=narrow))
        check(wrong(LISTS.linalg_fp16, narrow, "linalg", narrow))
        check(wrong(LISTS.nn_fp16, narrow, "nn", narrow))
        check(wrong(LISTS.methods_fp16, narrow, "method", narrow))


def einsum_is_narrow():
    x = torch.ones(3, 3, device="cuda")
    with torch.autocast("cuda"):
        assert torch.einsum("ij,jk->ik", x, x).dtype == torch.float16


def what_cuda_runs_wide_is_wide():
    check(wrong(LISTS.torch_fp32, torch.float32))
    check(wrong(LISTS.nn_fp32, torch.float32, "nn"))
    check(wrong(LISTS.methods_fp32, torch.float32, "method"))
    check(wrong(LISTS.torch_need_autocast_promote, torch.float32))


def what_torch_promotes_is_promoted():
    check(promoted(LISTS.torch_expect_builtin_promote))
    check(promoted(LISTS.methods_expect_builtin_promote, "method"))


def what_cuda_bans_is_banned():
    for name, args, where in LISTS.banned:
        try:
            with torch.autocast("cuda"):
                getattr(where, name)(*args)
        except RuntimeError as error:
            assert "autocast" in str(error)
        else:
            raise AssertionError(f"{name} isn't banned")
