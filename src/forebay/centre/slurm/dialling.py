"""A line to the door of a run on one of the site's machines: a step of its job that relays. An edge."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence

from forebay.centre.slurm.accounts import User
from forebay.errors import Unavailable


def command(job: str, machine: str, relay: Sequence[str]) -> list[str]:
    """srun inside an allocation that is in use: the step overlaps the supervisors', and takes nothing of it."""
    size = ["--ntasks=1", "--nodes=1", f"--nodelist={machine}", "--mem=0", "--gres=none", "--cpus-per-task=1"]
    how = ["--quiet", "--unbuffered", "--export=ALL", "--mpi=none"]
    return ["srun", f"--jobid={job}", "--overlap", *size, *how, *relay]


def dial(job: str, machine: str, relay: Sequence[str], *, variables: Mapping[str, str], user: User | None) -> socket.socket:
    """The near end. The step ends when it is closed."""
    ours, theirs = socket.socketpair()
    who = {"user": user.uid, "group": user.gid, "extra_groups": []} if user is not None else {}
    try:
        subprocess.Popen(
            command(job, machine, relay),
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env=dict(variables),
            cwd="/",
            start_new_session=True,
            **who,  # type: ignore[call-overload]
        )
    except OSError as error:
        ours.close()
        raise Unavailable("Slurm's srun isn't here, so nobody can be let in.", asked=job, found=str(error)) from None
    finally:
        theirs.close()
    return ours
