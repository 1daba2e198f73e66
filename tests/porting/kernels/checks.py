"""What a block, a warp and a launch mean, from kernels.cu. Run under the simulated card; prints CHECKS and what each said."""

import ctypes
import json
import subprocess
import sys
import traceback
from pathlib import Path

import torch
from torch.utils.cpp_extension import CUDA_HOME

OWN = Path(__file__).parent / "own"


def compiled(folder):
    library = Path(folder) / "kernels.so"
    subprocess.run(
        [f"{CUDA_HOME}/bin/nvcc", "-O1", "-arch=sm_80", "-shared", str(OWN / "kernels.cu"), "-o", str(library)], check=True
    )
    return ctypes.CDLL(str(library))


def call(name, *arguments):
    return getattr(library, name)(*[ctypes.c_void_p(a.data_ptr()) if torch.is_tensor(a) else a for a in arguments])


def lanes_in_a_branch_find_each_other():
    out = torch.zeros(256, dtype=torch.int32, device="cuda")
    call("run_groups", out)
    third = [sum(t % 3 == 0 for t in range(w * 32, w * 32 + 32)) for w in (0, 1)]
    wanted = [third[t // 32] if t % 3 == 0 else -(32 - third[t // 32]) for t in range(64)]
    assert out[:64].tolist() == wanted


def a_tile_of_eight_adds_its_own_lanes():
    out = torch.zeros(256, dtype=torch.int32, device="cuda")
    call("run_groups", out)
    assert out[64:128].tolist() == [sum(range(t // 8 * 8, t // 8 * 8 + 8)) for t in range(64)]


def a_barrier_counts_and_a_ballot_shows_votes():
    out = torch.zeros(256, dtype=torch.int32, device="cuda")
    call("run_groups", out)
    assert set(out[128:192].tolist()) == {10} and set(out[192:].tolist()) == {0xAAAAAAAA - 2**32}


def a_lock_between_threads_of_a_block_opens():
    lock, count = torch.zeros(1, dtype=torch.int32, device="cuda"), torch.zeros(1, dtype=torch.int32, device="cuda")
    call("run_locked", lock, count)
    assert count.item() == 8 * 32


def a_block_of_too_many_threads_is_refused_as_on_a_card():
    assert call("run_too_large") == 9


def threads_that_wait_for_ever_are_told_with_the_line():
    words = ctypes.create_string_buffer(500)
    assert call("run_deadlock", words, 500) == 719
    text = words.value.decode()
    assert "kernels.cu:" in text and "waits_for_ever" in text and "3 wait at __syncthreads" in text, text


def launches_are_counted_with_their_lines():
    from forebay.porting.kernels.extensions import launched

    call("run_scan", torch.zeros(512, device="cuda"), torch.zeros(512, device="cuda"), 512)
    found = {name: (Path(file).name, launches) for name, file, _, launches in launched()}
    assert found["scan"] == ("kernels.cu", 1)


def torchs_own_compilers_do_not_see_triton():
    from torch.utils._triton import has_triton

    assert not has_triton()


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[3] / "src"))
    library = compiled(sys.argv[1])
    said = {}
    for name, check in list(globals().items()):
        if callable(check) and getattr(check, "__module__", "") == "__main__" and name not in ("compiled", "call"):
            try:
                check()
                said[name] = ""
            except BaseException:
                said[name] = traceback.format_exc()
    print("CHECKS " + json.dumps(said))
