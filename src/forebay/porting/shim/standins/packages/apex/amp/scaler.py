"""The scale of a loss, and what an optimizer needs around its step."""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch import Tensor

WINDOW = 2000  # steps without an overflow before the scale doubles
START = 2.0**16


class LossScaler:
    """Halves after an overflow, doubles after WINDOW good steps. With a fixed scale it does neither."""

    def __init__(self, fixed: float | None, *, least: float | None, most: float) -> None:
        self.dynamic = fixed is None
        self.scale = min(most, START) if fixed is None else fixed
        self.unskipped = 0
        self._least, self._most = least, most

    def update(self, finite: bool) -> None:
        if not self.dynamic:
            return
        self.unskipped = self.unskipped + 1 if finite else 0
        if not finite:
            self.scale = max(self._least or 0.0, self.scale / 2)
        elif self.unskipped == WINDOW:
            self.scale, self.unskipped = min(self._most, self.scale * 2), 0


class Masters:
    """Takes an optimizer's step in hand: it is left out after an overflow, and may work on fp32 copies of narrow parameters.

    The copies take the parameters' places in the optimizer's groups; `pairs` are (the model's, the copy).
    """

    def __init__(self, optimizer: Any, copies: bool) -> None:
        self.skip = False
        self.pairs: list[tuple[Any, Any]] = []
        self._wide: list[Any] = []
        self._aside: dict[int, Tensor | None] = {}
        for group in optimizer.param_groups:
            for place, p in enumerate(group["params"]):
                if copies and p.dtype in (torch.float16, torch.bfloat16):
                    copy = torch.nn.Parameter(p.detach().float(), requires_grad=p.requires_grad)
                    self.pairs.append((p, copy))
                    group["params"][place] = copy
                    if p in optimizer.state:
                        optimizer.state[copy] = optimizer.state.pop(p)
                else:
                    self._wide.append(p)
        self._around_step(optimizer)
        self._around_zero_grad(optimizer)

    def put_aside(self) -> None:
        """Gradients of an earlier backward are unscaled already: they wait while the next ones come."""
        self._aside = {id(p): p.grad for p in self._wide}
        for p in (*self._wide, *(model for model, _ in self.pairs)):
            p.grad = None

    def unscale(self, scale: float) -> bool:
        """Whether all gradients were finite."""
        finite = True
        for p in self._wide:
            if p.grad is not None:
                p.grad.div_(scale)
                finite = finite and bool(torch.isfinite(p.grad).all())
            before = self._aside.get(id(p))
            if before is not None:
                p.grad = before if p.grad is None else p.grad.add_(before)
        for model, copy in self.pairs:
            if model.grad is not None:
                fresh = model.grad.float() / scale
                finite = finite and bool(torch.isfinite(fresh).all())
                copy.grad = fresh if copy.grad is None else copy.grad + fresh
                model.grad = None
        return finite

    def _around_step(self, optimizer: Any) -> None:
        real = optimizer.step

        @functools.wraps(real)
        def step(_: Any, *args: Any, **kwargs: Any) -> Any:
            if self.skip:
                self.skip = False
                for _, copy in self.pairs:
                    copy.grad = None
                return None
            result = real(*args, **kwargs)
            with torch.no_grad():
                for model, copy in self.pairs:
                    model.copy_(copy)
            return result

        optimizer.step = types.MethodType(step, optimizer)  # a method: schedulers wrap what is behind it

    def _around_zero_grad(self, optimizer: Any) -> None:
        real = optimizer.zero_grad

        @functools.wraps(real)
        def zero_grad(_: Any, *args: Any, **kwargs: Any) -> None:
            real(*args, **kwargs)
            for model, _ in self.pairs:
                model.grad = None

        optimizer.zero_grad = types.MethodType(zero_grad, optimizer)
