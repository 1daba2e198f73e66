"""The noun Request: one job of Slurm, whole, before anything is sent; as a batch script, and as slurmrestd's JSON. Pure.

Asked:  what exactly does Forebay ask of Slurm for a run?
Answer: the machines that the cloud chose and no others, on each as many cards of one GRES; one task a machine, no requeue, an
        environment made from nothing. `script` is what sbatch gets, `payload` what slurmrestd gets; both say the same.
Limits: in one job Slurm gives every machine the same number of cards. A run that wants 8 and 3 asks for 8 and 8 and binds 3
        on the second; the five over are seen as busy (docs/decisions/0051). One kind of GRES a job.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forebay import units
from forebay.centre import layout
from forebay.centre.settings import Account, Settings, SlurmSettings
from forebay.centre.slurm import survey
from forebay.centre.slurm.facts import Machine, Partition, Site
from forebay.centre.spec import Spec
from forebay.errors import BadInput

PREPARE_S = 600.0  # for code, data and packages, over a run's own time limit; what is over is given back at once
WARN_S = 15.0  # over a run's grace: how early the site's time limit is told
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PREFIX = "fb-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One job of Slurm. It says where and how much, never what the tenant runs."""

    run: str
    name: str  # of the job: by it a job is found again
    machines: tuple[str, ...]
    gres: str  # on each machine: "npu:ascend910b:8"; empty: none
    cpus: int  # on each machine
    memory_mb: int | None  # on each machine; None: the site's default
    minutes: int | None  # None: the partition's default
    warn_s: int
    partition: str
    account: str = ""
    qos: str = ""
    user: str = ""  # empty: whoever submits
    python: str = ""
    code: str = ""  # the folder with the package forebay
    folder: str = ""  # the run's
    log: str = ""
    variables: Mapping[str, str]
    extra: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        """What runs on the first machine (`step.py`)."""
        return step(self.python, self.code, "lead", self.folder)


def step(python: str, code: str, *arguments: str) -> tuple[str, ...]:
    """The command line of our own part on the nodes: standard library and our source, without site, so that it starts fast."""
    opening = f"import sys; sys.path.insert(0, {code!r}); from forebay.centre.slurm.step import main; main()"
    return (python, "-I", "-S", "-c", opening, *arguments)


def build(
    spec: Spec,
    told: Settings,
    site: Site,
    known: Mapping[str, str],
    *,
    home: Path,
    tag: str,
    python: str,
    variables: Mapping[str, str],
) -> Request:
    """The request for a run. `known`: node -> its GRES. BadInput, with the numbers, for what Slurm could never grant."""
    by_name = {machine.name: machine for machine in site.machines}
    machines = []
    for share in spec.shares:
        machine = by_name.get(survey.machine_of(share.node))
        if machine is None or share.node not in known:
            raise BadInput("The site has no such node.", asked=share.node, found=", ".join(known))
        machines.append(machine)
    kinds = {known[share.node] for share in spec.shares}
    if len(kinds) > 1 or len({machine.name for machine in machines}) < len(machines):
        raise BadInput("One job of Slurm has one kind of GRES, and a share a machine.", asked=", ".join(sorted(kinds)))
    key, most = kinds.pop(), max(len(share.cards) for share in spec.shares)
    for share, machine in zip(spec.shares, machines, strict=True):
        has = _count(machine, key, told.slurm)
        if has < most:
            raise BadInput(
                "Slurm gives every machine of a job the same number of cards, and this one hasn't as many.",
                asked=f"{most} on {share.node}",
                found=str(has),
                hint="ask for a number that is spread evenly",
            )
    mapped = account_of(told, spec.organisation)
    partition = _partition(site, told.slurm, mapped, machines)
    run_dir = layout.run(home, spec.name)
    return Request(
        run=spec.name,
        name=f"{PREFIX}{tag}-{spec.name}",
        machines=tuple(machine.name for machine in machines),
        gres=f"{key}:{most}" if key else "",
        cpus=max(min(told.slurm.cpus_per_card * most, *(machine.cpus for machine in machines)), 1),
        memory_mb=_memory_mb(told.slurm, site, partition, machines, key, most),
        minutes=_minutes(spec, partition),
        warn_s=math.ceil(spec.grace_s + WARN_S),
        partition=partition.name,
        account=mapped.account,
        qos=mapped.qos,
        user=mapped.user,
        python=python,
        code=str(layout.code(home)),
        folder=str(run_dir),
        log=str(layout.exchange(run_dir) / "log"),
        variables=dict(variables),
        extra=told.slurm.extra,
    )


def account_of(told: Settings, organisation: str) -> Account:
    """As whom an organisation's jobs run."""
    return told.accounts.get(organisation) or told.accounts.get("*") or Account()


def script(request: Request) -> str:
    """The whole batch script. sbatch is called with nothing but it, and with no variables but the request's."""
    options = [
        f"--job-name={request.name}",
        f"--partition={request.partition}",
        f"--nodes={len(request.machines)}",
        f"--nodelist={','.join(request.machines)}",
        f"--ntasks={len(request.machines)}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={request.cpus}",
        *([f"--gres={request.gres}"] if request.gres else []),
        *([f"--mem={request.memory_mb}"] if request.memory_mb is not None else []),
        *([f"--time={request.minutes}"] if request.minutes is not None else []),
        f"--signal=B:USR1@{request.warn_s}",
        "--no-requeue",
        "--export=ALL",  # of the few variables that sbatch is called with; NONE and NIL would run the user's login files
        "--propagate=NONE",
        "--open-mode=append",
        f"--output={request.log}",
        "--chdir=/",
        *([f"--account={request.account}"] if request.account else []),
        *([f"--qos={request.qos}"] if request.qos else []),
        *([f"--uid={request.user}"] if request.user else []),
        *request.extra,
    ]
    return "\n".join(["#!/bin/sh", *(f"#SBATCH {option}" for option in options), f"exec {shlex.join(request.command)}", ""])


def payload(request: Request) -> dict[str, Any]:
    """The same as the body of a POST to /slurm/v0.0.38/job/submit. Who submits, a header says.

    Measured with Slurm 22.05: tres_per_node and required_nodes are refused, "requeue": false is ignored and "no_requeue" isn't,
    a signal for the batch script alone can't be asked for: the script looks at the clock itself.
    """
    job: dict[str, Any] = {
        "name": request.name,
        "partition": request.partition,
        "nodes": [len(request.machines), len(request.machines)],
        "nodelist": ",".join(request.machines),
        "tasks": len(request.machines),
        "tasks_per_node": 1,
        "cpus_per_task": request.cpus,
        "no_requeue": True,
        "environment": dict(request.variables),
        "open_mode": "append",
        "standard_output": request.log,
        "current_working_directory": "/",
    }
    if request.gres:
        job["gres"] = f"gres:{request.gres}"
    if request.memory_mb is not None:
        job["memory_per_node"] = request.memory_mb
    if request.minutes is not None:
        job["time_limit"] = request.minutes
    if request.account:
        job["account"] = request.account
    if request.qos:
        job["qos"] = request.qos
    for line in request.extra:
        name, _, value = line.lstrip("-").partition("=")
        job[name.replace("-", "_")] = value or True
    return {"job": job, "script": f"#!/bin/sh\nexec {shlex.join(request.command)}\n"}


def _partition(site: Site, settings: SlurmSettings, mapped: Account, machines: list[Machine]) -> Partition:
    """The first partition that has all these machines."""
    named = [one for one in site.partitions if one.name == mapped.partition]
    choice = named if mapped.partition else survey.usable(site.partitions, settings)
    for one in choice:
        if all(one.name in machine.partitions for machine in machines):
            return one
    raise BadInput(
        "No partition that may be used here has all of these machines.",
        asked=", ".join(machine.name for machine in machines),
        found=", ".join(one.name for one in choice) or mapped.partition,
    )


def _minutes(spec: Spec, partition: Partition) -> int | None:
    """The run's own limit is the cloud's to keep; this one is the site's, for when the cloud can't be reached."""
    if spec.time_limit_s is None:
        return None
    wanted = math.ceil((spec.time_limit_s + spec.grace_s + PREPARE_S) / 60)
    most = partition.most_minutes
    if most is not None and spec.time_limit_s > most * 60:
        raise BadInput(
            f"The partition {partition.name} lets no job run as long as that.",
            asked=f"{math.ceil(spec.time_limit_s / 60)} minutes",
            found=f"{most} minutes at most",
        )
    return wanted if most is None else min(wanted, most)


def _memory_mb(
    settings: SlurmSettings, site: Site, partition: Partition, machines: list[Machine], key: str, cards: int
) -> int | None:
    """What the operator says a card is given; else the site's default; else the machine's memory, in proportion: a job that asks
    for none gets all of it where the site has no default, and no other job fits beside it.
    """
    if settings.memory_per_card:
        return math.ceil(units.parse_bytes(settings.memory_per_card) * cards / units.MIB)
    if partition.default_memory or site.default_memory:
        return None
    share = min(machine.memory_mb * cards // _count(machine, key, settings) for machine in machines)
    return share or None  # a site that doesn't say how much its machines have doesn't count it


def _count(machine: Machine, key: str, settings: SlurmSettings) -> int:
    if not key:
        return machine.cpus // max(settings.cpus_per_card, 1)
    return sum(one.count for one in machine.gres if one.key == key)
