"""What a job can't reach: other organisations' files, the engine's, and more rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from forebay.centre import isolation, layout
from forebay.centre.spec import Outcome
from forebay.errors import Refused

from .conftest import Centre

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="organisations are users of their own only where the engine is root")

PRY = """
    import os, sys
    for path in sys.argv[1:]:
        try:
            print(os.listdir(path) if os.path.isdir(path) else open(path).read())
        except OSError as error:
            print(type(error).__name__)
"""


@root_only
def test_an_organisation_reads_nothing_of_another_or_of_the_engine(centre: Centre, tmp_path: Path) -> None:
    centre.run("open('out/model', 'w').write('a secret')", name="theirs-1", organisation="other")
    centre.engine.data_folder("other").joinpath("words@1").mkdir()
    secret = Path(tempfile.mkstemp()[1])  # mode 0600, root's
    theirs = layout.run(centre.home, "theirs-1")
    pried = [
        layout.output(centre.home, "theirs"),
        layout.output(centre.home, "theirs") / "model",
        layout.work(theirs),
        layout.spec(theirs),
        layout.status(theirs),
        layout.log(theirs),
        layout.spec(layout.run(centre.home, "mine-1")),
        layout.log(layout.run(centre.home, "mine-1")),
        layout.data(centre.home, "other"),
        layout.uids(centre.home),
        layout.bundle(centre.home, centre.order("theirs-1").spec.bundle),
        centre.home,
        secret,
    ]
    centre.run(textwrap.dedent(PRY), name="mine-1", organisation="mine", argv=tuple(map(str, pried)))
    secret.unlink()
    assert centre.lines("mine-1") == ["PermissionError"] * len(pried), centre.lines("mine-1", None)


@root_only
def test_a_rank_has_its_organisations_user_and_no_way_to_more(centre: Centre) -> None:
    code = """
        import os
        print(os.getresuid(), os.getresgid(), len(os.getgroups()))
        status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        print(status["CapEff"].strip(), status["CapPrm"].strip(), status["NoNewPrivs"].strip())
        for path in (os.environ["HOME"], os.environ["TMPDIR"], os.environ["FOREBAY_OUTPUT"]):
            open(path + "/mine", "w").close()
    """
    seen = centre.run(textwrap.dedent(code))
    (uid,) = json.loads(layout.uids(centre.home).read_text())["organisations"].values()
    assert uid >= isolation.FIRST_UID
    assert seen.outcome is Outcome.SUCCEEDED, centre.lines(stream=None)
    assert centre.lines() == [f"{(uid, uid, uid)} {(uid, uid, uid)} 2", f"{'0' * 16} {'0' * 16} 1"]


@root_only
def test_a_data_set_can_be_read_by_its_organisation_and_not_written(centre: Centre) -> None:
    from forebay.centre.spec import Mount

    tree = centre.engine.data_folder("acme") / "words@1"
    tree.mkdir()
    (tree / "a.txt").write_text("forebay")
    code = "print(open('d/a.txt').read())\ntry: open('d/b', 'w')\nexcept OSError as error: print(type(error).__name__)"
    centre.run(code, mounts=(Mount(kind="data", source="words@1", at="d"),))
    assert centre.lines() == ["forebay", "PermissionError"]


@root_only
def test_python_and_home_below_a_closed_folder_work_and_the_rest_of_it_is_hidden() -> None:
    import shutil

    closed = Path(tempfile.mkdtemp(prefix="forebay-closed-"))  # mode 0700
    (closed / "key").write_text("secret")
    (closed / "base").symlink_to(sys.prefix)
    centre = Centre(closed / "home")
    try:
        centre.engine.close()
        centre.engine = centre.open(base={"*": closed / "base" / "bin" / "python"})
        seen = centre.run(f"import os\nprint(sorted(os.listdir({str(closed)!r})))\nopen('out/x', 'w').write('1')")
        assert seen.outcome is Outcome.SUCCEEDED, (seen, centre.lines(stream=None))
        assert centre.lines() == ["['base', 'home']"]
        assert (layout.output(centre.home, "j") / "x").read_text() == "1"
    finally:
        centre.engine.close()
        shutil.rmtree(closed)


@root_only
def test_one_organisation_keeps_its_user_and_each_run_has_a_group_of_its_own(centre: Centre) -> None:
    for name, organisation in (("a-1", "one"), ("b-1", "two"), ("a-2", "one")):
        centre.run("", name=name, organisation=organisation)
    uids = {name: centre.order(name).uid for name in ("a-1", "b-1", "a-2")}
    assert uids["a-1"] == uids["a-2"] != uids["b-1"]
    assert len({centre.order(name).run_gid for name in uids}) == 3
    assert json.loads(layout.uids(centre.home).read_text())["organisations"] == {"one": uids["a-1"], "two": uids["b-1"]}


def test_without_root_a_second_organisation_is_refused_unless_all_trust_each_other(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    identify = isolation.identify
    assert identify(home, "one", root=False, trust_all=False) == isolation.Identity(None, None, None)
    with pytest.raises(Refused, match="can't keep two organisations apart"):
        identify(home, "two", root=False, trust_all=False)
    assert identify(home, "two", root=False, trust_all=True) == isolation.Identity(None, None, None)
    identify(home, "one", root=False, trust_all=False)


@root_only
def test_without_root_the_whole_engine_works_for_one_organisation(centre: Centre) -> None:
    """As another user, in a view of the files in which that user can reach this Python."""
    uid = 54321
    home = Path(tempfile.mkdtemp(prefix="forebay-centre-"))
    os.chown(home, uid, uid)
    program = """
        import hashlib, os, pickle, sys, time
        from pathlib import Path
        sys.path[:0] = {folders!r}
        from tests.centre.conftest import Centre
        from forebay.errors import Refused
        centre = Centre(Path({home!r}))
        code = "import os, subprocess\\nsubprocess.Popen(['setsid', 'sleep', '600'])\\nprint(os.getuid())"
        seen = centre.run(code)
        print(seen.outcome.value, centre.lines(), centre.processes())
        try:
            centre.run("", name="k-1", organisation="second")
        except Refused as error:
            print(error.text)
        centre.engine.close()
    """
    repository = Path(__file__).parents[2]
    text = textwrap.dedent(program).format(folders=[str(repository / "src"), str(repository)], home=str(home))
    needed = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable), repository, home]
    view = isolation.view([(path, path == home) for path in needed], uid, [uid])
    wrapper = f"""
        import os, sys
        sys.path.insert(0, {str(repository / "src")!r})
        from forebay.job import confine
        confine.enter({view!r})
        os.setgroups([]); os.setgid({uid}); os.setuid({uid})
        os.execve(sys.executable, [sys.executable, "-c", {text!r}], {{"PATH": os.environ["PATH"], "HOME": {str(home)!r}}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(wrapper)], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        f"succeeded ['{uid}'] set()",
        "This centre doesn't run as root, so it can't keep two organisations apart.",
    ], done.stderr


def test_a_path_behind_a_closed_folder_is_bound_and_a_link_to_it_is_made_again(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "real" / "lib").mkdir(parents=True)
    (closed / "alias").symlink_to("real")
    closed.chmod(0o700)
    for folder in [*tmp_path.parents, tmp_path]:
        if folder.stat().st_mode & 0o001 == 0 and folder != closed:
            closed = folder  # the topmost closed folder counts; pytest's own may be one
            break
    view = isolation.view([(tmp_path / "closed" / "alias" / "lib", False)], 54321, [54321])
    assert view["binds"] == [[str(tmp_path / "closed" / "real" / "lib"), False]]
    assert view["links"] == [[str(tmp_path / "closed" / "alias"), "real"]]
    assert len(view["covers"]) == 1
    assert isolation.view([(Path("/usr/bin"), False)], 54321, [54321]) == {"covers": [], "binds": [], "links": []}
    assert isolation.view([(tmp_path / "closed", True)], None, []) == {}
