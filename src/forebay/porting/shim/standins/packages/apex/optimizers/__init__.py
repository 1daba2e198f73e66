"""apex.optimizers. Each computes in fp32 whatever the parameter's type, as the fused kernels do."""

from forebay.porting.shim.standins.refuse import refused

from .fused_adam import FusedAdam
from .fused_lamb import FusedLAMB
from .fused_sgd import FusedSGD

FusedNovoGrad = refused("apex.optimizers.FusedNovoGrad", "apex.optimizers.FusedAdam or an optimizer of torch.optim")
FusedAdagrad = refused("apex.optimizers.FusedAdagrad", "torch.optim.Adagrad")
FusedMixedPrecisionLamb = refused("apex.optimizers.FusedMixedPrecisionLamb", "apex.optimizers.FusedLAMB")

__all__ = ["FusedAdagrad", "FusedAdam", "FusedLAMB", "FusedMixedPrecisionLamb", "FusedNovoGrad", "FusedSGD"]
