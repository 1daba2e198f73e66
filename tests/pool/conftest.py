"""One pool of three centres: a Slurm site of six nodes with three chips, a Ray cluster of three nodes, and a machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.centre.ray import cluster as ray_cluster
from tests.centre.slurm import site as slurm_site
from tests.cloud.clouds import Cloud, torn_down, until

from forebay.client import Client

from .cut import Wire

FOREBAY = Path(sys.executable).parent / "forebay"
# One card a machine where a gang has to lie on two: two processor cores carry only so many ranks.
MACHINES = (
    slurm_site.Machine(name="h1", gres="gpu:h100:1"),
    slurm_site.Machine(name="h2", gres="gpu:h100:1"),
    slurm_site.Machine(name="a1", gres="npu:ascend910b:1"),
    slurm_site.Machine(name="a2", gres="npu:ascend910b:1"),
    slurm_site.Machine(name="m1", gres="mlu:mlu370:4"),
    slurm_site.Machine(name="m2", gres="mlu:mlu370:4"),
)
HOSTS = tuple(ray_cluster.Host(name=f"r{i}", resources={"MTT": 1}, cpus=4) for i in (1, 2, 3))
CHIPS = ("cpu", "h100-sxm", "ascend-910b", "mlu370-x8", "mtt-s4000")


class Pool:
    """The cloud and its three centres, and hands to work them."""

    def __init__(self, cloud: Cloud, site: slurm_site.Site, cluster: ray_cluster.Cluster, folder: Path) -> None:
        self.cloud, self.site, self.cluster, self.folder = cloud, site, cluster, folder
        self.wires = {name: Wire(cloud.url.removeprefix("http://")) for name in ("north", "east")}
        self.secret = cloud.tenant("acme")
        self.operator = cloud.client()
        self.member = cloud.client(self.secret, patience_s=120)
        for chip in CHIPS:
            self.operator.set_price(chip, "0.5")
        slurm = ["--gres", "mlu:mlu370=mlu370-x8", "--gres", "gpu:h100=h100-sxm", "--check", "never"]
        self.join("north", "slurm", slurm, {"SLURM_CONF": str(site.conf)})
        ray = ["--address", cluster.address, "--dashboard", cluster.dashboard, "--resource", "MTT=mtt-s4000", "--check", "never"]
        self.join("east", "ray", ray, {})

    def join(self, name: str, engine: str, words: list[str], env: Mapping[str, str]) -> dict[str, object]:
        """As an operator would: a token from the cloud, and one command at the centre."""
        _, token = self.operator.make_centre(name)
        told = self.forebay(
            *("centre", "join", self.wires[name].url, "--token", token, "--engine", engine, "--pretend"),
            *("--home", str(self.home(name)), "--base", sys.executable, "--json"),
            *words,
            env=env,
        )
        joined: dict[str, object] = json.loads(told)
        assert until(lambda: self.centre(name)["nodes"], 60), (self.home(name) / "agent.log").read_text()
        return joined

    def forebay(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            [str(FOREBAY), *words], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def home(self, name: str) -> Path:
        return self.folder / name

    def centre(self, name: str) -> dict[str, object]:
        return next(centre for centre in self.operator.pool()["centres"] if centre["name"] == name)

    def where(self, job: str) -> list[str]:
        """The centre of each attempt."""
        return [run["allocation"]["centre"] for run in self.member.job(job)["runs"]]

    def printed(self, job: str) -> list[str]:
        return [line["text"] for line in self.member.logs(job) if line["rank"] >= 0]

    def close(self) -> None:
        for name in self.wires:
            with contextlib.suppress(AssertionError):
                self.forebay("centre", "leave", "--home", str(self.home(name)))
        for wire in self.wires.values():
            wire.close()
        self.operator.close()
        self.member.close()


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    if why := slurm_site.missing():
        pytest.skip(why)
    pytest.importorskip("ray", reason="pip install 'forebay[ray]'")
    pytest.importorskip("torch")
    folder = Path(tempfile.mkdtemp(prefix="fb-pool-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "c").mkdir()
    cluster = ray_cluster.Cluster(folder / "c", HOSTS)
    try:
        with slurm_site.Site(MACHINES) as site, torn_down(Cloud()) as cloud:
            cloud.up(cards=2)
            made = Pool(cloud, site, cluster, folder)
            try:
                yield made
            finally:
                made.close()
    finally:
        cluster.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def member(pool: Pool) -> Client:
    return pool.member
