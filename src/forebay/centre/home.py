"""A centre's folder, and what every engine does with it in the same way.

Asked:  where do runs, code, data and outputs lie, whose are they, and what does a Spec become before anything starts?
Answer: `Home` lays the tree out that `layout.py` draws, makes a run's Order, and keeps organisations' folders apart. It starts
        and stops nothing: that is for the engine.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from forebay import codec
from forebay.centre import files, isolation, layout, order, work
from forebay.centre.base import ANY
from forebay.centre.order import Order
from forebay.centre.spec import Handle, Phase, Seen, Spec
from forebay.chips import catalogue
from forebay.chips.node import Node
from forebay.errors import BadInput, Conflict, Unknown

_FORKABLE = ("cpu", "cuda")  # device types whose driver importing torch doesn't touch
_FOLDERS = ("runs", "outputs", "store", "store/data", "envs", "shim", "code")


class Home:
    """The folder of one centre."""

    def __init__(
        self,
        path: Path,
        *,
        base: Mapping[str, str],
        trust_all: bool = False,
        shim: Path | None = None,
        build_env: Mapping[str, str] | None = None,
        check: str = "1h",
    ) -> None:
        """`base`: chip (or "*") to its base environment's Python. `shim`: where the carrier of CUDA's words is compiled to, if
        not into this home. `build_env`: variables for pip, such as PIP_INDEX_URL. `check`: a run's cards are looked at first if
        the last good look is older, or "never".
        """
        self.path = path.absolute()
        self.base = dict(base)
        self.trust_all = trust_all
        self.shim = str((shim or layout.shim(self.path)).absolute())
        self.build_env = dict(build_env or {})
        self.check = check
        self.root = os.geteuid() == 0
        self._torch: dict[str, bool] = {}  # by bundle

    def lay_out(self) -> None:
        """Make the folders, and finish what was being removed."""
        lay_out(self.path)
        for gone in (self.path / "runs").glob(".gone-*"):
            shutil.rmtree(gone, ignore_errors=True)

    def link_code(self, package: Path) -> None:
        """Let `code/forebay` be this package."""
        link = layout.code(self.path) / "forebay"
        if not link.is_symlink() or Path(os.readlink(link)) != package:
            draft = link.with_name(f".forebay.{os.getpid()}")
            draft.symlink_to(package)
            draft.replace(link)

    # Runs.

    def handles(self) -> dict[str, Handle]:
        runs = self.path / "runs"
        return {path.name: Handle(str(path)) for path in sorted(runs.iterdir()) if layout.spec(path).exists()}

    def known(self, handle: Handle) -> Path:
        """The folder of a run of ours."""
        run_dir = Path(handle)
        if not self.holds(handle) or not layout.spec(run_dir).exists():
            raise Unknown("This engine has no such run.", asked=run_dir.name)
        return run_dir

    def holds(self, handle: Handle) -> bool:
        """Whether this is a run of ours, or a share of one."""
        return self.path / "runs" in (Path(handle).parent, Path(handle).parent.parent)

    def forget(self, handle: Handle, look: Callable[[Handle], Seen], remove: Callable[[Path], None] | None = None) -> None:
        """Drop the folder of a run that has ended: give it another name, then remove it. May be said twice."""
        run_dir = Path(handle)
        if not self.holds(handle) or not run_dir.exists():
            return
        if look(handle).phase is not Phase.ENDED:
            raise Conflict("The run hasn't ended, so its folder is still needed.", asked=run_dir.name, hint="stop it first")
        self.remove(run_dir, remove)

    def remove(self, run_dir: Path, remove: Callable[[Path], None] | None = None) -> None:
        """Drop a run's folder, so that it is gone at once."""
        gone = run_dir.with_name(f".gone-{run_dir.name}")
        shutil.rmtree(gone, ignore_errors=True)
        run_dir.rename(gone)
        (remove or _remove)(gone)

    def order(self, spec: Spec, nodes: tuple[Node, ...]) -> Order:
        """What a Spec becomes here: which rank is where, in which environment, as whom."""
        places = order.places(spec, nodes)
        identity = isolation.identify(self.path, spec.organisation, root=self.root, trust_all=self.trust_all)
        chip = catalogue.find(spec.chip)
        torch = ("import" if spec.entry.endswith(".py") else "carry") if self.imports_torch(spec.bundle) else "none"
        return Order(
            spec=spec,
            home=str(self.path),
            base=self.base_of(spec.chip, pretend=spec.pretend),
            places=places,
            visible_env=chip.visible_devices_env,
            torch=torch,
            shim=self.shim,
            can_fork=spec.pretend or chip.device_type in _FORKABLE,
            check_before=torch != "none" and order.check_due(spec.checked_s_ago, self.check),
            check_after=torch != "none" and self.check != "never",
            device=chip.device_type,
            backend=chip.backend or "gloo",
            monitor="" if spec.pretend else chip.monitor or "",
            cookie=secrets.token_hex(16),
            uid=identity.uid,
            gid=identity.gid,
            run_gid=identity.run_gid,
            build_env=self.build_env,
        )

    def base_of(self, chip: str, *, pretend: bool) -> str:
        for key in ("cpu" if pretend else chip, ANY):
            if key in self.base:
                return self.base[key]
        raise BadInput("This centre has no base environment for that chip.", asked=chip, found=", ".join(self.base))

    # What is kept.

    def imports_torch(self, sha256: str) -> bool:
        """Whether a bundle that is here speaks of torch anywhere, so that its ranks want a carrier and a warm start."""
        if sha256 not in self._torch:
            try:
                self._torch[sha256] = work.imports_torch(layout.bundle(self.path, sha256))
            except (OSError, EOFError, tarfile.TarError):
                return False  # the supervisor will say what is wrong with it
        return self._torch[sha256]

    def data_folder(self, organisation: str) -> Path:
        """The folder into which the agent brings an organisation's data: the organisation may read it, and nobody else."""
        folder = layout.data(self.path, organisation)
        return isolation.own_folder(folder, 0o750, 0 if self.root else None, self._gid(organisation))

    def take_in(self, job: str, organisation: str, folder: Path) -> None:
        gid = self._gid(organisation)
        isolation.give(folder, gid, gid)
        files.exchange(folder, layout.output(self.path, job))

    def _gid(self, organisation: str) -> int | None:
        return isolation.gid(self.path, organisation, root=self.root, trust_all=self.trust_all)


def lay_out(home: Path) -> None:
    """Make the folders of a centre."""
    isolation.own_folder(home, 0o711)
    for folder in _FOLDERS:
        isolation.own_folder(home / folder, 0o755 if folder in ("shim", "code") else 0o711)
    isolation.own_folder(home / "store" / "bundles", 0o700)


def status(run_dir: Path) -> Seen | None:
    """What the supervisor of a run, or of a share of one, has last seen."""
    body = files.read_json(layout.status(run_dir))
    return None if body is None else codec.decode(Seen, body, strict=False)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
