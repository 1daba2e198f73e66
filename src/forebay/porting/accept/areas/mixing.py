"""Host and card, and two cards, don't mix by accident."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from forebay.porting.accept.claims import needs, needs_cards, raises


def adding_host_and_card_raises() -> None:
    card, host = torch.ones(2, device="cuda"), torch.ones(2)
    with raises(RuntimeError, "same device"):
        card + host
    with raises(RuntimeError, "same device"):
        host + card
    with raises(RuntimeError, "same device"):
        host.add_(card)


def multiplying_matrices_of_host_and_card_raises() -> None:
    card, host = torch.ones(2, 2, device="cuda"), torch.ones(2, 2)
    for act in (lambda: host @ card, lambda: torch.bmm(card[None], host[None]), lambda: torch.einsum("ij,jk", card, host)):
        with raises(RuntimeError, "same device"):
            act()


def joining_host_and_card_raises() -> None:
    card, host = torch.ones(2, device="cuda"), torch.ones(2)
    for act in (lambda: torch.cat([card, host]), lambda: torch.stack([host, card])):
        with raises(RuntimeError, "same device"):
            act()


def two_cards_do_not_mix() -> None:
    needs_cards(2)
    with raises(RuntimeError, r"same device.*cuda:(0 and cuda:1|1 and cuda:0)"):
        torch.ones(2, device="cuda:1") + torch.ones(2, device="cuda:0")


def a_model_on_the_card_refuses_the_hosts_input() -> None:
    for model, x in (
        (nn.Linear(2, 2), torch.ones(1, 2)),
        (nn.Embedding(4, 2), torch.tensor([1])),
        (nn.LayerNorm(2), torch.ones(1, 2)),
        (nn.LSTM(2, 2), torch.ones(1, 1, 2)),
    ):
        model.cuda()
        with raises(RuntimeError, "device"):
            model(x)


def a_convolution_refuses_the_hosts_input() -> None:
    model = nn.Conv2d(1, 1, 1).cuda()
    with raises(RuntimeError, r"Input type.*weight type.*should be the same|same device"):
        model(torch.ones(1, 1, 2, 2))


def a_loss_refuses_targets_of_the_host() -> None:
    x = torch.randn(2, 3, device="cuda")
    with raises(RuntimeError, "same device"):
        F.cross_entropy(x, torch.tensor([0, 1]))
    with raises(RuntimeError, "same device"):
        F.mse_loss(x, torch.zeros(2, 3))


def a_number_of_the_host_mixes() -> None:
    x = torch.ones(2, device="cuda")
    assert (x + torch.tensor(2.0)).tolist() == [3, 3]
    assert (torch.tensor(2.0) * x).is_cuda
    assert (x + 2).is_cuda


def a_number_of_the_card_does_not_mix_with_the_host() -> None:
    one = torch.tensor(1.0, device="cuda")
    with raises(RuntimeError, "same device"):
        torch.ones(2) + one


def host_indices_pick_from_a_cuda_tensor() -> None:
    x = torch.arange(4.0, device="cuda")
    assert x[torch.tensor([3, 0])].tolist() == [3, 0]
    x[torch.tensor([1])] = 9
    assert x.tolist() == [0, 9, 2, 3]


def cuda_indices_do_not_pick_from_a_host_tensor() -> None:
    index = torch.tensor([0], device="cuda")
    with raises(RuntimeError, "indices should be either on"):
        torch.ones(2)[index]


def copying_into_a_tensor_crosses_devices() -> None:
    x = torch.zeros(3, device="cuda")
    x.copy_(torch.arange(3.0))
    assert x.tolist() == [0, 1, 2]
    assert torch.zeros(3).copy_(x).tolist() == [0, 1, 2]
    x[1:] = torch.tensor([7.0, 8.0])
    assert x.tolist() == [0, 7, 8]


def numpy_refuses_a_cuda_tensor() -> None:
    np = needs("numpy")
    x = torch.ones(2, device="cuda")
    for act in (x.numpy, lambda: np.asarray(x)):
        with raises(TypeError, "can't convert cuda:0 device type tensor to numpy"):
            act()
    assert x.cpu().numpy().tolist() == [1, 1]


def arrays_of_numpy_come_to_the_card() -> None:
    np = needs("numpy")
    x = torch.from_numpy(np.arange(3)).cuda()
    assert (x.tolist(), x.dtype) == ([0, 1, 2], torch.int64)


def comparing_host_and_card_raises() -> None:
    x = torch.ones(2, device="cuda")
    with raises(RuntimeError, "same device"):
        torch.equal(x, torch.ones(2))
    with raises(AssertionError, "device"):
        torch.testing.assert_close(x, torch.ones(2))


def an_out_argument_must_be_on_the_same_device() -> None:
    x = torch.ones(2, device="cuda")
    with raises(RuntimeError, "device"):
        torch.add(x, x, out=torch.empty(2))


def a_saved_gradient_of_another_device_is_refused() -> None:
    x = torch.ones(2, device="cuda", requires_grad=True)
    with raises(RuntimeError, "device"):
        x.grad = torch.ones(2)
