"""Checks of CUDA graphs: what is captured, what a replay does, and what a capture doesn't allow."""

import copy

import pytest
import torch

NOT_PERMITTED = "operation not permitted when stream is capturing"


def a_capture_changes_nothing_and_a_replay_does_the_work():
    x = torch.zeros(4, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        assert torch.cuda.is_current_stream_capturing()
        y = x * 2 + 1
        x.add_(1)
    assert not torch.cuda.is_current_stream_capturing()
    assert x.tolist() == [0] * 4
    x.fill_(5)
    graph.replay()
    assert (x.tolist(), y.tolist()) == ([6] * 4, [11] * 4)
    graph.replay()
    assert (x.tolist(), y.tolist()) == ([7] * 4, [13] * 4)


def _step(model, optimiser, x, y):
    optimiser.zero_grad(set_to_none=True)
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimiser.step()
    return loss


def a_captured_training_step_is_the_same_as_an_eager_one():
    torch.manual_seed(1)
    layers = (torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.3), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    model = torch.nn.Sequential(*layers).cuda()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2, capturable=True)
    x, y = torch.randn(16, 8, device="cuda"), torch.randn(16, 1, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            _step(model, optimiser, x, y)
    torch.cuda.current_stream().wait_stream(side)
    eager = copy.deepcopy(model)
    eager_optimiser = torch.optim.Adam(eager.parameters(), 1e-2, capturable=True)
    eager_optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    graph = torch.cuda.CUDAGraph()
    dice = torch.cuda.get_rng_state()
    with torch.cuda.graph(graph):
        loss = _step(model, optimiser, x, y)
    assert torch.equal(torch.cuda.get_rng_state(), dice)
    for before, after in zip(eager.state_dict().values(), model.state_dict().values()):
        assert torch.equal(before, after)
    for _ in range(4):
        x.normal_()
        dice = torch.cuda.get_rng_state()
        graph.replay()
        moved_on = torch.cuda.get_rng_state()
        torch.cuda.set_rng_state(dice)
        assert loss.item() == _step(eager, eager_optimiser, x, y).item()
        assert torch.equal(torch.cuda.get_rng_state(), moved_on)


def an_lstm_and_its_gradients_are_captured():
    lstm = torch.nn.LSTM(4, 6, 2, dropout=0.5).cuda()
    x = torch.randn(7, 2, 4, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured, _ = lstm(x)
        captured.pow(2).sum().backward()
    x.normal_()
    torch.cuda.manual_seed(3)
    graph.replay()
    gradients = [p.grad.clone() for p in lstm.parameters()]
    lstm.zero_grad(set_to_none=True)
    torch.cuda.manual_seed(3)
    result, _ = lstm(x)
    result.pow(2).sum().backward()
    assert torch.equal(captured, result)
    for gradient, parameter in zip(gradients, lstm.parameters()):
        assert torch.equal(gradient, parameter.grad)


def a_graphed_callable_has_the_gradients_of_the_module():
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh()).cuda()
    plain = copy.deepcopy(module)
    graphed = torch.cuda.make_graphed_callables(module, (torch.randn(5, 4, device="cuda", requires_grad=True),))
    x = torch.randn(5, 4, device="cuda", requires_grad=True)
    x_plain = x.detach().clone().requires_grad_()
    graphed(x).pow(2).sum().backward()
    plain(x_plain).pow(2).sum().backward()
    assert torch.equal(x.grad, x_plain.grad)
    for one, other in zip(module.parameters(), plain.parameters()):
        assert torch.equal(one.grad, other.grad)


def a_stream_that_waits_for_a_capturing_one_is_captured_too():
    x, side, graph = torch.ones(3, device="cuda"), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            y = x * 3
        torch.cuda.current_stream().wait_stream(side)
        z = y + 1
    x.fill_(2)
    graph.replay()
    assert z.tolist() == [7] * 3


def the_outputs_live_as_long_as_the_graph_and_its_tensors_may_go():
    graph = torch.cuda.CUDAGraph()
    x = torch.ones(1000, device="cuda")
    with torch.cuda.graph(graph):
        y = (x * 2).sin().cos() + x
    wanted = (x * 2).sin().cos() + x
    del x
    torch.empty(4000, device="cuda").fill_(9)
    graph.replay()
    assert torch.equal(y, wanted)


def pinned_memory_is_read_again_at_each_replay():
    host = torch.ones(3).pin_memory()
    card = torch.empty(3, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        card.copy_(host, non_blocking=True)
    host.fill_(9)
    graph.replay()
    assert card.tolist() == [9] * 3


def graphs_share_a_pool_by_its_handle():
    first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    x = torch.ones(2, device="cuda")
    with torch.cuda.graph(first):
        y = x + 1
    with torch.cuda.graph(second, pool=first.pool()):
        z = y * 2
    assert first.pool() == second.pool() != torch.cuda.graph_pool_handle()
    first.replay()
    second.replay()
    assert z.tolist() == [4, 4]


def what_makes_the_host_wait_is_refused_in_a_capture():
    def capture(work):
        x = torch.ones(3, device="cuda")
        stream = torch.cuda.current_stream()
        try:
            with pytest.raises(RuntimeError) as raised, torch.cuda.graph(torch.cuda.CUDAGraph()):
                work(x)
        finally:
            torch.cuda.set_stream(stream)  # a failed capture leaves its stream current, as on a card
        return f"{raised.value} {raised.value.__context__}"

    for work in (
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.cpu(),
        lambda x: torch.ones(3).cuda(),
        lambda x: torch.cuda.synchronize(),
        lambda x: torch.cuda.current_stream().synchronize(),
    ):
        assert NOT_PERMITTED in capture(work)
    assert torch.ones(2, device="cuda").sum().item() == 2  # and then work goes on


def an_optimiser_that_cannot_be_captured_says_so():
    weight = torch.nn.Parameter(torch.ones(3, device="cuda"))
    optimiser = torch.optim.Adam([weight])
    weight.grad = torch.ones(3, device="cuda")
    optimiser.step()
    stream = torch.cuda.current_stream()
    with pytest.raises(RuntimeError, match="capturable"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimiser.step()
    torch.cuda.set_stream(stream)


def the_default_stream_captures_nothing_and_an_empty_graph_replays_nothing():
    with pytest.raises(RuntimeError, match="non-default stream"):
        torch.cuda.CUDAGraph().capture_begin()
    with pytest.raises(RuntimeError, match="without a preceding successful capture"):
        torch.cuda.CUDAGraph().replay()


def a_reset_graph_captures_again():
    graph, x = torch.cuda.CUDAGraph(), torch.ones(2, device="cuda")
    with torch.cuda.graph(graph):
        y = x + 1
    graph.reset()
    with torch.cuda.graph(graph):
        y = x + 10
    graph.replay()
    assert y.tolist() == [11, 11]


def the_graph_of_torch_accelerator_stands_on_the_same():
    if not hasattr(torch.accelerator, "Graph"):
        return
    x, graph = torch.zeros(3, device="cuda"), torch.accelerator.Graph()
    with torch.Stream("cuda"), graph:
        x += 1
    assert x.tolist() == [0] * 3
    graph.replay()
    assert x.tolist() == [1] * 3
