"""Random numbers of the card."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from forebay.porting.accept.claims import needs_cards, needs_names, raises


def the_same_seed_gives_the_same_numbers() -> None:
    torch.manual_seed(1)
    first = torch.randn(4, device="cuda")
    torch.manual_seed(1)
    assert torch.equal(torch.randn(4, device="cuda"), first)
    torch.cuda.manual_seed_all(1)
    assert torch.equal(torch.randn(4, device="cuda"), first)
    torch.cuda.manual_seed(1)
    assert torch.equal(torch.randn(4, device="cuda"), first)


def another_seed_gives_other_numbers() -> None:
    torch.manual_seed(1)
    first = torch.randn(16, device="cuda")
    torch.manual_seed(2)
    assert not torch.equal(torch.randn(16, device="cuda"), first)


def the_cards_numbers_are_not_the_hosts() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    torch.randn(4, device="cuda")
    F.dropout(torch.ones(9, device="cuda"), 0.5)
    torch.ones(4, device="cuda").multinomial(1)
    assert torch.equal(torch.get_rng_state(), before)


def the_hosts_draws_leave_the_card_alone() -> None:
    torch.cuda.manual_seed(5)
    first = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(5)
    torch.rand(100)
    assert torch.equal(torch.rand(3, device="cuda"), first)


def each_card_has_its_own_numbers() -> None:
    needs_cards(2)
    torch.cuda.manual_seed_all(3)
    a = torch.randn(3, device="cuda:0")
    assert torch.equal(torch.randn(3, device="cuda:1").cpu(), a.cpu())
    torch.cuda.manual_seed(4)
    assert not torch.equal(torch.randn(3, device="cuda:1").cpu(), torch.randn(3, device="cuda:0").cpu())


def dropout_continues_from_a_saved_state() -> None:
    x = torch.ones(64, device="cuda")
    state = torch.cuda.get_rng_state()
    first = F.dropout(x, 0.5)
    torch.cuda.set_rng_state(state)
    assert torch.equal(F.dropout(x, 0.5), first)
    assert not torch.equal(F.dropout(x, 0.5), first)


def a_state_is_a_byte_tensor_of_the_host() -> None:
    state = torch.cuda.get_rng_state()
    assert (state.dtype, state.device.type) == (torch.uint8, "cpu")
    states = torch.cuda.get_rng_state_all()
    assert len(states) == torch.cuda.device_count() > 0
    torch.cuda.set_rng_state_all(states)


def a_cuda_generator_draws_by_itself() -> None:
    generator = torch.Generator(device="cuda").manual_seed(7)
    assert generator.device.type == "cuda"
    first = torch.rand(3, device="cuda", generator=generator)
    torch.rand(3, device="cuda")
    generator.manual_seed(7)
    assert torch.equal(torch.rand(3, device="cuda", generator=generator), first)
    assert generator.initial_seed() == 7


def a_cuda_generator_is_needed_for_cuda() -> None:
    with raises(RuntimeError, "Expected a 'cuda' device type for generator"):
        torch.rand(2, device="cuda", generator=torch.Generator())
    with raises(RuntimeError, "Expected a 'cpu' device type for generator"):
        torch.rand(2, generator=torch.Generator(device="cuda"))


def a_generators_state_can_be_kept() -> None:
    generator = torch.Generator(device="cuda").manual_seed(1)
    state = generator.get_state()
    first = torch.randn(5, device="cuda", generator=generator)
    generator.set_state(state)
    assert torch.equal(torch.randn(5, device="cuda", generator=generator), first)


def a_generator_counts_its_offset() -> None:
    generator = torch.Generator(device="cuda").manual_seed(1)
    needs_names(generator, "get_offset")
    assert generator.get_offset() == 0
    torch.rand(4, device="cuda", generator=generator)
    assert generator.get_offset() > 0
    generator.set_offset(0)
    first = torch.rand(4, device="cuda", generator=generator)
    generator.set_offset(0)
    assert torch.equal(torch.rand(4, device="cuda", generator=generator), first)


def fork_rng_brings_the_numbers_back() -> None:
    torch.cuda.manual_seed(1)
    with torch.random.fork_rng(devices=[0]):
        inside = torch.randn(2, device="cuda")
    assert torch.equal(torch.randn(2, device="cuda"), inside)


def the_initial_seed_can_be_read() -> None:
    torch.cuda.manual_seed(1234)
    torch.rand(2, device="cuda")
    assert torch.cuda.initial_seed() == 1234
    assert torch.cuda.default_generators[0].initial_seed() == 1234


def every_in_place_draw_is_seeded() -> None:
    def draw() -> list[torch.Tensor]:
        torch.manual_seed(9)
        x = torch.zeros(8, device="cuda")
        return [
            x.clone().normal_(),
            x.clone().uniform_(),
            x.clone().bernoulli_(0.5),
            x.clone().exponential_(),
            torch.randperm(8, device="cuda"),
            torch.randint(9, (8,), device="cuda"),
            torch.multinomial(torch.ones(8, device="cuda"), 4),
            F.dropout(x + 1, 0.5),
            F.rrelu(x - 1, training=True),
            torch.poisson(x + 3),
        ]

    for one, other in zip(draw(), draw()):  # noqa: B905  # Python 3.9
        assert torch.equal(one, other)


def activation_checkpointing_draws_the_same_numbers_twice() -> None:
    from torch.utils.checkpoint import checkpoint

    layer = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5)).cuda()
    x = torch.randn(3, 4, device="cuda", requires_grad=True)
    torch.manual_seed(1)
    (plain,) = torch.autograd.grad(layer(x).sum(), x)
    for reentrant in (False, True):
        torch.manual_seed(1)
        layer.zero_grad()
        x.grad = None
        checkpoint(layer, x, use_reentrant=reentrant).sum().backward()
        torch.testing.assert_close(x.grad, plain)
