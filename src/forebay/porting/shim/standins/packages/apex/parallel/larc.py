"""apex.parallel.LARC: a learning rate for each layer (You, Gitman and Ginsburg 2017, arXiv 1708.03888), around an optimizer."""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.journal import note


class LARC:
    def __init__(self, optimizer: Any, trust_coefficient: float = 0.02, clip: bool = True, eps: float = 1e-8) -> None:
        note("apex.parallel.LARC", "emulated")
        self.optim, self.trust_coefficient, self.clip, self.eps = optimizer, trust_coefficient, clip, eps

    def __getattr__(self, name: str) -> Any:  # state, param_groups, state_dict, zero_grad, ...
        if name == "optim":
            raise AttributeError(name)
        return getattr(self.optim, name)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """The decay joins the gradient here, which is then scaled; the optimizer itself must not decay once more."""
        decays = [group.get("weight_decay", 0) for group in self.optim.param_groups]
        for group, decay in zip(self.optim.param_groups, decays):  # noqa: B905  # Python 3.9 has no `strict`
            group["weight_decay"] = 0
            for p in (p for p in group["params"] if p.grad is not None):
                of_weights, of_gradient = float(p.norm()), float(p.grad.norm())
                if of_weights and of_gradient:
                    rate = self.trust_coefficient * of_weights / (of_gradient + of_weights * decay + self.eps)
                    rate = min(rate / group["lr"], 1) if self.clip else rate
                    p.grad.add_(p, alpha=decay).mul_(rate)
        try:
            return self.optim.step() if closure is None else self.optim.step(closure)
        finally:
            for group, decay in zip(self.optim.param_groups, decays):  # noqa: B905
                group["weight_decay"] = decay
