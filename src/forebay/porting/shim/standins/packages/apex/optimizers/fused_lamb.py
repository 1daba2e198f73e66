"""apex.optimizers.FusedLAMB (You et al. 2020, arXiv 1904.00962, algorithm 2, with a limit on the norm of all gradients)."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from forebay.porting.shim.journal import note


class FusedLAMB(Optimizer):
    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        adam_w_mode: bool = True,
        grad_averaging: bool = True,
        set_grad_none: bool = True,
        max_grad_norm: float = 1.0,
        use_nvlamb: bool = False,
    ) -> None:
        if amsgrad:
            raise RuntimeError("FusedLAMB does not support the AMSGrad variant.")
        note("apex.optimizers.FusedLAMB", "emulated")
        defaults = {"lr": lr, "bias_correction": bias_correction, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "grad_averaging": grad_averaging, "max_grad_norm": max_grad_norm})
        self.adam_w_mode, self.set_grad_none, self.use_nvlamb = adam_w_mode, set_grad_none, use_nvlamb

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(set_to_none=self.set_grad_none if set_to_none is None else set_to_none)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else torch.enable_grad()(closure)()
        norms = [p.grad.float().norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not norms:
            return loss
        norm = torch.stack([one.to(norms[0].device) for one in norms]).norm()
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            most = group["max_grad_norm"]
            shrink = float(torch.clamp(norm / most, min=1.0)) if most > 0 else 1.0
            for p in (p for p in group["params"] if p.grad is not None):
                self._one(p, group, p.grad.float() / shrink)
        return loss

    def _one(self, p: Any, group: dict[str, Any], g: Any) -> None:
        state, decay = self.state[p], group["weight_decay"]
        if not state:
            state["exp_avg"] = torch.zeros_like(p, dtype=torch.float32)
            state["exp_avg_sq"] = torch.zeros_like(p, dtype=torch.float32)
        beta1, beta2 = group["betas"]
        wide = p.float()
        if not self.adam_w_mode:
            g = g + decay * wide
        mean = state["exp_avg"].mul_(beta1).add_(g, alpha=1 - beta1 if group["grad_averaging"] else 1.0)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        first, second = (1 - beta ** group["step"] if group["bias_correction"] else 1.0 for beta in (beta1, beta2))
        update = (mean / first) / ((square / second).sqrt() + group["eps"])
        if self.adam_w_mode:
            update = update + decay * wide
        ratio = 1.0
        if self.use_nvlamb or decay != 0:
            of_weights, of_update = float(wide.norm()), float(update.norm())
            ratio = of_weights / of_update if of_weights and of_update else 1.0
        p.copy_(wide - group["lr"] * ratio * update)
