"""One call of an operator on the fake chip: its tensors cross to the host, torch's CPU kernel runs, its results cross back.

Asked:  what computes when an operator gets tensors of the fake chip?
Answer: `on_host`, the fallback of its dispatch key: the kernel of the host, over the same bytes, with the card's random numbers.
Limits: some 20 microseconds a call.
"""

from __future__ import annotations

from typing import Any

import torch

from forebay.porting.shim.chip.fakechip.bytes import NAME, ON_HOST, current_device, device_of, on_chip, to_chip, to_host

MIXED = ("aten::index", "aten::_index_put_impl_", "aten::_unsafe_index", "aten::_foreach_", "aten::_fused_", "aten::_ctc_loss")

generators: dict[int, Any] = {}  # each card's default one
wrong: dict[Any, Any] = {}  # kernels that a test has put in the place of the host's, by operator (faults/)


class Call:
    """The tensors of one call and their host aliases."""

    def __init__(self, op: Any) -> None:
        self.name = op._schema.name
        self.index: int | None = None
        self.aliases: dict[int, tuple[Any, Any]] = {}
        self.host_tensor = False

    def enter(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if not on_chip(value):
                self.host_tensor |= value.dim() > 0
                return value
            place = device_of(value).index
            if self.index is None:
                self.index = place
            elif self.index != place and not self.name.startswith(MIXED):
                self._refuse(f"{NAME}:{self.index}", f"{NAME}:{place}")
            alias = to_host(value)
            self.aliases[id(alias)] = (alias, value)
            return alias
        if isinstance(value, (list, tuple)):
            return type(value)(self.enter(one) for one in value)
        if isinstance(value, torch.device):
            if value.type == NAME:
                self.index = current_device() if value.index is None else value.index
            return torch.device("cpu")
        return value

    def check(self) -> None:
        if self.host_tensor and self.index is not None and not self.name.startswith((*MIXED, "c10d::")):
            self._refuse(f"{NAME}:{self.index}", "cpu")

    def _refuse(self, one: str, other: str) -> None:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{one} and {other}! (when checking the arguments of {self.name})"
        )

    def leave(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if on_chip(value):
                return value
            known = self.aliases.get(id(value))
            if known is not None:
                alias, mine = known
                if alias.shape != mine.shape:  # an out= that was given another shape within its memory
                    _reshaped(mine, alias)
                return mine
            if value.layout != torch.strided:
                raise NotImplementedError(f"{NAME} carries strided tensors only; {self.name} made a {value.layout} one")
            storage = value.untyped_storage()
            for alias, mine in self.aliases.values():
                if storage.nbytes() and alias.untyped_storage()._cdata == storage._cdata:
                    return _as_view(mine, value)
            return to_chip(value, current_device() if self.index is None else self.index)
        if isinstance(value, (list, tuple)):
            return type(value)(self.leave(one) for one in value)
        return value


def _reshaped(mine: Any, alias: Any) -> None:
    op = torch.ops.aten.set_.source_Storage_storage_offset
    set_tensor(op, mine, mine.untyped_storage(), mine.storage_offset(), alias.shape, alias.stride())


def _as_view(owner: Any, shape_of: Any) -> Any:
    """The owner's storage in another shape. DLPack's tensors begin at the alias's own first byte."""
    offset = owner.storage_offset() + shape_of.storage_offset()
    return torch.ops.aten.as_strided.default.redispatch(ON_HOST, owner, shape_of.shape, shape_of.stride(), offset)


def on_host(op: Any, *args: Any, **kwargs: Any) -> Any:
    """The fallback: any operator, by torch's CPU kernel over the same bytes."""
    call = Call(op)
    kernel = wrong.get(op, op)
    args = tuple(call.enter(one) for one in args)
    given = kwargs
    kwargs = {name: call.enter(one) for name, one in kwargs.items()}
    call.check()
    with _HostDice(op, kwargs, args, call.index) as dice:
        try:
            with torch._C._DisableAutocast():  # it has cast for this chip already; the host's own isn't meant
                return call.leave(kernel(*dice.args, **dice.kwargs))
        except RuntimeError as error:
            if "Expected a value of type 'Tensor'" in str(error):
                return call.leave(kernel(*_numbers_as_tensors(op, dice.args), **dice.kwargs))
            if not _outs(op) or "resize storage" not in str(error):
                raise
        fresh = {name: torch.empty(0, dtype=given[name].dtype) for name in _outs(op)}
        made = kernel(*dice.args, **{**dice.kwargs, **fresh})
    for name, one in fresh.items():
        set_tensor(torch.ops.aten.set_.source_Tensor, given[name], to_chip(one, device_of(given[name]).index))
        call.aliases[id(one)] = (one, given[name])
    return call.leave(made)


def _numbers_as_tensors(op: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """torch's own numbers in tensors come here as numbers, which not every operator takes. They have no format of their own."""
    kinds = [str(argument.type) for argument in op._schema.arguments]
    first = next((one for one in args if isinstance(one, torch.Tensor)), None)
    return tuple(
        torch.tensor(one, dtype=torch.result_type(first, one) if first is not None else None, device="cpu")
        if kinds[place] == "Tensor" and isinstance(one, (bool, int, float, complex))
        else one
        for place, one in enumerate(args)
    )


_out_names: dict[Any, tuple[str, ...]] = {}


def _outs(op: Any) -> tuple[str, ...]:
    names = _out_names.get(op)
    if names is None:
        names = tuple(argument.name for argument in op._schema.arguments if argument.is_out and str(argument.type) == "Tensor")
        _out_names[op] = names
    return names


_place_of_generator = torch._C.Generator.device.__get__


class _HostDice:
    """While it is open, random numbers come from the card's generator: the host's has its state."""

    def __init__(self, op: Any, kwargs: dict[str, Any], args: tuple[Any, ...], index: int | None) -> None:
        self.kwargs, self.args = kwargs, args
        self._mine: Any = None
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, torch.Generator)]
        if given:
            self._mine = given[0]
            if _place_of_generator(self._mine).type == "cpu" and index is not None:
                raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu'")
        elif torch.Tag.nondeterministic_seeded in op.tags:
            self._mine = generators[current_device() if index is None else index]

    def __enter__(self) -> _HostDice:
        if self._mine is not None:
            self._host = torch.Generator()
            self._host.set_state(self._mine.get_state())
            self.args = tuple(self._host if isinstance(one, torch.Generator) else one for one in self.args)
            self.kwargs = {name: self._host if isinstance(one, torch.Generator) else one for name, one in self.kwargs.items()}
            self._before = torch.default_generator.get_state()
            torch.default_generator.set_state(self._mine.get_state())
            self._start = torch.default_generator.get_state()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._mine is not None:
            used = torch.default_generator.get_state()
            self._mine.set_state(self._host.get_state() if torch.equal(used, self._start) else used)
            torch.default_generator.set_state(self._before)


def set_tensor(op: Any, tensor: Any, *source: Any) -> Any:
    """Views and set_: only the shape and the storage change, which torch's own kernel does for any device."""
    return op.redispatch(ON_HOST, tensor, *source)
