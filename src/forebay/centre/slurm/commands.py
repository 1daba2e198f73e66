"""The transport through Slurm's own commands: scontrol, squeue, sacct, sbatch, scancel. An edge: it runs them and reads them out.

Limits: a command that doesn't answer in time is Unavailable, whatever it may have done. sbatch gets no variable of ours but the
        request's, so nothing of the agent's gets into a job.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from forebay.centre.slurm import request as requests
from forebay.centre.slurm import tell
from forebay.centre.slurm.facts import Job, Machine, Site
from forebay.centre.slurm.request import Request
from forebay.errors import BadInput, Unavailable

ANSWER_S = 60.0
# What Slurm says when it may work later. Everything else that sbatch complains of is a refusal.
_PASSING = re.compile(
    r"unable to contact|timed? ?out|temporarily|connection refused|communication|zero bytes|try again|not responding"
    r"|no route to host|broken pipe|connection reset|transport endpoint|job submit limit|MaxSubmit|slurm_persist_conn"
    r"|invalid protocol|protocol authentication|munge|retry",
    re.IGNORECASE,
)


class Commands:
    """Slurm's commands, as a Transport."""

    def __init__(self, *, conf: str = "", timeout_s: float = ANSWER_S) -> None:
        """`conf`: SLURM_CONF, where the commands don't find the site by themselves."""
        self.variables = environment(conf)
        self._timeout_s = timeout_s
        self._accounting = False

    def site(self) -> Site:
        told = tell.config(self._ask("scontrol", "show", "config"))
        tree = told.get("TopologyPlugin", "topology/none") not in ("topology/none", "topology/default", "(null)", "")
        self._accounting = "slurmdbd" in told.get("AccountingStorageType", "") and self._has("sacct")
        return Site(
            machines=self.machines(),
            partitions=tell.partitions(self._ask("scontrol", "-o", "-a", "show", "partition")),
            above=tell.switches(self._ask("scontrol", "show", "topology")) if tree else {},
            accounting=self._accounting,
            default_memory=any(
                value not in ("UNLIMITED", "0", "") for name, value in told.items() if name.startswith("DefMemPer")
            ),
        )

    def machines(self) -> tuple[Machine, ...]:
        return tell.machines(self._ask("scontrol", "-o", "-d", "-a", "show", "node"))

    def jobs(self, names: Collection[str]) -> tuple[Job, ...]:
        if not names:
            return ()
        return tell.queue(self._ask("squeue", "-h", "-a", "--states=all", f"--name={','.join(names)}", "-O", tell.SQUEUE))

    def past(self, names: Collection[str]) -> tuple[Job, ...]:
        if not names or not self._accounting:
            return ()
        words = ["-n", "-P", "-X", "--duplicates", "--starttime=now-30days", f"--name={','.join(names)}"]
        return tell.accounts(self._ask("sacct", "--allusers", *words, f"--format={tell.SACCT}"))

    def submit(self, request: Request) -> str:
        answer = self._ask("sbatch", "--parsable", script=requests.script(request), variables=request.variables)
        return answer.strip().partition(";")[0]

    def cancel(self, job: Job) -> None:
        try:
            self._ask("scancel", f"--jobname={job.name}", job.id)
        except BadInput as error:
            if "Invalid job id" not in error.found and "already" not in error.found:
                raise

    def _has(self, program: str) -> bool:
        return shutil.which(program, path=self.variables["PATH"]) is not None

    def _ask(self, *command: str, script: str = "", variables: Mapping[str, str] | None = None) -> str:
        try:
            done = subprocess.run(
                command,
                input=script,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
                env=dict(variables or self.variables),
                cwd="/",
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable("Slurm doesn't answer.", asked=command[0], found=f"nothing in {self._timeout_s:g} s") from None
        except OSError as error:
            raise Unavailable("Slurm's commands aren't here.", asked=command[0], found=error.strerror or "") from None
        if done.returncode == 0:
            return done.stdout
        said = " ".join(line.removeprefix(f"{command[0]}: error: ") for line in done.stderr.split("\n") if line).strip()
        if _PASSING.search(said):
            raise Unavailable("Slurm can't do it now.", asked=command[0], found=said)
        raise BadInput("Slurm refuses that.", asked=command[0], found=said)


def environment(conf: str = "") -> dict[str, str]:
    """The variables of everything that we start at the site: where its programs are, and its configuration. No secret is among
    them.
    """
    conf = conf or os.environ.get("SLURM_CONF", "")
    sbatch = shutil.which("sbatch")
    folders = [str(Path(sbatch).parent)] if sbatch else []
    path = ":".join(dict.fromkeys([*requests.PATH.split(":"), *folders]))
    return {"PATH": path, "LANG": "C.UTF-8", **({"SLURM_CONF": conf} if conf else {})}
