"""CUDA graphs: what is captured isn't run, what is replayed is."""

from __future__ import annotations

import torch
from torch import nn

from forebay.porting.accept.claims import raises


def _warm(act: object) -> None:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            act()  # type: ignore[operator]
    torch.cuda.current_stream().wait_stream(side)


def a_graph_is_replayed_over_new_inputs() -> None:
    x = torch.ones(4, device="cuda")
    _warm(lambda: x * 2 + 1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2 + 1
    x.fill_(5)
    graph.replay()
    assert y.tolist() == [11] * 4
    x.copy_(torch.arange(4.0))
    graph.replay()
    assert y.tolist() == [1, 3, 5, 7]


def what_is_captured_is_not_run() -> None:
    counter = torch.zeros(1, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        counter.add_(1)
    torch.cuda.synchronize()
    assert counter.item() == 0
    for _ in range(3):
        graph.replay()
    assert counter.item() == 3


def a_whole_training_step_is_captured() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, target = torch.randn(16, 4, device="cuda"), torch.randn(16, 1, device="cuda")

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    _warm(step)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimizer.step()
    losses = []
    for _ in range(5):
        graph.replay()
        losses.append(loss.item())
    assert sorted(losses, reverse=True) == losses
    assert losses[-1] < losses[0]


def a_graph_draws_new_numbers_at_each_replay() -> None:
    graph = torch.cuda.CUDAGraph()
    torch.rand(1, device="cuda")
    with torch.cuda.graph(graph):
        x = torch.rand(16, device="cuda")
    graph.replay()
    first = x.clone()
    graph.replay()
    assert not torch.equal(x, first)


def two_graphs_share_a_pool() -> None:
    pool = torch.cuda.graph_pool_handle()
    x = torch.ones(2, device="cuda")
    first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(first, pool=pool):
        y = x + 1
    with torch.cuda.graph(second, pool=pool):
        z = y * 3
    first.replay()
    second.replay()
    assert z.tolist() == [6, 6]
    assert first.pool() == pool


def capturing_can_be_asked_for() -> None:
    assert not torch.cuda.is_current_stream_capturing()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        inside = torch.cuda.is_current_stream_capturing()
        torch.ones(1, device="cuda")
    assert inside
    assert not torch.cuda.is_current_stream_capturing()


def reading_a_value_while_capturing_is_refused() -> None:
    x = torch.ones(1, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with raises(RuntimeError, "captur"), torch.cuda.graph(graph):
        x.item()
    torch.cuda.synchronize()


def callables_are_graphed_with_their_backwards() -> None:
    model = nn.Linear(3, 2).cuda()
    plain = nn.Linear(3, 2).cuda()
    plain.load_state_dict(model.state_dict())
    sample = torch.randn(4, 3, device="cuda", requires_grad=True)
    graphed = torch.cuda.make_graphed_callables(model, (sample,))
    x = torch.randn(4, 3, device="cuda", requires_grad=True)
    graphed(x).sum().backward()
    mine = x.grad
    other = x.detach().clone().requires_grad_()
    plain(other).sum().backward()
    assert mine is not None
    torch.testing.assert_close(mine, other.grad)
    torch.testing.assert_close(model.weight.grad, plain.weight.grad)


def a_graph_is_captured_by_hand() -> None:
    x = torch.zeros(2, device="cuda")
    graph = torch.cuda.CUDAGraph()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        graph.capture_begin()
        y = x + 4
        graph.capture_end()
    torch.cuda.current_stream().wait_stream(side)
    graph.replay()
    assert y.tolist() == [4, 4]
    graph.reset()


def a_graph_of_amp_keeps_the_narrow_types() -> None:
    x, w = torch.ones(4, 4, device="cuda"), torch.ones(4, 4, device="cuda")
    _warm(lambda: x @ w)
    graph = torch.cuda.CUDAGraph()
    with torch.autocast("cuda", dtype=torch.float16, cache_enabled=False), torch.cuda.graph(graph):
        y = x @ w
    graph.replay()
    assert (y.dtype, y[0, 0].item()) == (torch.float16, 4)
