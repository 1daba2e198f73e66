"""Make a Ray cluster out of plain machines: over SSH, or by the one command for each machine.

Asked:  which commands make these machines one Ray cluster that Forebay can use well?
Answer: `ray start` once a machine. Cards become the resource by which Ray itself knows their vendor (GPU, NPU, HPU, TPU), else
        one named after the chip; a label says which chip they are, so that nobody has to be asked later. The head gets heartbeat
        settings by which Ray knows a dead node after 2 to 5 seconds instead of 15.
Limits: the machines have Ray (the same version everywhere, on Python 3.11 or newer) and reach each other. SSH is used with keys
        only and asks nothing. Nothing is installed, and what `ray start` refuses is told as it said it.
Source: `ray start --help` and python/ray/_private/accelerators of Ray 2.60.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from forebay.centre.ray.parcels import Sources
from forebay.centre.ray.view import CHIP_LABEL
from forebay.centre.settings import RaySettings
from forebay.chips import catalogue
from forebay.errors import BadInput, Unavailable

PORT, DASHBOARD_PORT = 6379, 8265  # Ray's own
HEALTH: Mapping[str, int] = {
    "health_check_initial_delay_ms": 3000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
START_S = 120.0
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_BY_VENDOR = {"nvidia": "GPU", "amd": "GPU", "metax": "GPU", "huawei": "NPU", "google": "TPU"}
_BY_DEVICE = {"hpu": "HPU", "xpu": "GPU", "npu": "NPU"}
_PROBE = (
    "import json; from forebay.chips import detect; "
    "print(json.dumps([[node.chip, len(node.cards)] for node in detect.detect().nodes]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of a cluster to be."""

    host: str  # as SSH knows it; also the node's name
    cards: Mapping[str, int]  # chip -> how many; "cpu": processor cores as cards
    address: str = ""  # by which the others reach it; empty: Ray finds it out


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A cluster to be: its machines, the head first."""

    machines: tuple[Machine, ...]
    ray: str = "ray"  # the program, by its path where it isn't on the machines' PATH
    port: int = PORT
    dashboard_port: int = DASHBOARD_PORT
    extra: tuple[str, ...] = ()  # for every `ray start`: "--object-store-memory=1000000000"

    @property
    def head(self) -> Machine:
        return self.machines[0]

    @property
    def address(self) -> str:
        return f"{self.head.address or self.head.host}:{self.port}"


def machine(text: str) -> Machine:
    """One machine as people write it: "a1=ascend-910b:8", "a1@10.0.0.5=h100-sxm:8,cpu:4", "a1" (its cards are looked for)."""
    name, _, cards = text.partition("=")
    host, _, address = name.partition("@")
    found: dict[str, int] = {}
    for word in filter(None, cards.split(",")):
        chip, _, count = word.partition(":")
        if not count.isdigit() or int(count) < 1:
            raise BadInput("That says no number of cards.", asked=text, hint="a1=ascend-910b:8")
        found[catalogue.find(chip.strip()).name] = int(count)
    if not host:
        raise BadInput("That names no machine.", asked=text, hint="a1=ascend-910b:8")
    return Machine(host=host.strip(), address=address.strip(), cards=found)


def resource(chip: str) -> str:
    """The resource as which Ray counts cards of a chip."""
    if chip == "cpu":
        return "CPU"
    known = catalogue.find(chip)
    return _BY_DEVICE.get(known.device_type) or _BY_VENDOR.get(known.vendor) or chip


def command(plan: Plan, which: Machine) -> list[str]:
    """What has to be run on one machine."""
    words = ["env", "RAY_USAGE_STATS_ENABLED=0", plan.ray, "start"]
    if which == plan.head:
        words += ["--head", f"--port={plan.port}", f"--dashboard-port={plan.dashboard_port}"]
        words += [f"--dashboard-host={which.address or '0.0.0.0'}", f"--system-config={json.dumps(dict(HEALTH))}"]
    else:
        words += [f"--address={plan.address}"]
    words += [f"--node-name={which.host}", "--disable-usage-stats"]
    words += [f"--node-ip-address={which.address}"] if which.address else []
    others: dict[str, int] = {}
    for chip, count in which.cards.items():
        match resource(chip):
            case "CPU":
                words += [f"--num-cpus={count}"]
            case "GPU":
                words += [f"--num-gpus={count}"]
            case name:
                others[name] = count
    words += [f"--resources={json.dumps(others)}"] if others else []
    chips = [chip for chip in which.cards if chip != "cpu"]
    words += [f"--labels={CHIP_LABEL}={chips[0]}"] if len(chips) == 1 else []
    return [*words, *plan.extra]


def over_ssh(host: str, words: Sequence[str]) -> list[str]:
    """The same command, run on another machine."""
    return [*_SSH, host, shlex.join(words)]


def by_hand(plan: Plan) -> str:
    """What a person types, machine by machine."""
    lines = ["# First on the head, then on the others; to end it, on each: ray stop"]
    for which in plan.machines:
        lines += [f"# on {which.host}", shlex.join(command(plan, which))]
    return "\n".join(lines) + "\n"


def settings(plan: Plan) -> RaySettings:
    """What `centre.toml` has to say of this cluster."""
    chips: dict[str, str] = {}
    for which in plan.machines:
        for chip in which.cards:
            chips.setdefault(resource(chip), chip)  # where kinds are mixed, each node's label says which it is
    return RaySettings(
        address=plan.address, dashboard=f"http://{plan.head.address or plan.head.host}:{plan.dashboard_port}", chips=chips
    )


# The edge.


def detected(plan: Plan, python: str = "python3") -> Plan:
    """The plan with the cards of those machines that name none, as they are found there. Nothing stays on the machine."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda which: which.cards or _cards(which.host, python), plan.machines))
    machines = tuple(replace(which, cards=cards) for which, cards in zip(plan.machines, found, strict=True))
    return replace(plan, machines=machines)


def start(plan: Plan) -> None:
    """Start Ray on every machine, the head first. Raises Unavailable with what the machine said."""
    _run(plan.head.host, command(plan, plan.head))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda which: _run(which.host, command(plan, which)), plan.machines[1:]))


def stop(plan: Plan) -> None:
    """End Ray on every machine, the head last: whatever of Ray runs there."""
    for which in reversed(plan.machines):
        _run(which.host, [plan.ray, "stop"])


def _cards(host: str, python: str) -> dict[str, int]:
    look = shlex.join([python, "-c", _PROBE])
    script = f'd=$(mktemp -d) && tar xzf - -C "$d" && PYTHONPATH="$d" {look}; s=$?; rm -rf "$d"; exit $s'
    told = _run(host, ["sh", "-c", script], given=Sources().body)
    return dict(json.loads(told.splitlines()[-1]))


def _run(host: str, words: Iterable[str], given: bytes = b"") -> str:
    """Run a command on a machine; what it printed."""
    argv = over_ssh(host, list(words))
    try:
        done = subprocess.run(argv, input=given, capture_output=True, timeout=START_S, check=False, env=dict(os.environ))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("A machine can't be spoken to.", asked=shlex.join(argv), found=str(error)) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise Unavailable(
            f"Ray could not be started on {host}.",
            asked=argv[-1],
            found=said[-500:],
            hint="run that command there by hand; SSH must reach it without a password",
        )
    return done.stdout.decode("utf-8", "replace")
