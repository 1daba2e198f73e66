"""The composition root inside a job.

    python .../job/__main__.py --wire FD --shim FOLDER --cards N --parent PID [--carry] [--import]
           the parent of the ranks
    python .../job/__main__.py --rank CARDS THREADS PACKAGES SCRIPT ...        one rank in a new interpreter

It is started as a file, so that the base environment needs no Forebay installed.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    from forebay.job import parent

    arguments = sys.argv[1:]
    if arguments[0] == "--rank":
        _rank(arguments[1:])
        return
    import signal
    import socket

    from forebay.job import confine

    # A machine that goes down, and a scheduler that wants cards back, signal every process of a run. This one and the keeper
    # stay, so that the ranks have their grace; the supervisor ends them.
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    given = {arguments[i]: arguments[i + 1] for i in range(0, 8, 2)}
    confine.die_with(int(given["--parent"]))
    sock = socket.socket(fileno=int(given["--wire"]))
    os.set_inheritable(sock.fileno(), False)
    torch = parent.Torch()
    if arguments[8:]:
        torch.choose(given["--shim"])
    if "--import" in arguments[8:]:
        torch.load(int(given["--cards"]))
    script = parent.serve(sock, torch)
    if script is not None:
        script()


def _rank(arguments: list) -> None:  # type: ignore[type-arg]
    """A rank in a new interpreter: the parent has settled it, and its variables are its own already."""
    from forebay.job import parent, rank

    cards, threads, packages, script, *argv = arguments
    if packages:
        rank.lay_over(packages)
    rank.open_streams()
    import torch  # with the carrier that the variables name

    torch.set_num_threads(int(threads))
    rank.set_cards(int(cards))
    rank.run_script(script, argv, parent.ours())


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    main()
