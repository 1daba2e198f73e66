"""Tensors of the simulated card go to another process, which sees the same bytes."""

from .conftest import run

SCRIPT = """
import sys
import torch
import torch.multiprocessing as mp


def child(given, sent, back):
    given.add_(1)
    tensor, view = sent.get()
    tensor.mul_(10)
    back.put((str(tensor.device), tensor.is_cuda, view.tolist()))
    back.put(torch.full((2,), 7.0, device="cuda:1"))
    sent.get()


if __name__ == "__main__":
    torch.multiprocessing.set_start_method("spawn")
    given, tensor = torch.zeros(3, device="cuda"), torch.arange(4.0, device="cuda:1")
    sent, back = mp.Queue(), mp.Queue()
    process = mp.Process(target=child, args=(given, sent, back))
    process.start()
    sent.put((tensor, tensor[2:]))
    said = back.get(timeout=90)
    made = back.get(timeout=90)
    print("SAID", said, given.tolist(), tensor.tolist(), str(made.device), made.tolist(), tensor.is_shared())
    sent.put(None)
    process.join()
    sys.exit(process.exitcode)
"""


def test_a_spawned_process_and_its_parent_write_to_the_same_tensors(simulated, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = run(simulated, script)
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stdout.splitlines() if line.startswith("SAID")]
    assert said == ["SAID ('cuda:1', True, [20.0, 30.0]) [1.0, 1.0, 1.0] [0.0, 10.0, 20.0, 30.0] cuda:1 [7.0, 7.0] True"], (
        ended.stdout + ended.stderr
    )
