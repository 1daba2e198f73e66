"""apex.optimizers.FusedAdam: Adam, or AdamW (its default), with the step kept in the group."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from forebay.porting.shim.journal import note
from forebay.porting.shim.standins.adam import adam_step
from forebay.porting.shim.standins.refuse import refuse


class FusedAdam(Optimizer):
    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        adam_w_mode: bool = True,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        set_grad_none: bool = True,
        capturable: bool = False,
        master_weights: bool = False,
    ) -> None:
        if amsgrad:
            raise RuntimeError("FusedAdam does not support the AMSGrad variant.")
        if capturable or master_weights:
            refuse("apex.optimizers.FusedAdam(capturable=True or master_weights=True)", "torch.optim.AdamW")
        note("apex.optimizers.FusedAdam", "emulated")
        super().__init__(
            params, {"lr": lr, "bias_correction": bias_correction, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        self.adam_w_mode, self.set_grad_none = adam_w_mode, set_grad_none

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(set_to_none=self.set_grad_none if set_to_none is None else set_to_none)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
            lists: list[list[Any]] = [[], [], [], []]
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p, dtype=torch.float32)
                    state["exp_avg_sq"] = torch.zeros_like(p, dtype=torch.float32)
                for one, value in zip(lists, (p.grad, p, state["exp_avg"], state["exp_avg_sq"])):  # noqa: B905
                    one.append(value)
            adam_step(
                lists,
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                step=group["step"],
                decoupled=self.adam_w_mode,
                bias_correction=group["bias_correction"],
                weight_decay=group["weight_decay"],
            )
        return loss
