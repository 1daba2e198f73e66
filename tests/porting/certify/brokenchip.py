"""Kernels for the fake chip that are wrong, each in a way of its own: what a certification must tell apart.

Imported in a worker by --import. With BROKENCHIP_GONE set, `trunc` takes the chip away while that file isn't there: from then
on, until the file is, nothing works on it.
"""

import itertools
import os
import signal
import time
from pathlib import Path

import torch

GONE = Path(os.environ["BROKENCHIP_GONE"]) if "BROKENCHIP_GONE" in os.environ else None
counted = itertools.count()
library = torch.library.Library("aten", "IMPL")
host = torch.ops.aten


def replaced(name):
    """A decorator: this function computes the operator on the chip. It gets what the host computes, and what it computes from."""
    op = getattr(host, name).default

    def put(kernel):
        def carried(x, *rest):
            return kernel(op(x.cpu() if kernel.__name__ == "on_the_host" else alias(x), *rest), x).to("fakechip")

        library.impl(name, carried, "PrivateUse1")
        return carried

    return put


def alias(x):
    from forebay.porting.shim.chip.fakechip.bytes import to_host

    return to_host(x)


@replaced("erf")
def not_a_number(right, x):
    return torch.where(right > 0, torch.tensor(float("nan"), dtype=right.dtype), right)


@replaced("sinh")
def a_hundredth_too_much(right, x):
    return right * 1.01


@replaced("expm1")
def rounded_badly(right, x):
    return right * (1 + 8 * torch.finfo(right.dtype).eps) if right.dtype == torch.float32 else right


@replaced("log1p")
def otherwise_each_time(right, x):
    return right * (1 + next(counted) % 2 * torch.finfo(right.dtype).eps)


@replaced("digamma")
def on_the_host(right, x):
    return right


@replaced("lgamma")
def refused(right, x):
    raise RuntimeError("lgamma isn't implemented on this chip")


@replaced("erfinv")
def crashes(right, x):
    os.kill(os.getpid(), signal.SIGSEGV)


@replaced("i0")
def hangs(right, x):
    if right.dtype == torch.bfloat16:
        time.sleep(1000)
    return right


if GONE is not None:
    if GONE.exists() and GONE.read_text() == "gone":
        raise RuntimeError("no card answers")

    @replaced("trunc")
    def taken_away(right, x):
        if not GONE.exists():
            GONE.write_text("gone")
        if GONE.read_text() == "gone":
            os.kill(os.getpid(), signal.SIGABRT)
        return right
