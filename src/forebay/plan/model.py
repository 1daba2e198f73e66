"""The nouns Model and Workload: a network, and the work of training it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A dense decoder-only transformer, as far as planning must know it.

    Shapes only: no weights, no torch. Mixtures of experts come with the planner.
    """

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int
    gated_mlp: bool = True
    tied_embeddings: bool = False

    @property
    def parameters(self) -> int:
        """Weights of matrices and embeddings; norms and biases, under a thousandth of a large model, are left out."""
        head = self.width // self.heads
        attention = 2 * self.width * self.width + 2 * self.width * self.kv_heads * head
        mlp = (3 if self.gated_mlp else 2) * self.width * self.mlp_width
        embeddings = (1 if self.tied_embeddings else 2) * self.vocabulary * self.width
        return self.layers * (attention + mlp) + embeddings


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model with the batch, the sequence length and the number format in which it is trained."""

    model: Model
    sequences: int  # in a global batch
    tokens: int  # in a sequence
    number_format: str = "bf16"

    @property
    def flop(self) -> float:
        """Of one step, forward and backward: six a parameter and token (Kaplan et al., arXiv 2001.08361, section 2.1),
        and attention's 12 x layers x width x tokens a token."""
        m, seen = self.model, self.sequences * self.tokens
        return 6.0 * m.parameters * seen + 12.0 * m.layers * m.width * self.tokens * seen
