"""Operators to which a rule of the measure doesn't apply, and why.

A name stands for all its variants. They are facts of torch 2.4 to 2.13, read in its
documentation; a name that a torch doesn't have does no harm.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

# Its meaning depends on the format, so in float64 it answers another question: the reference chip is the truth.
OF_THE_FORMAT = frozenset(
    {
        "nextafter",  # the neighbour in the format
        "nan_to_num",  # infinity becomes the format's largest number
        "frexp",
        "ldexp",
        "empty_like",
        "logit",  # clamps by the format's epsilon
        "nn.functional.rms_norm",  # the same
        "linalg.matrix_rank",
        "linalg.pinv",
        "pinverse",
        "linalg.lstsq",
    }
)

# A decomposition that is unique only up to a sign, a phase or an order: compared as torch's database prepares it for gradients.
UNIQUE_ONLY_PROCESSED = frozenset(
    {"svd", "linalg.svd", "linalg.eig", "linalg.eigh", "linalg.eigvals", "lobpcg", "svd_lowrank", "pca_lowrank", "symeig"}
)

# Torch's page of torch.use_deterministic_algorithms lists these as not deterministic on CUDA, forward or backward: sums by
# atomic additions, in whatever order they come.
MAY_DIFFER_TWICE = frozenset(
    {
        "nn.functional.adaptive_avg_pool2d",
        "nn.functional.adaptive_avg_pool3d",
        "nn.functional.adaptive_max_pool2d",
        "nn.functional.fractional_max_pool2d",
        "nn.functional.fractional_max_pool3d",
        "nn.functional.interpolate",
        "nn.functional.upsample_bilinear",
        "nn.functional.upsample_nearest",
        "nn.functional.grid_sample",
        "nn.functional.ctc_loss",
        "nn.functional.embedding_bag",
        "nn.functional.embedding",
        "nn.functional.max_unpool1d",
        "nn.functional.max_unpool2d",
        "nn.functional.max_unpool3d",
        "nn.functional.pad",
        "bincount",
        "histc",
        "kthvalue",
        "median",
        "cumsum",
        "cumulative_trapezoid",
        "put",
        "take",
        "index_add",
        "index_put",
        "index_select",
        "index_copy",
        "gather",
        "scatter",
        "scatter_add",
        "scatter_reduce",
        "repeat_interleave",
        "__getitem__",
    }
)

# The host itself differs from call to call: its solver (LAPACK's gelsy) starts from pivots that torch doesn't set, so the last
# bits hang on what the memory held. Seen on torch 2.13: up to 15 answers in 3,000 like calls; with driver="gels" one.
HOST_DIFFERS_TWICE = frozenset({"linalg.lstsq"})

# The database's own samples only: the time grows without end with the argument's value (a polynomial's degree), or the host
# takes a minute for a larger sample.
SLOW_BY_VALUE = frozenset(
    {
        "grid_sampler_3d",
        "special.laguerre_polynomial_l",
        "special.legendre_polynomial_p",
        "special.hermite_polynomial_h",
        "special.hermite_polynomial_he",
        "special.chebyshev_polynomial_t",
        "special.chebyshev_polynomial_u",
        "special.chebyshev_polynomial_v",
        "special.chebyshev_polynomial_w",
        "special.shifted_chebyshev_polynomial_t",
        "special.shifted_chebyshev_polynomial_u",
        "special.shifted_chebyshev_polynomial_v",
        "special.shifted_chebyshev_polynomial_w",
    }
)


def listed(operator: str, table: AbstractSet[str]) -> bool:
    """Whether a table has this operator: under its own name, or that of which it is a variant."""
    words = operator.split(".")
    return any(".".join(words[:count]) in table for count in range(1, len(words) + 1))
