"""The names of torch._C that torch.cuda stands on.

Asked:  how does torch.cuda come alive without replacing it?
Answer: torch.cuda is Python over some fifty functions and classes of torch._C that only a CUDA build has. They are given
        here, between the import of torch._C and that of torch.cuda, so that torch's own text runs: its lazy start, its
        device and stream contexts, its memory summary, its random states. It stays right from one torch to the next. In a
        CUDA build they take the place of those that would look for a driver.
Limits: what would need a real CUDA runtime (IPC, the caching allocator's pools) is refused by name, with the reason.
"""

from __future__ import annotations

import sys
from typing import Any

from forebay.porting.shim.cards import Cards
from forebay.porting.shim.torch_c import copies, devices, graphs, memory, refusals, runtime, streams

# How the names begin that torch._C has in a CUDA build only: what can be called there looks for a driver.
OF_A_CUDA_BUILD = (
    "_cuda",
    "_cudnn",
    "_CUDA",
    "_Cuda",
    "_nccl_",
    "_gds_",
    "_cusparselt",
    "_MemPool",
    "_broadcast",
    "_gather",
    "_scatter",
)


def fill(torch_c: Any, cards: Cards) -> None:
    """Give torch._C our names. Before that a CUDA build loses its own, so that both builds go one way, the one that is tested."""
    for name in [name for name in vars(torch_c) if name.startswith(OF_A_CUDA_BUILD)]:
        delattr(torch_c, name)
        sys.modules.pop(f"torch._C.{name}", None)  # some are modules, which an import would find there
    for name, value in _names(torch_c, cards).items():
        setattr(torch_c, name, value)
    torch_c._has_cuda = True  # torch.backends.cuda.is_built(), which torch.cuda.Stream asks for
    torch_c.has_cuda = True
    torch_c._has_cudnn = False  # or a CUDA build's LSTM would ask for its version


def _names(torch_c: Any, cards: Cards) -> dict[str, Any]:
    return {
        **devices.functions(cards),
        **memory.functions(cards),
        **streams.functions(cards),
        **streams.classes(torch_c, cards),
        **graphs.functions(cards),
        **copies.functions(),
        **runtime.functions(cards),
        **refusals.functions(),
    }
