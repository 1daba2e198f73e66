"""What a rank does between its birth and the tenant's first line, and what it does about the last.

Asked:  how does a script that is started by fork, out of a process that has imported torch, notice no difference from `python
        script.py`?
Answer: it is the real `__main__`, with its own arguments, path, variables, user, cores and streams; and when it is through,
        the rank returns from all our functions, so that the interpreter itself joins threads, runs atexit, flushes and exits.
Limits: variables that torch or libgomp read while they are imported come too late after a fork; see `needs_fresh` in
        centre/order.py.
"""

from __future__ import annotations

import importlib.machinery
import io
import linecache
import os
import random
import signal
import site
import sys
import types
from collections.abc import Sequence
from typing import Any

from forebay.job import confine
from forebay.job.wire import Begin, Rank


def settle(begin: Begin, mine: Rank, streams: Sequence[int], parent: int) -> None:
    """In the newborn process: streams, session, cores, user, folder. Nothing here is torch's."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(streams[0], 1)
    os.dup2(streams[1], 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if mine.cores:
        os.sched_setaffinity(0, mine.cores)
    confine.become(begin.uid, begin.gid, begin.groups, parent)
    if "FOREBAY_RUN" in begin.env:  # not when it only builds an environment
        confine.be_called(f"{begin.env['FOREBAY_RUN']}.{mine.rank}")
    os.umask(0o022)
    os.chdir(begin.work)


def execute(argv: list[str], env: dict[str, str]) -> None:
    """Become the program. Says why on stderr when that is not possible."""
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(2, f"{argv[0]}: can't be started: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def open_streams() -> None:
    """Give the forked interpreter's text streams the manners of a new one whose lines are followed live."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def take_over(env: dict[str, str], threads: int, cards: int, packages: str | None, python: str) -> None:
    """Make the forked interpreter this rank's own: variables, randomness, packages, threads, cards."""
    os.environ.clear()
    os.environ.update(env)
    open_streams()
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # or every rank of every run would draw what the parent would have drawn
    sys.executable = python
    if packages is not None:
        lay_over(packages)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
        set_cards(cards)


def lay_over(packages: str) -> None:
    """Put the tenant's packages before the base's, and behind the standard library, as a virtual environment does."""
    before = list(sys.path)
    site.addsitedir(packages)
    added = [path for path in sys.path if path not in before]
    first = next(
        (i for i, path in enumerate(before) if path.rstrip("/").endswith(("site-packages", "dist-packages"))), len(before)
    )
    sys.path[:] = before[:first] + added + before[first:]
    sys.prefix = sys.exec_prefix = os.path.dirname(os.path.dirname(os.path.dirname(packages)))


def set_cards(cards: int) -> None:
    """Tell the shim, where there is one, how many cards this rank sees."""
    load = sys.modules.get("forebay.porting.shim.load")
    if load is not None:
        load.set_cards(cards)


def run_script(entry: str, argv: list[str], ours: str) -> None:
    """Run the script as `__main__`. Returns when its last line is done; leaves by SystemExit as the script wills it.

    `ours` is the folder by which our own modules were found: it goes to the end of the path, behind all that the tenant has.
    """
    path = os.path.abspath(entry)
    sys.argv[:] = [entry, *argv]
    sys.path[:] = [os.path.dirname(path)] + [folder for folder in sys.path if folder not in (ours, "")] + [ours]
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=path,
        __cached__=None,
        __builtins__=sys.modules["builtins"],
        __loader__=importlib.machinery.SourceFileLoader("__main__", path),
        __annotations__={},
    )
    main.__spec__ = None
    _kept_alive.append(sys.modules["__main__"])
    sys.modules["__main__"] = main
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        sys.exit(_report(error, path))


def _report(error: BaseException, path: str) -> int:
    """Print the traceback without our frames, through the script's own hook if it set one. Returns the exit code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    linecache.checkcache(path)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    try:
        sys.excepthook(type(error), error.with_traceback(trace), trace)
    except BaseException:
        sys.__excepthook__(type(error), error, trace)
    return 130 if isinstance(error, KeyboardInterrupt) else 1


_kept_alive: list[Any] = []  # the module that was `__main__` before: its functions are still on the stack
