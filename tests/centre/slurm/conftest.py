"""A Slurm site of six nodes with three kinds of chips, and a centre that joins it, by commands or by slurmrestd."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.centre import layout
from forebay.centre.settings import Settings, SlurmSettings
from forebay.centre.slurm.commands import Commands, environment
from forebay.centre.slurm.engine import Slurm
from forebay.centre.slurm.rest import Rest, Tokens
from forebay.centre.spec import Handle, Phase, Seen, Share, Spec

from ..conftest import SHIM, Centre, until
from .site import TREE, Site, missing

GRES = {"gpu:h100": "h100-sxm", "mlu:mlu370": "mlu370-x4"}  # npu:ascend910b is known by its name
BOTH = ("commands", "rest")


class SlurmCentre(Centre):
    """A centre of a Slurm site."""

    def __init__(self, home: Path, site: Site, way: str, told: Settings) -> None:
        self.site = site
        self.way = way
        self.told = told
        super().__init__(home)
        until(self.engine.nodes)

    def open(self, **settings: Any) -> Slurm:  # type: ignore[override]
        return open_engine(self.home, self.site, self.way, self.told, **settings)

    def spec(self, code: Any, *, name: str = "j-1", on: str = "a1", cards: int = 2, **fields: Any) -> Spec:
        """`on`: nodes, with commas. Each has this many cards of the run."""
        nodes = {node.name: node for node in self.engine.nodes()}
        shares = tuple(Share(node=node, cards=tuple(range(cards))) for node in on.split(","))
        return super().spec(code, name=name, **{"chip": nodes[on.split(",")[0]].chip, "shares": shares, **fields})

    def launch(self, code: Any, **fields: Any) -> Handle:
        return self.engine.launch(self.spec(code, **fields))

    def end(self, handle: Handle, seconds: float = 90) -> Seen:
        return until(lambda: seen if (seen := self.engine.look(handle)).phase is Phase.ENDED else None, seconds)

    def seen(self, handle: Handle, wanted: Callable[[Seen], Any], seconds: float = 60) -> Seen:
        """The first sight that is as wanted."""
        last: list[Seen] = []

        def look() -> Seen | None:
            last[:] = [self.engine.look(handle)]
            return last[0] if wanted(last[0]) else None

        try:
            return until(look, seconds)
        except AssertionError:
            raise AssertionError(f"last seen: {last}") from None

    def lines(self, name: str = "j-1", stream: str | None = "stdout", rank: int | None = None) -> list[str]:
        found: list[str] = []
        marks: dict[str, int] = {}
        while (piece := self.engine.read_log(Handle(str(layout.run(self.home, name))), marks, 2**20)) is not None:
            marks[piece.share] = piece.end
            lines = [json.loads(line) for line in piece.body.splitlines()]
            found += [line["text"] for line in lines if stream in (None, line["stream"]) and rank in (None, line["rank"])]
        return found

    def job(self, name: str = "j-1") -> str:
        """Slurm's number of a run's job."""
        return str(until(lambda: self.engine._runs[name].job_id))

    def job_of_ended(self, name: str = "j-1") -> str:
        return str(json.loads((layout.run(self.home, name) / "job.json").read_text())["id"])

    def told_by_slurm(self, name: str = "j-1") -> str:
        path = layout.exchange(layout.run(self.home, name)) / "log"
        return path.read_text() if path.exists() else ""


def open_engine(home: Path, site: Site, way: str, told: Settings, **settings: Any) -> Slurm:
    variables = environment(str(site.conf))
    if way == "commands":
        transport: Any = Commands(conf=str(site.conf), timeout_s=15)
    else:
        transport = Rest(site.rest, user="root", tokens=Tokens(home, variables), variables=variables, timeout_s=20)
    quick = {"pauses_s": (0.3, 1.0, 1.0)}
    return Slurm(home, told, transport, variables=variables, shim=SHIM, **{**quick, **settings})


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    if lacks := missing():
        pytest.skip(lacks)
    with Site(switches=TREE, preemption=True) as made:
        yield made


@pytest.fixture
def centre(site: Site, request: pytest.FixtureRequest) -> Iterator[SlurmCentre]:
    """Parametrised by the way to Slurm, and by settings."""
    way = getattr(request, "param", "commands")
    with joined(site, way) as made:
        yield made


class joined:
    """A centre that joins a site, for as long as the block lasts."""

    def __init__(self, site: Site, way: str = "commands", **told: Any) -> None:
        self.site, self.way = site, way
        slurm = SlurmSettings(gres=GRES, **told.pop("slurm", {}))
        self.told = Settings(engine="slurm", slurm=slurm, **{"base": {"*": sys.executable}, **told})

    def __enter__(self) -> SlurmCentre:
        self.made = SlurmCentre(Path(tempfile.mkdtemp(prefix="forebay-centre-")), self.site, self.way, self.told)
        return self.made

    def __exit__(self, *_: object) -> None:
        made = self.made
        for handle in made.engine.handles().values():
            made.engine.stop(handle, 0)
        for job, about in self.site.jobs().items():
            if about["JobState"] in ("RUNNING", "PENDING", "SUSPENDED"):
                self.site.cancel(job)
        for handle in made.engine.handles().values():
            made.end(handle)
        made.engine.close()
        shutil.rmtree(made.home, ignore_errors=True)
