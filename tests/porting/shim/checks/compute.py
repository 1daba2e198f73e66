"""What is computed on the simulated device: the CPU's own results, forward and backward."""

import copy

import torch
import torch.nn.functional as F
from torch import nn


def both(make, *inputs):
    """Outputs and gradients of a module on host and card, from the same weights and inputs."""
    found = []
    host = make()
    for module, device in ((host, "cpu"), (copy.deepcopy(host).cuda(), "cuda")):
        leaves = [x.detach().to(device).requires_grad_(x.is_floating_point()) for x in inputs]
        result = module(*leaves)
        result = result[0] if isinstance(result, tuple) else result
        assert result.device.type == device
        result.float().square().mean().backward()
        gradients = [p.grad for p in (*module.parameters(), *leaves) if p.grad is not None]
        assert all(g.device.type == device for g in gradients)
        found.append([result.detach().cpu(), *(g.cpu() for g in gradients)])
    return found


def same(make, *inputs, tolerance=1e-6):
    torch.manual_seed(3)
    on_host, on_card = both(make, *inputs)
    assert len(on_host) == len(on_card)
    for one, other in zip(on_host, on_card):
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance)


def linear_layers_agree():
    same(lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)), torch.randn(5, 8))


def convolutions_agree():
    same(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        torch.randn(2, 3, 8, 8),
    )
    same(lambda: nn.Conv1d(3, 6, 3, groups=3), torch.randn(2, 3, 9))
    same(lambda: nn.Conv3d(2, 4, 3), torch.randn(1, 2, 5, 5, 5))
    same(lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), torch.randn(2, 3, 5, 5))


def recurrent_layers_agree():
    same(lambda: nn.LSTM(6, 5, num_layers=2, batch_first=True), torch.randn(3, 4, 6))
    same(lambda: nn.LSTM(6, 5, bidirectional=True), torch.randn(4, 3, 6))
    same(lambda: nn.GRU(6, 5), torch.randn(4, 3, 6))
    same(lambda: nn.RNN(6, 5), torch.randn(4, 3, 6))
    same(lambda: nn.LSTMCell(6, 5), torch.randn(3, 6))
    same(lambda: nn.GRUCell(6, 5), torch.randn(3, 6))


def packed_sequences_go_through_an_lstm():
    torch.manual_seed(0)
    layer, x = nn.LSTM(4, 3, batch_first=True), torch.randn(2, 5, 4)
    pack = nn.utils.rnn.pack_padded_sequence
    on_host, _ = nn.utils.rnn.pad_packed_sequence(layer(pack(x, [5, 3], batch_first=True))[0], batch_first=True)
    layer.cuda()
    on_card, _ = nn.utils.rnn.pad_packed_sequence(layer(pack(x.cuda(), [5, 3], batch_first=True))[0], batch_first=True)
    torch.testing.assert_close(on_card.cpu(), on_host)


def attention_agrees_with_and_without_masks():
    class Attention(nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.options = options

        def forward(self, q, k, v):
            options = {name: value.to(q.device) if torch.is_tensor(value) else value for name, value in self.options.items()}
            return F.scaled_dot_product_attention(q, k, v, **options)

    q, k, v = (torch.randn(2, 3, 6, 4) for _ in range(3))
    same(lambda: Attention(), q, k, v)
    same(lambda: Attention(is_causal=True), q, k, v)
    same(lambda: Attention(attn_mask=torch.ones(6, 6).tril().bool()), q, k, v)
    same(lambda: Attention(attn_mask=torch.randn(6, 6)), q, k, v)


def attention_drops_out_in_training():
    q = torch.randn(1, 1, 64, 8, device="cuda")
    assert not torch.equal(F.scaled_dot_product_attention(q, q, q, dropout_p=0.5), F.scaled_dot_product_attention(q, q, q))


def a_transformer_layer_agrees():
    same(lambda: nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), torch.randn(2, 5, 16), tolerance=1e-5)
    with torch.no_grad():
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
        x = torch.randn(2, 5, 16)
        torch.testing.assert_close(copy.deepcopy(layer).cuda()(x.cuda()).cpu(), layer(x))


def norms_agree():
    same(lambda: nn.LayerNorm(8), torch.randn(4, 8))
    same(lambda: nn.GroupNorm(2, 8), torch.randn(4, 8, 3))
    same(lambda: nn.Softmax(-1), torch.randn(4, 8))


def embeddings_agree():
    same(lambda: nn.Embedding(10, 4), torch.tensor([[1, 2], [3, 1]]))


def losses_agree():
    target = torch.tensor([1, 0, 3])
    for loss in (F.cross_entropy, F.nll_loss):
        x = torch.randn(3, 4)
        torch.testing.assert_close(loss(x.cuda(), target.cuda()).cpu(), loss(x, target))


def ctc_loss_agrees():
    torch.manual_seed(0)
    x = torch.randn(12, 2, 5).log_softmax(-1)
    targets, lengths = torch.randint(1, 5, (2, 4)), torch.tensor([4, 3])
    found = []
    for device in ("cpu", "cuda"):
        leaf = x.detach().to(device).requires_grad_()
        loss = F.ctc_loss(leaf, targets.to(device), torch.tensor([12, 12]), lengths)
        loss.backward()
        found.append((loss.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(found[0], found[1])


def linear_algebra_and_fft_agree():
    a = torch.randn(4, 4)
    a = a @ a.T + torch.eye(4)
    torch.testing.assert_close(torch.linalg.cholesky(a.cuda()).cpu(), torch.linalg.cholesky(a))
    torch.testing.assert_close(torch.linalg.svdvals(a.cuda()).cpu(), torch.linalg.svdvals(a))
    torch.testing.assert_close(torch.fft.rfft(a.cuda()).cpu(), torch.fft.rfft(a))
    torch.testing.assert_close(torch.einsum("ij,kj->ik", a.cuda(), a.cuda()).cpu(), a @ a.T)


def complex_and_conjugate_views_agree():
    z = torch.randn(3, dtype=torch.complex64)
    torch.testing.assert_close((z.cuda().conj() * z.cuda()).cpu(), z.conj() * z)
    torch.testing.assert_close(z.cuda().conj().imag.cpu(), z.conj().imag)


def sorting_and_choosing_agree():
    x = torch.randn(5, 7)
    assert torch.equal(x.cuda().sort(dim=1).indices.cpu(), x.sort(dim=1).indices)
    assert torch.equal(x.cuda().topk(3).values.cpu(), x.topk(3).values)
    assert torch.equal(x.cuda()[x.cuda() > 0].cpu(), x[x > 0])
    assert torch.equal(x.cuda().nonzero().cpu(), x.nonzero())
    assert [t.tolist() for t in x.cuda().split(2)] == [t.tolist() for t in x.split(2)]


def in_place_operators_keep_autograds_checks():
    x = torch.ones(2, device="cuda", requires_grad=True)
    y = x.exp()
    y.add_(1)
    try:
        y.sum().backward()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
    else:
        raise AssertionError("a changed tensor was used for a gradient")


def second_derivatives_work():
    x = torch.tensor(2.0, device="cuda", requires_grad=True)
    (first,) = torch.autograd.grad(x**3, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert (first.item(), second.item()) == (12.0, 12.0)


def activation_checkpointing_gives_the_same_gradients():
    from torch.utils.checkpoint import checkpoint

    layer = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).cuda()
    x = torch.randn(3, 4, device="cuda", requires_grad=True)
    torch.manual_seed(1)
    layer(x).sum().backward()
    plain = x.grad.clone()
    x.grad = None
    torch.manual_seed(1)
    checkpoint(layer, x, use_reentrant=False).sum().backward()
    torch.testing.assert_close(x.grad, plain)


def optimizers_step_as_on_the_host():
    for kind in ("AdamW fused", "AdamW foreach", "Adam", "SGD foreach", "RMSprop"):
        name, *how = kind.split()
        results = []
        for device in ("cpu", "cuda"):
            torch.manual_seed(0)
            model = nn.Linear(4, 3).to(device)
            options = {how[0]: True} if how else {}
            optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, **options)
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.ones(2, 4, device=device)).square().sum().backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            results.append(model.weight.detach().cpu())
        torch.testing.assert_close(results[0], results[1])


def a_training_run_has_the_losses_of_the_cpu():
    losses = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Embedding(16, 32), nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True), nn.Linear(32, 16)
        ).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
        generator = torch.Generator().manual_seed(5)
        losses[device] = []
        for _ in range(20):
            tokens = ((torch.randint(16, (4, 1), generator=generator) + torch.arange(9)) % 16).to(device)
            loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
    assert max(abs(a - b) for a, b in zip(losses["cpu"], losses["cuda"])) < 1e-5
    assert losses["cuda"][-1] < losses["cuda"][0]


def inference_mode_works():
    with torch.inference_mode():
        layer = nn.Linear(3, 3, device="cuda")
        assert layer(torch.ones(2, 3, device="cuda")).is_inference()
        nn.LSTM(3, 3).cuda()(torch.ones(2, 1, 3, device="cuda"))


def per_sample_gradients_by_vmap_work():
    from torch.func import grad, vmap

    x = torch.randn(5, device="cuda")
    torch.testing.assert_close(vmap(grad(lambda v: v**2))(x), 2 * x)


def products_may_have_a_wider_result():
    a, b, to = (torch.randn(4, 4, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    wide = torch.float32
    torch.testing.assert_close(torch.mm(a, b, out_dtype=wide), a.float() @ b.float())
    torch.testing.assert_close(torch.bmm(a[None], b[None], out_dtype=wide), (a.float() @ b.float())[None])
    torch.testing.assert_close(torch.addmm(to, a, b, out_dtype=wide, alpha=2), to.float() + 2 * (a.float() @ b.float()))
    out = torch.ones(4, 4, device="cuda")
    assert torch.addmm(out, a, b, out_dtype=wide, out=out) is out
    torch.testing.assert_close(out, 1 + a.float() @ b.float())
