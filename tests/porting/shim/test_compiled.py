"""torch.compile on the simulated device: three ways to run a captured graph, and what happens where Dynamo stumbles."""

import json

import pytest

from .conftest import run

STEPS = """
import json, torch, torch.nn.functional as F
from torch import nn
from forebay.porting.shim import load

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(16), nn.Linear(16, 48), nn.Linear(16, 4)
    def forward(self, x, target):
        q, k, v = self.qkv(self.norm(x)).view(2, 8, 3, 2, 8).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 8, 16)
        return F.cross_entropy(self.out(y).flatten(0, 1), target)

def train(compiled, narrow):
    torch.manual_seed(0)
    model = Block().cuda()
    step = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 8, 16, generator=generator).cuda()
    target = torch.randint(4, (16,), generator=generator).cuda()
    losses = []
    for _ in range(3):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=narrow):
            loss = step(x, target)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        losses.append(loss.item())
    return losses

found = {str(narrow): [train(False, narrow), train(True, narrow)] for narrow in (False, True)}
print("FOUND", json.dumps([found, [name for name in load.report()["uses"] if "compile" in name]]))
"""


def losses_of(ended):
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("FOUND")] or [ended.stderr]
    return json.loads(line.removeprefix("FOUND "))


def test_a_captured_graph_has_the_losses_of_the_model_to_the_last_digit(simulated):
    found, uses = losses_of(run(simulated, "-c", STEPS))
    for eager, compiled in found.values():
        assert compiled == eager
    assert uses == ["torch.compile"]


@pytest.mark.slow
def test_inductors_code_has_the_losses_of_the_model_but_for_rounding(simulated):
    found, uses = losses_of(run(simulated, "-c", STEPS, within_s=900, FOREBAY_SHIM_COMPILE="inductor"))
    for eager, compiled in found.values():
        assert compiled == pytest.approx(eager, rel=2e-2)
    assert uses == ["torch.compile"]


def test_compiling_can_be_switched_off(simulated):
    words = (
        "import torch; f = torch.compile(lambda x: (x + 1, torch.compiler.is_compiling()));print(f(torch.ones(1, device='cuda')))"
    )
    assert "True" in run(simulated, "-c", words).stdout
    assert "False" in run(simulated, "-c", words, FOREBAY_SHIM_COMPILE="off").stdout


def test_a_way_that_is_not_there_is_named(simulated):
    ended = run(simulated, "-c", "print('went on')", FOREBAY_SHIM_COMPILE="faster")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "FOREBAY_SHIM_COMPILE says how compiled models run." in ended.stderr
    assert "graph or inductor or off" in ended.stderr


def test_a_frame_over_which_dynamo_stumbles_runs_as_it_is_and_is_reported(simulated):
    words = """
import torch, torch._dynamo.convert_frame as convert
from forebay.porting.shim import load

real = convert._compile
def stumbling(code, *args, **kwargs):
    if code.co_name == "act":
        raise convert.InternalTorchDynamoError("over itself")
    return real(code, *args, **kwargs)
convert._compile = stumbling

def act(x):
    return x + 1

print(torch.compile(act)(torch.ones(1, device="cuda")).item())
print([name for name in load.report()["uses"] if "left as it is" in name])
"""
    ended = run(simulated, "-c", words)
    assert ended.stdout.splitlines()[0] == "2.0", ended.stderr
    assert "act at" in ended.stdout
    assert "over itself" in ended.stdout
