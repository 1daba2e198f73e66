"""Facts of a traced module become a Model, which is checked against the module's weights.

Asked:  which of these matrices are attention, which the MLP, which experts; and what shape do they make?
Answer: in a layer, what comes before attention makes queries, keys and values; the first matrix after it that fits leads
        back to the width; the rest is the MLP. An MLP's matrices all have the width on one side; on the other, two or three times
        its own width in all: plain or gated. Widths of heads come from the call of attention.
Limits: all layers alike, but for dense layers before experts. What doesn't fit is named, with how to describe it by hand.
        No torch.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from forebay.errors import BadInput
from forebay.plan import model as nouns
from forebay.plan.model import Latent, Model
from forebay.plan.profile_facts import Attend, Facts, Part
from forebay.plan.read import Described

EXAMPLE = {"layers": 32, "width": 4096, "heads": 32, "kv_heads": 8, "mlp_width": 14336, "vocabulary": 128256}
HOW = f"write a Model's JSON by hand, as {json.dumps(EXAMPLE)} (docs/plan-models.md has all keys)"
CLOSE = 0.01  # how far a Model may be from the module's weights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One layer's shape."""

    heads: int
    kv_heads: int
    head: int
    latent: Latent | None
    gated: bool
    mlp: int  # 0: it has experts
    experts: nouns.Experts | None


def shape(facts: Facts, name: str) -> tuple[Model, list[str]]:
    """The Model, and notes on it."""
    notes: list[str] = []
    width = _width(facts)
    roles = _roles(facts, width)
    layers = [_layer(facts, i, width, roles) for i in range(len(facts.layers))]
    attention = {(one.heads, one.kv_heads, one.head, one.latent) for one in layers}
    dense = {(one.gated, one.mlp) for one in layers if one.experts is None}
    mixtures = {(one.gated, one.experts) for one in layers if one.experts is not None}
    if len(attention) > 1 or len(dense) > 1 or len(mixtures) > 1:
        common = Counter(layers).most_common(1)[0][0]
        odd = [facts.layers[i] for i, one in enumerate(layers) if one != common]
        raise BadInput("The layers differ in shape; a Model has one.", found=", ".join(odd[:4]), hint=HOW)
    first = layers[0]
    mixture = next((one.experts for one in layers if one.experts), None)
    if mixture is not None:
        count = sum(1 for one in layers if one.experts is None)
        if any(one.experts for one in layers[:count]):
            notes.append(f"{count} dense layers lie between the expert layers; they are planned as if they came first")
        mixture = nouns.Experts(
            count=mixture.count, chosen=mixture.chosen, width=mixture.width, shared_width=mixture.shared_width, dense_layers=count
        )
    vocabulary, positions, tied, more = _ends(facts, width)
    notes += more
    if facts.skipped:
        notes.append("the experts' routing needs values and was not run; their shape is that of their matrices")
    if facts.failed:
        notes.append(f"the forward ended early ({facts.failed}); layers after that are read by their names")
    made = Model(
        name=name,
        layers=len(layers),
        width=width,
        heads=first.heads,
        kv_heads=first.kv_heads,
        mlp_width=next((one.mlp for one in layers if one.experts is None), 0),
        vocabulary=vocabulary,
        gated_mlp=first.gated,
        tied_embeddings=tied,
        head_width=0 if first.latent or first.head * first.heads == width else first.head,
        positions=positions,
        latent=first.latent,
        experts=mixture,
    )
    return made, notes


def checked(model: Model, facts: Facts, weights: dict[str, int], small: int, notes: list[str]) -> Described:
    """The answer, if its weights are the module's; else an error that names what is left over."""
    real = sum(weights.values())
    if abs(model.parameters - real) > CLOSE * real:
        unseen = [p for p in facts.parts if not p.time and p.name not in facts.embeddings]
        left = unseen or [p for p in facts.parts if p.layer is None and model.width not in p.shape]
        named = ", ".join(f"{p.name} {p.shape}" for p in sorted(left, key=lambda p: -p.size)[:4])
        raise BadInput(
            f"The module has {real:,} weights in matrices, the shape that was found {model.parameters:,}.",
            found=f"not described: {named}" if named else f"read as {model}",
            hint=HOW,
        )
    if small > CLOSE * real:
        notes = [*notes, f"{small:,} weights of norms and biases are left out"]
    return Described(model=model, source=f"the module {model.name}, traced on the meta device", notes=tuple(notes))


def _width(facts: Facts) -> int:
    """What most matrices of the layers have on one side: every layer reads and writes it."""
    sides = Counter(side for p in facts.parts if p.layer is not None for side in {p.into or p.shape[-1], p.out or p.shape[-2]})
    names = {p.name: p for p in facts.parts}
    table = next((names[name].shape[-1] for name in facts.embeddings if name in names), 0)
    if sides.get(table):
        return table
    return max(sides, key=lambda side: (sides[side], -side))


def _suffix(facts: Facts, p: Part) -> str:
    return p.name.removeprefix(facts.layers[p.layer] + ".") if p.layer is not None else p.name


def _heads_lists(facts: Facts) -> set[str]:
    """Lists whose members attend: heads, not experts."""
    return {one.name for one in facts.experts if any((a.at + ".").startswith(one.name + ".") for a in facts.attends)}


def _roles(facts: Facts, width: int) -> dict[str, str]:
    """The name of a weight within its layer -> attention, mlp or expert. Layers that weren't reached go by those that were."""
    roles: dict[str, str] = {}
    not_experts = _heads_lists(facts)
    lists = [one.name + "." for one in facts.experts if one.name not in not_experts]
    for i in range(len(facts.layers)):
        parts = sorted((p for p in facts.parts if p.layer == i and p.time), key=lambda p: p.time)
        calls = [a for a in facts.attends if a.layer == i]
        if not calls or not parts:
            continue
        first, last = calls[0], calls[-1]
        homes = tuple(a.at + "." for a in calls if a.at != facts.layers[i])  # modules that do nothing but attend
        back = False
        for p in parts:
            leads_back = p.time > last.time and p.out == width and p.into == first.heads * len(calls) * (first.value or first.key)
            if p.name.startswith(tuple(lists)) or (p.many > 1 and p.time > last.time):
                role = "expert"
            elif p.time < last.time or p.name.startswith(homes) or _in_mha(facts, p) or (leads_back and not back):
                role, back = "attention", back or leads_back
            else:
                role = "mlp"
            roles.setdefault(_suffix(facts, p), role)
    for p in facts.parts:
        if p.layer is not None:
            listed = p.name.startswith(tuple(lists)) or (len(p.shape) == 3 and not p.time)
            role = "expert" if listed else _near(roles, _suffix(facts, p))
            roles.setdefault(_suffix(facts, p), role)
    return roles


def _in_mha(facts: Facts, p: Part) -> bool:
    """A weight of torch's own attention, whose parts lie beside in_proj_weight."""
    home = p.name.rpartition("out_proj")[0] or p.name.rpartition("in_proj")[0]
    return bool(home) and any(other.name == home + "in_proj_weight" for other in facts.parts)


def _near(roles: dict[str, str], suffix: str) -> str:
    """The role of the weights beside this one."""
    place = suffix
    while "." in place:
        place = place.rpartition(".")[0]
        beside = [role for name, role in roles.items() if name.startswith(place + ".") and role != "expert"]
        if beside:
            return Counter(beside).most_common(1)[0][0]
    return "mlp"


def _layer(facts: Facts, i: int, width: int, roles: dict[str, str]) -> _Layer:
    parts = [p for p in facts.parts if p.layer == i]
    by = {role: [p for p in parts if roles[_suffix(facts, p)] == role] for role in ("attention", "mlp", "expert")}
    calls = [a for a in facts.attends if a.layer == i] or [a for a in facts.attends if a.layer == facts.attends[0].layer]
    heads, kv_heads, head, latent = _attention(facts, i, width, by["attention"], calls)
    if by["expert"]:
        gated, mixture = _mixture(facts, i, width, by["expert"], by["mlp"])
        return _Layer(heads=heads, kv_heads=kv_heads, head=head, latent=latent, gated=gated, mlp=0, experts=mixture)
    gated, mlp = _mlp(facts.layers[i], [side for p in by["mlp"] for side in [_other(p, width)]], [p.name for p in by["mlp"]])
    return _Layer(heads=heads, kv_heads=kv_heads, head=head, latent=latent, gated=gated, mlp=mlp, experts=None)


def _other(p: Part, width: int, many: int = 1) -> int:
    """The side of a matrix that isn't the model's width; 0 where neither is."""
    size = p.size // many
    return size // width if width in (*p.shape, p.into, p.out) else 0


def _mlp(where: str, sides: list[int], names: list[str]) -> tuple[bool, int]:
    """Gated or plain, and how wide."""
    narrow = min(sides) if sides else 0
    if narrow and sum(sides) in (2 * narrow, 3 * narrow):
        return sum(sides) == 3 * narrow, narrow
    raise BadInput(f"The MLP of {where} can't be described.", found=", ".join(names[:6]) or "no matrices", hint=HOW)


def _attention(facts: Facts, i: int, width: int, parts: list[Part], calls: list[Attend]) -> tuple[int, int, int, Latent | None]:
    """Heads of queries, heads of keys and values, the width of a head, and the latent form."""
    if not calls and not facts.heads_said:
        raise BadInput(f"No attention was seen in {facts.layers[i]}.", found=", ".join(p.name for p in parts[:6]), hint=HOW)
    heads = sum(a.heads for a in calls) if calls else facts.heads_said
    head = calls[0].key if calls else width // heads
    value = (calls[0].value if calls else head) or head
    if len(calls) > 1 and not any(a.at.startswith(tuple(_heads_lists(facts)) or ("\0",)) for a in calls):
        raise BadInput(f"{facts.layers[i]} attends {len(calls)} times; plan knows decoder-only transformers.", hint=HOW)
    inner = [p for p in parts if p.into and width not in (p.into, p.out)]
    if inner:
        latent = _latent(parts, inner, width, heads, head)
        if latent is not None:
            return heads, heads, head, latent
    sides = sum(_other(p, width) for p in parts)
    both = sides - heads * head - heads * value
    if both > 0 and both % (head + value) == 0 and heads % (both // (head + value)) == 0:
        return heads, both // (head + value), head, None
    named = ", ".join(f"{p.name} {p.shape}" for p in parts[:6])
    raise BadInput(f"The attention of {facts.layers[i]} can't be described.", found=f"{heads} heads of {head}; {named}", hint=HOW)


def _latent(parts: list[Part], inner: list[Part], width: int, heads: int, head: int) -> Latent | None:
    """DeepSeek's latent attention, by the matrices that don't touch the model's width."""
    back = next((p for p in sorted(parts, key=lambda p: -p.time) if p.out == width and p.into % heads == 0), None)
    query = next((p for p in inner if p.out == heads * head), None)
    kv = next((p for p in inner if p is not query), None)
    if back is None or kv is None:
        return None
    value = back.into // heads
    plain = kv.out // heads - value
    down = next((p for p in parts if p.into == width and kv.into <= p.out < kv.into + head and p is not query), None)
    if down is None or plain <= 0:
        return None
    return Latent(query_rank=query.into if query else 0, kv_rank=kv.into, plain=plain, rotary=head - plain, value=value)


def _mixture(facts: Facts, i: int, width: int, experts: list[Part], others: list[Part]) -> tuple[bool, nouns.Experts]:
    """Experts of a layer, from a list of modules or from stacked weights, with the router and shared experts beside."""
    group = next(
        (one for one in facts.experts if one.layer == i and any(p.name.startswith(one.name + ".") for p in experts)), None
    )
    count = group.count if group else max(p.many for p in experts)
    one = [p for p in experts if p.name.startswith(group.name + ".")] if group else experts
    share = len(one) // count if group else len(one)
    gated, wide = _mlp(
        f"an expert in {facts.layers[i]}",
        [_other(p, width, 1 if group else p.many) for p in one[:share]],
        [p.name for p in one[:share]],
    )
    beside = [side for p in others if (side := _other(p, width)) not in (1, count)]
    shared = sum(beside) // (3 if gated else 2)
    chosen = facts.chosen or facts.chosen_said
    if not 0 < chosen <= count:
        raise BadInput(
            f"How many of its {count} experts a token chooses isn't seen in {facts.layers[i]}.", hint="profile(module, chosen=2)"
        )
    return gated, nouns.Experts(count=count, chosen=chosen, width=wide, shared_width=shared)


def _ends(facts: Facts, width: int) -> tuple[int, int, bool, list[str]]:
    """Words, rows of positions, whether the head is the embedding, and notes: what lies outside the layers."""
    outside = {p.name: p for p in facts.parts if p.layer is None}
    latest = max((p.time for p in facts.parts if p.layer is not None), default=0)
    tables = [outside[name] for name in facts.embeddings if name in outside]
    head = next((p for p in outside.values() if p.time > latest and p.into == width), None)
    tied = head is not None and head.name in facts.embeddings
    rows = head.size // width if head else 0
    words = next((p for p in tables if p.shape[0] == rows), None) or max(tables, key=lambda p: p.shape[0], default=None)
    notes = []
    if words is None and head is None:
        return 0, 0, True, ["nothing embeds words, and there is no head: planned without a vocabulary"]
    if head is None:
        notes.append("there is no head: planned as if it were the embedding")
    others = [p for p in tables if p is not words]
    loose = [p for p in outside.values() if not p.time and p not in tables and p.shape[-1] == width]
    if facts.failed and head is None and (unseen := next((p for p in loose if words and p.shape == words.shape), None)):
        head, notes = unseen, []  # the forward didn't come that far
        loose.remove(unseen)
    positions = sum(p.size // width for p in (*others, *loose))
    if len(others) + len(loose) > 1 or loose:
        names = ", ".join(p.name for p in (*others, *loose))
        notes.append(f"tables beside the words are counted as rows of positions: {names}")
    return (words.shape[0] if words else rows), positions, tied or head is None, notes
