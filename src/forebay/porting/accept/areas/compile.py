"""torch.compile, torch.export, torch.func and operators of one's own."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from forebay.porting.accept.claims import close, raises


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4)).cuda()


def a_compiled_model_gives_the_same_forward_and_backward() -> None:
    plain, other = _model(), _model()
    compiled = torch.compile(other)
    x = torch.randn(3, 8, device="cuda")
    for model in (plain, compiled):
        out = model(x)
        assert out.is_cuda
        out.square().sum().backward()
    for one, two in zip(plain.parameters(), other.parameters()):  # noqa: B905
        assert two.grad is not None
        close(two.grad, one.grad, 1e-4)
    close(compiled(x), plain(x), 1e-4)


def a_compiled_module_keeps_its_names() -> None:
    model = nn.Linear(2, 2).cuda()
    compiled = torch.compile(model)
    assert compiled._orig_mod is model
    assert list(compiled.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    assert isinstance(compiled, nn.Module)


def a_function_is_compiled_by_a_decorator() -> None:
    @torch.compile
    def double(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x) * 0 + 2 * x

    assert double(torch.ones(1, 2, device="cuda")).tolist() == [[2, 2]]


def a_module_is_compiled_in_place() -> None:
    model = _model()
    x = torch.randn(2, 8, device="cuda")
    expected = model(x)
    model.compile()
    close(model(x), expected, 1e-4)
    assert next(iter(model.state_dict())) == "0.weight"


def compiled_code_knows_that_it_is_compiled() -> None:
    seen: list[bool] = []

    def act(x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return x + 1
        seen.append(False)
        return x - 1

    assert torch.compile(act)(torch.zeros(1, device="cuda")).item() == 1
    assert act(torch.zeros(1, device="cuda")).item() == -1
    assert seen == [False]


def a_break_in_the_graph_changes_no_result() -> None:
    @torch.compile
    def act(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        if y.sum().item() > 0:
            return y + 1
        return y - 1

    assert act(torch.ones(2, device="cuda")).tolist() == [3, 3]
    assert act(-torch.ones(2, device="cuda")).tolist() == [-3, -3]


def a_full_graph_with_a_break_is_refused() -> None:
    import torch._dynamo

    def act(x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        torch._dynamo.graph_break()
        return y + 1

    with raises(torch._dynamo.exc.Unsupported):
        torch.compile(act, fullgraph=True)(torch.ones(1, device="cuda"))


def breaks_in_the_graph_are_explained() -> None:
    import torch._dynamo

    def act(x: torch.Tensor) -> torch.Tensor:
        y = x.sin()
        torch._dynamo.graph_break()
        return y.cos()

    told = torch._dynamo.explain(act)(torch.ones(1, device="cuda"))
    assert (told.graph_count, told.graph_break_count) == (2, 1)


def a_backend_of_ones_own_gets_a_graph_of_the_card() -> None:
    seen: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        seen.append((len(list(graph.graph.nodes)) > 2, {x.device.type for x in inputs if torch.is_tensor(x)}))
        return graph.forward

    compiled = torch.compile(lambda x: x.sin() + 1, backend=backend)
    assert compiled(torch.zeros(2, device="cuda")).tolist() == [1, 1]
    compiled(torch.ones(2, device="cuda"))
    assert seen == [(True, {"cuda"})]


def a_new_shape_compiles_again_and_then_for_all() -> None:
    from torch._dynamo.testing import CompileCounter

    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(lambda x: x * 2, backend=counter)
    for size in (3, 4, 5, 6):
        assert compiled(torch.ones(size, device="cuda")).shape == (size,)
    assert counter.frame_count == 2
    counter = CompileCounter()
    compiled = torch.compile(lambda x: x * 3, backend=counter, dynamic=True)
    for size in (3, 4, 5):
        compiled(torch.ones(size, device="cuda"))
    assert counter.frame_count == 1


def every_mode_gives_the_same() -> None:
    x = torch.randn(2, 8, device="cuda")
    with torch.no_grad():
        expected = _model()(x)
        for mode in ("default", "reduce-overhead", "max-autotune-no-cudagraphs"):
            compiled = torch.compile(_model(), mode=mode)
            for _ in range(2):
                close(compiled(x).clone(), expected, 1e-4)
    with raises(RuntimeError, "Unrecognized mode"):
        torch.compile(_model(), mode="no-such-mode")(x)


def backends_are_chosen_by_name() -> None:
    x = torch.randn(2, 8, device="cuda")
    expected = _model()(x)
    for backend in ("eager", "aot_eager", "inductor", "cudagraphs"):
        close(torch.compile(_model(), backend=backend)(x), expected, 1e-4)
    assert {"inductor", "cudagraphs"} <= set(torch.compiler.list_backends())


def a_backend_that_is_not_there_is_named() -> None:
    import torch._dynamo

    assert torch.cuda.is_available()
    with raises(torch._dynamo.exc.InvalidBackend, "no_such_backend"):
        torch.compile(lambda x: x + 1, backend="no_such_backend")(torch.ones(1, device="cuda"))


def buffers_are_written_by_compiled_code() -> None:
    model = nn.BatchNorm1d(3).cuda()
    torch.compile(model)(torch.full((4, 3), 2.0, device="cuda"))
    close(model.running_mean, torch.full((3,), 0.2))
    assert model.num_batches_tracked is not None
    assert model.num_batches_tracked.item() == 1


def inputs_are_written_by_compiled_code() -> None:
    @torch.compile
    def act(x: torch.Tensor) -> torch.Tensor:
        x.add_(1)
        return x.view(-1)[1:]

    x = torch.zeros(2, 2, device="cuda")
    tail = act(x)
    assert x.tolist() == [[1, 1], [1, 1]]
    tail.fill_(5)
    assert x.tolist() == [[1, 5], [5, 5]]


def compiled_code_follows_autocast() -> None:
    x, w = torch.ones(2, 2, device="cuda"), torch.ones(2, 2, device="cuda")
    compiled = torch.compile(lambda a, b: (a @ b, (a @ b).softmax(-1)))
    with torch.autocast("cuda", dtype=torch.bfloat16):
        narrow, wide = compiled(x, w)
    assert (narrow.dtype, wide.dtype) == (torch.bfloat16, torch.float32)


def compiled_dropout_drops_and_is_seeded() -> None:
    model = torch.compile(nn.Dropout(0.5))
    x = torch.ones(256, device="cuda")
    torch.manual_seed(3)
    first = model(x)
    torch.manual_seed(3)
    assert torch.equal(model(x), first)
    assert 0.3 < (first == 0).float().mean().item() < 0.7


def a_compiled_training_loop_falls() -> None:
    model = _model()
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    x, target = torch.randn(16, 8, device="cuda"), torch.randn(16, 4, device="cuda")
    losses = []
    for _ in range(10):
        loss = (compiled(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def an_optimizers_step_is_compiled() -> None:
    model = nn.Linear(2, 2).cuda()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    before = model.weight.detach().clone()
    step = torch.compile(optimizer.step)
    for _ in range(2):
        model(torch.ones(1, 2, device="cuda")).sum().backward()
        step()
    assert not torch.equal(model.weight, before)


def what_is_made_inside_is_on_the_card() -> None:
    @torch.compile
    def act(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.arange(3, device=x.device) + x, torch.zeros(2, device="cuda")

    summed, zeros = act(torch.ones(3, device="cuda"))
    assert (summed.tolist(), summed.is_cuda, zeros.is_cuda) == ([1, 2, 3], True, True)


def a_function_can_stay_out_of_the_compiler() -> None:
    @torch.compiler.disable
    def plain(x: torch.Tensor) -> torch.Tensor:
        assert not torch.compiler.is_compiling()
        return x + 1

    assert torch.compile(lambda x: plain(x * 2))(torch.ones(1, device="cuda")).item() == 3


def an_error_of_the_users_stays_the_users() -> None:
    @torch.compile
    def act(x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] == 3:
            raise KeyError("mine")
        return x

    with raises(Exception, "mine"):
        act(torch.ones(3, device="cuda"))
    with raises(Exception, r"device"):
        torch.compile(lambda a, b: a + b)(torch.ones(2, device="cuda"), torch.ones(2))


def flex_attention_is_like_plain_attention() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v = (torch.randn(1, 2, 128, 16, device="cuda") for _ in range(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = torch.compile(flex_attention)(q, k, v)
    close(found, nn.functional.scaled_dot_product_attention(q, k, v), 2e-3)


def a_model_is_exported_for_the_card() -> None:
    model = _model()
    x = torch.randn(3, 8, device="cuda")
    program = torch.export.export(model, (x,))
    close(program.module()(x), model(x), 1e-4)
    assert {value.device.type for value in program.state_dict.values()} == {"cuda"}


def gradients_by_sample_are_taken_with_vmap() -> None:
    from torch.func import functional_call, grad, hessian, jacrev, vmap

    x = torch.randn(5, device="cuda")
    close(vmap(grad(lambda v: v**2))(x), 2 * x)
    close(jacrev(torch.sin)(x), torch.diag(x.cos()))
    close(hessian(lambda v: (v**3).sum())(x), torch.diag(6 * x))
    model = nn.Linear(2, 1).cuda()
    parameters = {name: value.detach() for name, value in model.named_parameters()}

    def loss(p: Any, one: torch.Tensor) -> torch.Tensor:
        return functional_call(model, p, (one,)).sum()

    grads = vmap(grad(loss), (None, 0))(parameters, torch.ones(3, 2, device="cuda"))
    assert grads["weight"].shape == (3, 1, 2)
    assert grads["weight"].is_cuda


def an_operator_of_ones_own_has_a_kernel_for_cuda() -> None:
    @torch.library.custom_op("forebay_accept::twice", mutates_args=(), device_types="cuda")
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x + x

    twice.register_fake(lambda x: torch.empty_like(x))
    twice.register_autograd(lambda ctx, gradient: 2 * gradient)
    x = torch.ones(2, device="cuda", requires_grad=True)
    y = twice(x)
    assert (y.is_cuda, y.tolist()) == (True, [2, 2])
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2]
    with raises(NotImplementedError, "CPU|cpu"):
        twice(torch.ones(1))
    assert torch.compile(lambda v: twice(v) + 1, fullgraph=True)(torch.ones(1, device="cuda")).item() == 3


def an_operator_of_ones_own_has_another_kernel_for_the_host() -> None:
    @torch.library.custom_op("forebay_accept::where", mutates_args=(), device_types="cpu")
    def where(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)

    @where.register_kernel("cuda")
    def _(x: torch.Tensor) -> torch.Tensor:
        assert x.is_cuda
        return torch.ones_like(x)

    assert where(torch.empty(1)).item() == 0
    assert where(torch.empty(1, device="cuda")).item() == 1


def an_operator_of_a_library_is_implemented_for_cuda() -> None:
    library = torch.library.Library("forebay_accept_lib", "DEF")
    library.define("half(Tensor x) -> Tensor")
    library.impl("half", lambda x: x / 2, "CUDA")
    library.impl("half", lambda x: x * 0, "CPU")
    half = torch.ops.forebay_accept_lib.half
    assert (half(torch.ones(1, device="cuda")).item(), half(torch.ones(1)).item()) == (0.5, 0)
