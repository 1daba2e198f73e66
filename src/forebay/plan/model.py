"""The nouns Model and Workload: a network, and the work of training it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The routed and shared experts of a mixture. Each expert is an MLP of `width`, gated as the model's."""

    count: int  # routed experts of a layer
    chosen: int  # of them by each token
    width: int  # of one expert's hidden layer
    shared_width: int = 0  # of all shared experts together, which see every token
    dense_layers: int = 0  # the first layers, which have the plain MLP instead
    biased: bool = False  # each expert's matrices add a bias of their own
    clamped: bool = False  # what goes into the activation is cut off at a limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values come from one small vector.

    Widths of a head are parts: a query and a key have `plain` + `rotary`, a value has `value`.
    """

    query_rank: int  # 0: queries come from the full width
    kv_rank: int
    plain: int
    rotary: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Attention that looks back `tokens` only, but for one layer in `full_every` (0: no layer sees all)."""

    tokens: int
    full_every: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A decoder-only transformer, dense or a mixture of experts, as far as planning must know it.

    Shapes only: no weights, no torch.
    """

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    mlp_width: int  # of the dense MLP; 0: no layer has one
    vocabulary: int
    gated_mlp: bool = True
    tied_embeddings: bool = False
    head_width: int = 0  # 0: width // heads
    positions: int = 0  # learned position embeddings; 0: rotary, ALiBi or none
    latent: Latent | None = None
    experts: Experts | None = None
    window: Window | None = None
    predicted: int = 0  # extra layers that predict tokens further ahead (MTP, arXiv 2412.19437, section 2.2)

    @property
    def head(self) -> int:
        return self.head_width or self.width // self.heads

    @property
    def expert_layers(self) -> int:
        return self.layers - self.experts.dense_layers if self.experts else 0

    @property
    def attention_parameters(self) -> int:
        """Weights of one layer's attention: query, key, value and output matrices."""
        if (a := self.latent) is None:
            return 2 * self.width * self.heads * self.head + 2 * self.width * self.kv_heads * self.head
        key = a.plain + a.rotary
        query = self.width * a.query_rank + a.query_rank * self.heads * key if a.query_rank else self.width * self.heads * key
        kv = self.width * (a.kv_rank + a.rotary) + a.kv_rank * self.heads * (a.plain + a.value)
        return query + kv + self.heads * a.value * self.width

    @property
    def matrices(self) -> int:
        """Matrices of an MLP: gate, up and down, or up and down."""
        return 3 if self.gated_mlp else 2

    @property
    def mlp_parameters(self) -> int:
        return self.matrices * self.width * self.mlp_width

    @property
    def routed_parameters(self) -> int:
        """Weights of one layer's routed experts, all of them."""
        return self.matrices * self.width * self.experts.width * self.experts.count if self.experts else 0

    @property
    def shared_parameters(self) -> int:
        """Weights of one expert layer that see every token: the shared experts and the router."""
        return self.width * (self.matrices * self.experts.shared_width + self.experts.count) if self.experts else 0

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding: a row a word, and a row a position where positions are learned."""
        return (self.vocabulary + self.positions) * self.width

    @property
    def parameters(self) -> int:
        """Weights of matrices and embeddings; norms and biases, under a thousandth of a large model, are left out."""
        dense = self.layers - self.expert_layers
        head = 0 if self.tied_embeddings else self.vocabulary * self.width
        layers = self.layers * self.attention_parameters + dense * self.mlp_parameters
        return layers + self.expert_layers * (self.routed_parameters + self.shared_parameters) + self.embedding_parameters + head

    @property
    def active_parameters(self) -> int:
        """Weights that one token meets in matrix products: the chosen experts only, and the vocabulary once (the head)."""
        dense = self.layers - self.expert_layers
        layers = self.layers * self.attention_parameters + dense * self.mlp_parameters
        if (e := self.experts) is not None:
            chosen = self.matrices * self.width * e.width * e.chosen
            layers += self.expert_layers * (chosen + self.shared_parameters)
        return layers + self.vocabulary * self.width

    def seen(self, layer: int, tokens: int) -> int:
        """How far back, in tokens, the layer's attention looks at most."""
        if self.window is None or (self.window.full_every and layer % self.window.full_every == self.window.full_every - 1):
            return tokens
        return min(tokens, self.window.tokens)

    @property
    def windowed_layers(self) -> int:
        """Layers whose attention is cut by the window."""
        if self.window is None:
            return 0
        return self.layers - (self.layers // self.window.full_every if self.window.full_every else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A model with the batch, the sequence length and the number format in which it is trained."""

    model: Model
    sequences: int  # in a global batch
    tokens: int  # in a sequence
    number_format: str = "bf16"

    @property
    def tokens_a_step(self) -> int:
        return self.sequences * self.tokens

    @property
    def flop(self) -> float:
        """Of one step, forward and backward, without recomputing: six a weight that a token meets and token
        (Kaplan et al., arXiv 2001.08361, section 2.1), and attention in full: 12 x heads x head x tokens a layer and token.

        This is the convention of NeMo 2024, DGX Cloud and llm-foundry; `causal_flop` counts the half that causality needs.
        """
        return 6.0 * self.model.active_parameters * self.tokens_a_step + self._attention()

    @property
    def causal_flop(self) -> float:
        """As `flop`, with the half of attention that lies in the past, as Megatron-Bridge and recent MaxText count."""
        return 6.0 * self.model.active_parameters * self.tokens_a_step + self._attention() / 2

    def _attention(self) -> float:
        m = self.model
        width = m.heads * (2 * m.head if m.latent is None else m.latent.plain + m.latent.rotary + m.latent.value)
        cut = m.windowed_layers
        seen = (m.layers - cut) * self.tokens + (cut * min(m.window.tokens, self.tokens) if m.window else 0)
        return 6.0 * width * seen * self.tokens_a_step
