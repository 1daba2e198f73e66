"""flash_attn.losses.cross_entropy: cross entropy in fp32, with a penalty on large logits (z-loss)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forebay.porting.shim.journal import noted
from forebay.porting.shim.standins.refuse import refuse


class CrossEntropyLoss(nn.Module):
    def __init__(
        self,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        logit_scale: float = 1.0,
        lse_square_scale: float = 0.0,
        inplace_backward: bool = False,
        process_group: Any = None,
        return_z_loss: bool = False,
    ) -> None:
        super().__init__()
        if process_group is not None:
            refuse("flash_attn.losses.cross_entropy.CrossEntropyLoss(process_group=...)", "torch's loss_parallel")
        self.ignore_index, self.reduction, self.smoothing = ignore_index, reduction, label_smoothing
        self.logit_scale, self.z_scale, self.return_z_loss = logit_scale, lse_square_scale, return_z_loss

    @noted("flash_attn.losses.cross_entropy.CrossEntropyLoss", "emulated")
    def forward(self, input: Tensor, target: Tensor, precomputed_lse: Tensor | None = None) -> Any:
        logits = input.float() * self.logit_scale
        losses = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none", label_smoothing=self.smoothing)
        counted = target != self.ignore_index
        z_losses = torch.where(counted, self.z_scale * logits.logsumexp(-1).square(), 0.0)
        losses = losses + z_losses
        if self.reduction != "none":
            share = counted.sum() if self.reduction == "mean" else 1
            losses, z_losses = losses.sum() / share, z_losses.sum() / share
        return (losses, z_losses) if self.return_z_loss else losses
