"""What the ranks of a run find on a Slurm site: each other, their cards, their data, and nobody else's."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import textwrap
import time
from pathlib import Path

import pytest

from forebay.centre import layout
from forebay.centre.settings import Account, Settings, SlurmSettings
from forebay.centre.slurm.run import REQUEST
from forebay.centre.spec import Mount, Outcome, Phase, Share
from forebay.codec import encode
from forebay.errors import BadInput, Unavailable

from ..conftest import until
from .conftest import BOTH, GRES, SlurmCentre, joined
from .site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
both = pytest.mark.parametrize("centre", BOTH, indirect=True)
SYSTEM_PYTHON = Path("/usr/bin/python3")  # which other users than root can run, unlike that of a virtual environment below /root

VISIBLE = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if 'VISIBLE' in k}))"


def test_ranks_on_two_machines_meet_through_our_store(centre: SlurmCentre, carried: None) -> None:
    code = """
        import os
        import torch
        import torch.distributed as dist
        dist.init_process_group("gloo")
        ones = torch.ones(1)
        dist.all_reduce(ones)
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR")
        told = [os.environ[name] for name in names]
        print(*told, os.environ["TORCHELASTIC_USE_AGENT_STORE"], dist.get_rank(), int(ones.item()))
        dist.destroy_process_group()
    """
    seen = centre.end(centre.launch(textwrap.dedent(code), on="h1,h2", cards=2), 200)
    assert (seen.outcome, seen.reason) == (Outcome.SUCCEEDED, "Every rank ended well.")
    first = next(node.address for node in centre.engine.nodes() if node.name == "h1")
    assert sorted(centre.lines()) == [
        f"0 4 0 2 0 {first} True 0 4",
        f"1 4 1 2 0 {first} True 1 4",
        f"2 4 0 2 1 {first} True 2 4",
        f"3 4 1 2 1 {first} True 3 4",
    ]


@both
def test_the_cards_that_slurm_gave_are_the_cards_that_ranks_see(centre: SlurmCentre) -> None:
    other = centre.site.submit("npu:3", nodes="a1")
    until(lambda: centre.site.jobs()[other]["JobState"] == "RUNNING")
    seen = centre.run(VISIBLE, on="a1,a2", cards=2)
    assert seen.bound == {"a1": (3, 4), "a2": (0, 1)}
    told = [json.loads(line) for line in centre.lines()]
    assert sorted(one["ASCEND_RT_VISIBLE_DEVICES"] for one in told) == ["0,1", "0,1", "3,4", "3,4"]


def test_gpus_and_cards_that_slurm_only_counts_are_bound_too(centre: SlurmCentre) -> None:
    gpu = centre.run(VISIBLE, name="g-1", on="h1", cards=3)
    shares = (Share(node="m1", cards=(2, 3)),)
    mlu = centre.run(VISIBLE, name="m-1", on="m1", shares=shares)
    assert (gpu.bound, json.loads(centre.lines("g-1")[0])) == ({"h1": (0, 1, 2)}, {"CUDA_VISIBLE_DEVICES": "0,1,2"})
    assert (mlu.bound, json.loads(centre.lines("m-1")[0])) == ({"m1": (2, 3)}, {"MLU_VISIBLE_DEVICES": "2,3"})
    assert "Slurm only counts its mlu:mlu370" in centre.told_by_slurm("m-1")


def test_a_run_of_uneven_shares_binds_what_it_wants_and_the_rest_is_busy(centre: SlurmCentre) -> None:
    shares = (Share(node="a1", cards=(0, 1, 2)), Share(node="a2", cards=(0,)))
    handle = centre.launch("import time; print('up', flush=True); time.sleep(600)", on="a1", shares=shares)
    seen = centre.seen(handle, lambda seen: seen.phase is Phase.RUNNING)
    assert seen.bound == {"a1": (0, 1, 2), "a2": (0,)}
    (state,) = until(lambda: [state for state in centre.engine.states() if state.busy])
    assert (state.name, len(state.busy)) == ("a2", 2)


def test_more_cards_than_a_machine_has_are_refused_at_once(centre: SlurmCentre) -> None:
    with pytest.raises(BadInput):
        centre.engine.launch(centre.spec("pass", on="m1", shares=(Share(node="m1", cards=tuple(range(5))),)))


def test_nothing_of_the_agents_environment_gets_into_a_job(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_KEY", "a-key-of-somebody")
    monkeypatch.setenv("SLURM_JWT", "a-token-of-somebody")
    for way in BOTH:
        with joined(site, way) as centre:
            handle = centre.launch("import os, time; print(*os.environ, flush=True); time.sleep(600)", cards=1)
            until(lambda: centre.lines())
            ranks = set(centre.lines()[0].split())
            assert not [name for name in ranks if name.startswith("SLURM") or "KEY" in name or "TOKEN" in name or "JWT" in name]
            found = [environ for pid in mine(centre) for environ in [Path(f"/proc/{pid}/environ").read_bytes()]]
            assert len(found) >= 3  # the lead, srun and a supervisor at least
            assert not [environ for environ in found if b"somebody" in environ or b"SLURM_JWT" in environ]
            assert "somebody" not in (layout.run(centre.home, "j-1") / REQUEST).read_text()
            centre.engine.stop(handle, 0)
            centre.end(handle)


def test_two_organisations_are_two_users_and_see_nothing_of_each_other(centre: SlurmCentre) -> None:
    theirs = centre.launch(
        "import os, time; open('out/secret', 'w').write('x'); print(os.getuid(), flush=True); time.sleep(600)", cards=1
    )
    until(lambda: centre.lines())
    code = f"""
        import os
        print(os.getuid())
        for path in ({str(layout.output(centre.home, "j"))!r}, {str(layout.run(centre.home, "j-1") / "share-0" / "work")!r}):
            try:
                print(os.listdir(path))
            except PermissionError:
                print("closed")
    """
    centre.run(textwrap.dedent(code), name="k-1", organisation="other", cards=1, on="a2")
    uid, *closed = centre.lines("k-1")
    assert closed == ["closed", "closed"]
    assert uid not in (centre.lines()[0], "0")
    assert centre.engine.look(theirs).phase is Phase.RUNNING


@pytest.mark.parametrize("way", BOTH)
def test_jobs_run_as_the_account_that_the_operator_mapped(site: Site, way: str) -> None:
    accounts = {"acme": Account(user="nobody")}
    with joined(site, way, accounts=accounts, python=str(SYSTEM_PYTHON), base={"*": str(SYSTEM_PYTHON)}) as centre:
        tree = centre.engine.data_folder("acme") / "words@1"
        tree.mkdir()
        (tree / "a.txt").write_text("forebay")
        mounts = (Mount(kind="data", source="words@1", at="data/words"),)
        code = """
            import os
            print(os.getuid(), open("data/words/a.txt").read())
            open("out/model", "w").write("weights")
            for path in ("runs", "outputs", "store/data", "store/bundles", "key"):
                print(path, os.access(os.path.join(HOME, path), os.R_OK))
        """
        code = f"HOME = {str(centre.home)!r}\n" + textwrap.dedent(code)
        (centre.home / "key").write_text("secret")
        (centre.home / "key").chmod(0o600)
        seen = centre.run(code, on="a1,a2", cards=1, mounts=mounts)
        assert (seen.outcome, seen.reason) == (Outcome.SUCCEEDED, "Every rank ended well.")
        lines = set(centre.lines())
        assert lines == {
            "65534 forebay",
            *(f"{path} False" for path in ("runs", "outputs", "store/data", "store/bundles", "key")),
        }
        assert (centre.engine.output("j") / "model").read_text() == "weights"
        assert (centre.engine.output("j") / "model").stat().st_uid == 65534
        assert centre.site.jobs()[centre.job_of_ended()]["UserId"] == "nobody(65534)"
        run_dir = layout.run(centre.home, "j-1")
        assert stat.S_IMODE((run_dir / "spec.json").stat().st_mode) == 0o600
        assert (run_dir / "spec.json").stat().st_uid == 0
        # A link that the account plants leads root nowhere.
        other = centre.run("print('mine')", name="k-1", organisation="else", cards=1)
        assert other.outcome is Outcome.SUCCEEDED
        planted = layout.status(layout.share(run_dir, 0))
        planted.unlink()
        planted.symlink_to(layout.status(layout.run(centre.home, "k-1")))
        centre.engine._runs["j-1"].statuses.clear()
        centre.engine._runs["j-1"].ended = None
        assert centre.engine.look(centre.engine.handles()["j-1"]).outcome is Outcome.LOST


def test_an_agent_that_isnt_root_runs_all_as_itself_and_refuses_a_second_organisation(site: Site, tmp_path: Path) -> None:
    driver = """
        import json, sys, time
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from forebay.centre import layout
        from forebay.centre.settings import Settings
        from forebay.centre.slurm.commands import Commands, environment
        from forebay.centre.slurm.engine import Slurm
        from forebay.centre.spec import Phase, Spec
        from forebay.codec import decode
        from forebay.errors import Refused
        home, conf = Path(sys.argv[2]), sys.argv[3]
        engine = Slurm(home, decode(Settings, json.loads(sys.argv[4])), Commands(conf=conf), variables=environment(conf))
        while not engine.nodes(): time.sleep(0.05)
        bundle = Path(sys.argv[6]).read_bytes()
        spec = decode(Spec, json.loads(sys.argv[5]))
        layout.bundle(home, spec.bundle).write_bytes(bundle)
        handle = engine.launch(spec)
        while (seen := engine.look(handle)).phase is not Phase.ENDED: time.sleep(0.05)
        print(seen.outcome.value, seen.reason)
        print(json.loads(engine.read_log(handle, {}, 1000000).body.splitlines()[0])["text"])
        other = decode(Spec, {**json.loads(sys.argv[5]), "name": "k-1", "organisation": "other"})
        try:
            engine.launch(other)
        except Refused as error:
            print(error.text)
    """
    with joined(site) as centre:  # only to pack the code
        spec = centre.spec("import os; print(os.getuid())", cards=1)
        bundle = layout.bundle(centre.home, spec.bundle)
        home = centre.home / "nobodys"
        home.mkdir()
        os.chown(home, 65534, 65534)
        copy = centre.home / "bundle"
        copy.write_bytes(bundle.read_bytes())
        told = Settings(base={"*": str(SYSTEM_PYTHON)}, python=str(SYSTEM_PYTHON), slurm=SlurmSettings(gres=GRES))
        words = [str(home), str(site.conf), json.dumps(encode(told)), json.dumps(encode(spec)), str(copy)]
        source = str(layout.code(centre.home))
        done = subprocess.run(
            [str(SYSTEM_PYTHON), "-c", textwrap.dedent(driver), source, *words],
            user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=100, cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
    assert done.stderr == "" or "WARNING" in done.stderr
    assert done.stdout.splitlines() == [
        "succeeded Every rank ended well.",
        "65534",
        "This centre doesn't run as root, so it can't keep two organisations apart.",
    ]


def test_somebody_is_let_in_through_the_door_of_a_run(centre: SlurmCentre) -> None:
    code = """
        import os, socket, time
        door = socket.socket(socket.AF_UNIX)
        door.bind(os.path.join(os.environ["TMPDIR"], "door"))
        door.listen()
        print("open", flush=True)
        while True:
            line, _ = door.accept()
            while chunk := line.recv(100):
                line.sendall(chunk.upper())
            line.close()
    """
    handle = centre.launch(textwrap.dedent(code), cards=1)
    with pytest.raises(Unavailable):
        centre.engine.dial(handle)
    until(lambda: centre.lines())
    centre.seen(handle, lambda seen: seen.phase is Phase.RUNNING)
    with until(lambda: dialled(centre, handle)) as line:
        line.settimeout(30)
        line.sendall(b"hello")
        assert line.recv(100) == b"HELLO"
        line.sendall(b"again")
        assert line.recv(100) == b"AGAIN"
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100) == b""


def dialled(centre: SlurmCentre, handle: str) -> socket.socket | None:
    try:
        return centre.engine.dial(handle)  # type: ignore[arg-type]
    except Unavailable:  # Slurm hasn't been asked since it started
        time.sleep(0.1)
        return None


def mine(centre: SlurmCentre) -> list[int]:
    """Every process that was started for the centre's runs, by its first command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if str(centre.home / "runs").encode() in line and int(pid) != os.getpid():
            found.append(int(pid))
    return found
