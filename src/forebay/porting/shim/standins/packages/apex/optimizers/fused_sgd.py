"""apex.optimizers.FusedSGD: torch's SGD with apex's arguments."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD

from forebay.porting.shim.journal import note
from forebay.porting.shim.standins.refuse import refuse


class FusedSGD(SGD):
    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        wd_after_momentum: bool = False,
        materialize_master_grads: bool = True,
        set_grad_none: bool = False,
    ) -> None:
        if wd_after_momentum:
            refuse("apex.optimizers.FusedSGD(wd_after_momentum=True)", "weight decay before momentum, as torch.optim.SGD has it")
        note("apex.optimizers.FusedSGD", "emulated")
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)
        self.set_grad_none = set_grad_none

    def zero_grad(self, set_to_none: bool | None = None) -> None:
        super().zero_grad(set_to_none=self.set_grad_none if set_to_none is None else set_to_none)
