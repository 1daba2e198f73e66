"""Torch scripts on the local engine: forked out of a parent that has imported torch, and none the wiser."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

from forebay.centre import layout
from forebay.centre.spec import Outcome, Share

from .conftest import TWO, Centre, a_centre, until

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("carried")


@pytest.fixture(scope="module")
def standing_by(carried: None) -> Iterator[Centre]:
    with a_centre(standby=True) as made:
        yield made


@pytest.fixture
def warm(standing_by: Centre) -> Iterator[Centre]:
    """A centre whose standby may still be importing: a run is handed to it all the same. Its next one is the next test's."""
    yield standing_by
    standing_by.clear()


def test_two_ranks_meet_on_gloo_and_save_a_checkpoint(warm: Centre) -> None:
    code = """
        import os, torch, torch.distributed as dist
        dist.init_process_group("gloo")
        x = torch.ones(1) * (dist.get_rank() + 1)
        dist.all_reduce(x)
        print(int(x), dist.get_world_size(), torch.get_num_threads())
        if dist.get_rank() == 0:
            torch.save({"x": x}, "out/model.pt")
        dist.barrier()
        dist.destroy_process_group()
    """
    seen = warm.run(textwrap.dedent(code), shares=TWO)
    assert seen.outcome is Outcome.SUCCEEDED, warm.lines(stream=None)
    assert warm.lines() == ["3 2 1", "3 2 1"]
    assert [(artefact.path, artefact.is_checkpoint) for artefact in seen.artefacts] == [("model.pt", True)]
    assert seen.checkpoint_at_ns == seen.artefacts[0].modified_ns


def test_ranks_over_two_pretend_nodes_count_as_torchrun_counts(centre: Centre) -> None:
    code = """
        import os, torch, torch.distributed as dist
        dist.init_process_group("gloo")
        names = ("RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_RANK", "WORLD_SIZE")
        print(*[os.environ[name] for name in names])
        dist.barrier()
    """
    shares = (Share(node="stand-in", cards=(0, 1)), Share(node="stand-in", cards=(2,)))
    seen = centre.run(textwrap.dedent(code), shares=shares, pretend=True)
    assert seen.outcome is Outcome.SUCCEEDED, centre.lines(stream=None)
    assert sorted(centre.lines()) == ["0 0 0 2 2 0 3", "1 1 0 2 2 1 3", "2 0 1 1 2 2 3"]


def test_a_forked_script_is_the_true_main(warm: Centre) -> None:
    code = """
        import __main__, atexit, inspect, os, pickle, sys, threading, time, torch
        class Here: pass
        assert pickle.loads(pickle.dumps(Here)) is Here
        assert __name__ == "__main__" and __main__.Here is Here and __spec__ is None
        assert sys.argv == ["sub/main.py", "--x", "1"], sys.argv
        assert sys.path[0] == os.path.dirname(os.path.abspath(__file__)), sys.path
        assert "def" + "inite" in inspect.getsource(sys.modules["__main__"])  # definite
        import beside
        assert "Forebay" not in repr(sorted(globals()))
        assert not sys.stdin.read() and os.getsid(0) == os.getpid()
        assert sorted(os.listdir("/proc/self/fd"))[:3] == ["0", "1", "2"]
        atexit.register(lambda: print("atexit"))
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        sys.stdout.write("no newline at the end")
        raise SystemExit(0)
    """
    files = {"sub/main.py": textwrap.dedent(code), "sub/beside.py": ""}
    seen = warm.run(files, entry="sub/main.py", argv=("--x", "1"))
    assert seen.outcome is Outcome.SUCCEEDED, warm.lines(stream=None)
    assert warm.lines() == ["no newline at the endthread", "atexit"]


@pytest.mark.parametrize(
    "last, code, said",
    [
        ("sys.exit(7)", 7, []),
        ("sys.exit('no data')", 1, ["no data"]),
    ],
)
def test_a_forked_scripts_exit_is_its_own(warm: Centre, last: str, code: int, said: list[str]) -> None:
    seen = warm.run(f"import os, sys, torch\n{last}")
    assert (seen.exit_code, warm.lines(stream="stderr")) == (code, said)


def test_a_traceback_shows_the_scripts_frames_and_none_of_ours(centre: Centre) -> None:
    seen = centre.run("import torch\ndef step():\n    raise ValueError('loss is nan')\nstep()")
    path = layout.work(layout.run(centre.home, "j-1")) / "main.py"
    assert seen.exit_code == 1
    assert [line for line in centre.lines(stream="stderr") if "^" not in line] == [
        "Traceback (most recent call last):",
        f'  File "{path}", line 4, in <module>',
        "    step()",
        f'  File "{path}", line 3, in step',
        "    raise ValueError('loss is nan')",
        "ValueError: loss is nan",
    ]


def test_a_syntax_error_is_shown_as_python_shows_it(warm: Centre) -> None:
    warm.run("import torch\nx = = 1\n")
    assert warm.lines(stream="stderr")[-1] == "SyntaxError: invalid syntax"
    assert "forebay/job" not in "".join(warm.lines(stream="stderr"))


def test_ranks_do_not_share_their_random_numbers(warm: Centre) -> None:
    warm.run("import random, numpy, torch\nprint(random.random())\nprint(numpy.random.rand())", shares=TWO)
    assert len(set(warm.lines())) == 4


def test_data_loader_workers_and_spawned_processes_work(warm: Centre) -> None:
    code = """
        import torch, torch.multiprocessing as mp
        from torch.utils.data import DataLoader
        def child(rank, queue):
            queue.put(rank)
        if __name__ == "__main__":
            print(sum(int(batch.sum()) for batch in DataLoader(torch.arange(10), batch_size=2, num_workers=2)))
            context = mp.get_context("spawn")
            queue = context.Queue()
            process = context.Process(target=child, args=(5, queue))
            process.start()
            print(queue.get())
            process.join()
    """
    seen = warm.run(textwrap.dedent(code))
    assert seen.outcome is Outcome.SUCCEEDED, warm.lines(stream=None)
    assert warm.lines() == ["45", "5"]


def test_a_variable_that_torch_reads_on_import_still_counts(warm: Centre) -> None:
    code = "import os, sys, torch\nprint(sys.flags.optimize, sys.argv, os.getppid() > 1, __name__)"
    warm.run(code, env={"PYTHONOPTIMIZE": "1"}, argv=("a",))
    assert warm.lines() == ["1 ['main.py', 'a'] True __main__"]


def test_when_a_rank_is_killed_the_others_end_and_the_next_attempt_meets_again(warm: Centre) -> None:
    code = """
        import os, time, torch, torch.distributed as dist
        dist.init_process_group("gloo")
        dist.barrier()
        print(os.getpid(), flush=True)
        while os.environ["FOREBAY_ATTEMPT"] == "1":
            time.sleep(0.05)
            dist.barrier()
    """
    handle = warm.launch(textwrap.dedent(code), shares=TWO)
    until(lambda: len(warm.lines()) == 2)
    os.kill(int(warm.lines(rank=1)[0]), signal.SIGKILL)
    seen = warm.end(handle)
    assert seen.outcome is Outcome.FAILED
    assert "Rank" in seen.reason
    assert warm.processes() == set()
    assert warm.run(textwrap.dedent(code), name="j-2", shares=TWO).outcome is Outcome.SUCCEEDED


@pytest.mark.slow
def test_from_launch_to_the_first_line_warm_is_faster_than_cold(centre: Centre) -> None:
    warm = centre  # whose engine is closed here
    warm.engine.close()
    warm.engine = warm.open(standby=True)
    code = "print('first', flush=True)\nimport torch"
    until(lambda: warm.engine._standby is not None)
    time.sleep(8)  # the standby imports
    seconds = {}
    for name in ("warm-1", "cold-1"):
        start = time.monotonic()
        handle = warm.launch(code, name=name)
        warm.until_printed("first", name)
        seconds[name] = time.monotonic() - start
        warm.end(handle)
        warm.engine.close()
    print(seconds, file=sys.stderr)
    assert seconds["warm-1"] < seconds["cold-1"] / 2
