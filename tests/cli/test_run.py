"""The command line, with a cloud that `forebay up` started: what it prints, what it refuses, and that nothing is half done."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from forebay.cli import main
from forebay.cli.main import VERBS

FOREBAY = Path(sys.executable).parent / "forebay"


@dataclass(frozen=True)
class Done:
    exit: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Here:
    """A cloud on this machine, and the folders that a person would have."""

    data: Path
    config: Path
    url: str
    operator: str
    member: str


def command(*words: object, **variables: str) -> Done:
    """Run `forebay` as a person does, in a process of its own."""
    ended = subprocess.run(
        [str(FOREBAY), *map(str, words)], capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
    )  # fmt: skip
    return Done(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    folder = Path(tempfile.mkdtemp(prefix="forebay-cli-"))  # one that other users, and so a tenant's program, may enter
    folder.chmod(0o711)
    data, python = folder / "data", folder / "python"
    venv.create(python, symlinks=True, with_pip=False)  # a base environment with nothing but Python starts fast
    variables = {"FOREBAY_DATA": str(data), "XDG_CONFIG_HOME": str(folder / "config")}
    started = command("up", "--port", 0, "--cpu-cards", 2, "--base", python / "bin" / "python", "--json", **variables)
    try:
        assert started.exit == 0, started
        assert [(node["chip"], len(node["cards"])) for node in started.json["nodes"]] == [("cpu", 2)]
        assert command("org", "make", "acme", "--project", "research", **variables).exit == 0
        key = command("key", "make", "acme/research", "--json", **variables).json
        yield Here(data, folder / "config", started.json["url"], (data / "operator.key").read_text().strip(), key["secret"])
        ended = command("down", "--stop-runs", "--json", **variables)
        assert (ended.exit, ended.json) == (0, {"stopped": ["agent", "cloud"], "runs_going_on": []})
        assert command("down", **variables).exit == 3
    finally:
        command("down", "--stop-runs", **variables)
        shutil.rmtree(folder, ignore_errors=True)


Forebay = Callable[..., Done]


@pytest.fixture
def forebay(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Forebay]:
    """`forebay(...)` in this process, as a member of acme, in a folder with a script."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("train.py").write_text("import sys\nprint('arguments', *sys.argv[1:])\n")
    monkeypatch.setenv("FOREBAY_DATA", str(here.data))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FOREBAY_URL", here.url)
    monkeypatch.setenv("FOREBAY_KEY", here.member)

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["forebay", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    yield run


def refused(done: Done, code: int, kind: str) -> None:
    """One clear message, the right exit code, and no Python in it."""
    assert (done.exit, done.err.partition(":")[0]) == (code, kind), done
    assert "Traceback" not in done.err and done.out == ""


def jobs(forebay: Forebay) -> list[str]:
    return [job["id"] for job in forebay("jobs", "--json").json]


def cards(forebay: Forebay) -> list[dict[str, Any]]:
    return [card for centre in forebay("pool", "--json").json["centres"] for node in centre["nodes"] for card in node["cards"]]


def until(look: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


# A run.


def test_a_run_is_followed_to_its_end_with_its_own_arguments(forebay):
    done = forebay("run", "--cards", 2, "--name", "first", "train.py", "--", "--steps", "3", "--json")
    assert done.exit == 0, done
    assert {"[0] arguments --steps 3 --json", "[1] arguments --steps 3 --json"} <= set(done.out.splitlines())
    assert "· succeeded" in done.out.splitlines()
    job = jobs(forebay)[0]
    assert forebay("logs", job, "--rank", 1).out == "[1] arguments --steps 3 --json\n"
    assert "succeeded" in forebay("show", job).out and "succeeded" in forebay("story", job).out
    (line,) = forebay("bill", "--job", job, "--json").json["lines"]
    assert (line["run"], line["cards"], line["outcome"]) == (f"{job}-1", 2, "succeeded")


def test_a_script_that_fails_fails_the_command(forebay):
    Path("bad.py").write_text("import sys\nprint('before')\nsys.exit(7)\n")
    done = forebay("run", "bad.py")
    assert done.exit == 1 and "[0] before" in done.out
    assert done.err.startswith("RunFailed: The job failed.") and "exit code 7" in done.err


def test_a_folder_runs_with_its_entry_data_and_variables(forebay, here, monkeypatch):
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("some text")
    assert forebay("data", "make", "texts", "texts").exit == 0
    Path("code/inner").mkdir(parents=True)
    Path("code/inner/main.py").write_text("import os\nprint(open('d/a.txt').read(), os.environ['A'], os.environ['MINE'])\n")
    monkeypatch.setenv("MINE", "of the shell")
    done = forebay("run", "code", "--entry", "inner/main.py", "--data", "texts:d", "--env", "A=b=c", "-e", "MINE")
    assert "[0] some text b=c of the shell" in done.out.splitlines(), done
    job = jobs(forebay)[0]
    assert "of the shell" not in forebay("show", job, "--json").out  # values may be secrets


def test_many_jobs_come_out_of_a_file_and_what_a_line_leaves_out_is_as_said(forebay):
    lines = [{"argv": ["--lr", str(i)], "name": f"lr-{i}"} for i in range(3)] + [{"cards": [2], "priority": -5}]
    Path("jobs.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines))
    done = forebay("run", "--name", "rest", "--priority", 5, "--many", "jobs.jsonl", "train.py", "--json", "--", "--quick")
    assert done.exit == 0, done
    assert [job["name"] for job in done.json] == ["lr-0", "lr-1", "lr-2", "rest"]
    shown = [forebay("show", job["id"], "--json").json for job in done.json]
    assert [job["script"]["argv"] for job in shown] == [["--lr", "0"], ["--lr", "1"], ["--lr", "2"], ["--quick"]]
    assert [(job["menu"][0]["cards"], job["priority"]) for job in shown] == [(1, 5), (1, 5), (1, 5), (2, -5)]
    to_people = forebay("run", "--many", "jobs.jsonl", "train.py")
    assert re.search(r"^4 jobs: j\w+ … j\w+$", to_people.out, re.M)
    for job in jobs(forebay):
        forebay("cancel", job)


def test_a_job_that_waits_is_shown_with_its_reason_and_its_likely_start(forebay):
    Path("hold.py").write_text("import time\ntime.sleep(600)\n")
    assert until(lambda: {card["held_by"] for card in cards(forebay)} == {None})  # the runs of before have ended
    held = forebay("run", "--detach", "--json", "--cards", 2, "--takes", "cpu=20m", "--resumable", "hold.py").json["id"]
    wanted = ["--cards", 2, "--takes", "cpu=20m", "--deadline", "3h", "--budget", "12.50", "--prefer", "fastest"]
    waits = forebay("run", "--detach", "--json", *wanted, "hold.py").json["id"]
    try:
        shown = forebay("show", waits)
        assert "waits: it wants 2 x cpu; 0 of 2 are free" in shown.out and "likely to start" in shown.out
        assert "fastest first, to end by 2" in shown.out and "for at most 12.500000" in shown.out
        listed = forebay("jobs").out
        assert "waits for" in listed and "busy" in listed
        assert "2 of 2" in forebay("pool").out
    finally:
        for job in (waits, held):
            forebay("cancel", job)


def test_detached_and_json_return_at_once_and_cancel_ends_it(forebay):
    Path("long.py").write_text("import time\ntime.sleep(300)\n")
    made = forebay("run", "--json", "long.py")
    job = made.json["id"]
    assert forebay("run", "-d", "long.py").out.startswith("job j")
    for name in jobs(forebay)[:2]:
        assert forebay("cancel", name).exit == 0
    assert "cancelled" in forebay("logs", "-f", job).out + forebay("story", job).out


# What is refused.


def _syntax_error() -> None:
    Path("broken.py").write_text("x = 1\ndef f(:\n")


def _link_out() -> None:
    Path("linked").mkdir()
    Path("linked/main.py").write_text("pass\n")
    Path("linked/secret").symlink_to("/etc/hostname")


def _folder() -> None:
    Path("code").mkdir()
    Path("code/main.py").write_text("pass\n")


def _large() -> None:
    _folder()
    Path("code/noise").write_bytes(os.urandom(50_000))


def _nothing() -> None:
    pass


def _lines(*lines: str) -> Callable[[], None]:
    def write() -> None:
        Path("jobs.jsonl").write_text("\n".join(lines))

    return write


@pytest.mark.parametrize(
    "prepare, words, code, kind, told",
    [
        (_nothing, ["trian.py"], 2, "BadScript", "train.py"),
        (_nothing, ["nowhere/train.py"], 2, "BadScript", "nowhere/train.py"),
        (_syntax_error, ["broken.py"], 2, "BadScript", "line 2: def f(:"),
        (_folder, ["code"], 2, "BadInput", "--entry main.py"),
        (_folder, ["code", "--entry", "train.py"], 2, "BadScript", "code/train.py"),
        (_folder, ["code", "--entry", "../train.py"], 2, "BadBundle", "../train.py"),
        (_link_out, ["linked", "--entry", "main.py"], 2, "BadBundle", "secret"),
        (_large, ["code", "--entry", "main.py", "--limit", "20kB"], 2, "BadBundle", "20 kB"),
        (_nothing, ["train.py", "--cards", "0"], 2, "BadInput", "--cards 0"),
        (_nothing, ["train.py", "--cards", "-2"], 2, "BadInput", "--cards -2"),
        (_nothing, ["train.py", "--cards", "two"], 2, "BadInput", "--cards two"),
        (_nothing, ["train.py", "--cards", "3"], 2, "DoesNotFit", "2 x cpu"),
        (_nothing, ["train.py", "--chip", "ascend-910"], 3, "Unknown", "ascend-910b"),
        (_nothing, ["train.py", "--chip", "h100-sxm"], 2, "DoesNotFit", "No centre has h100-sxm."),
        (_nothing, ["train.py", "--steps", "3"], 2, "BadInput", "-- --steps 3"),
        (_nothing, ["train.py", "--card", "2", "--", "--steps", "3"], 2, "BadInput", "did you mean --cards?"),
        (_nothing, ["train.py", "--env", "NOT_SET_ANYWHERE"], 2, "BadInput", "NOT_SET_ANYWHERE"),
        (_nothing, ["train.py", "--env", "RANK=1"], 2, "BadInput", "RANK"),
        (_nothing, ["train.py", "--time-limit", "soon"], 2, "BadInput", "'soon'"),
        (_nothing, ["train.py", "--limit", "big"], 2, "BadInput", "'big'"),
        (_nothing, ["train.py", "--prefer", "cheap"], 2, "BadInput", "cheapest"),
        (_nothing, ["train.py", "--deadline", "soon"], 2, "BadInput", "That is no deadline."),
        (_nothing, ["train.py", "--deadline", "2020-01-01"], 2, "BadInput", "The deadline has passed already."),
        (_nothing, ["train.py", "--budget", "lots"], 2, "BadInput", "'lots'"),
        (_nothing, ["train.py", "--restart-cost", "dear"], 2, "BadInput", "'dear'"),
        (_nothing, ["train.py", "--elastic"], 2, "BadInput", "several counts of cards"),
        (
            _nothing,
            ["train.py", "--elastic", "--not-resumable", "--cards", "2,1", "--takes", "cpu=9"],
            2,
            "BadInput",
            "resumable",
        ),
        (_nothing, ["train.py", "--many", "none.jsonl"], 2, "BadInput", "none.jsonl"),
        (_lines("", " "), ["train.py", "--many", "jobs.jsonl"], 2, "BadInput", "no job in that file"),
        (
            _lines('{"cards": [1]}', "", "{cards}"),
            ["train.py", "--many", "jobs.jsonl"],
            2,
            "BadInput",
            "jobs.jsonl, line 3: that is no",
        ),
        (_lines('{"cards": [1]}', "[]"), ["train.py", "--many", "jobs.jsonl"], 2, "BadInput", "jobs.jsonl, line 2: not a job"),
        (_lines('{"carts": [1]}'), ["train.py", "--many", "jobs.jsonl"], 2, "BadInput", "try:   cards"),
        (_lines("{}", "", '{"cards": [3]}'), ["train.py", "--many", "jobs.jsonl"], 2, "DoesNotFit", "line 3: No centre can ever"),
        (_lines("{}", "", '{"cards": ["x"]}'), ["train.py", "--many", "jobs.jsonl"], 2, "BadInput", "line 3, cards.0: "),
        (_nothing, ["train.py", "--data", "nothing"], 3, "Unknown", "nothing"),
        (_nothing, ["train.py", "--input", "j2222222"], 3, "Unknown", "j2222222"),
        (_nothing, ["train.py", "--output", "../up"], 2, "BadInput", "output"),
        (_nothing, ["train.py", "--project", "rival/research"], 3, "Unknown", "rival/research"),
        (_nothing, ["train.py", "--project", "acme"], 2, "BadInput", "acme/research"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_run_that_makes_no_sense_is_refused_and_nothing_is_submitted(forebay, prepare, words, code, kind, told):
    prepare()
    before = jobs(forebay)
    done = forebay("run", *words)
    refused(done, code, kind)
    assert told in done.err
    assert jobs(forebay) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_script_that_can_not_be_read_is_refused(forebay):
    Path("train.py").chmod(0)
    refused(forebay("run", "train.py"), 2, "BadScript")


@pytest.mark.parametrize(
    "words, code, kind, told",
    [
        (["show", "j2222222"], 3, "Unknown", "j2222222"),
        (["show", "../keys"], 3, "Unknown", "nothing at this address"),
        (["logs", "j2222222"], 3, "Unknown", "j2222222"),
        (["story", "j2222222"], 3, "Unknown", "j2222222"),
        (["cancel", "j2222222"], 3, "Unknown", "j2222222"),
        (["bill", "--job", "j2222222"], 3, "Unknown", "j2222222"),
        (["bill", "--org", "rival"], 3, "Unknown", "rival"),
        (["org", "make", "mine"], 4, "Refused", "operator"),
        (["price", "set", "cpu", "1"], 4, "Refused", "operator"),
        (["price", "set", "cpu", "much"], 2, "BadInput", "'much'"),
        (["jbos"], 2, "BadInput", "forebay jobs"),
        (["up", "--tls-cert", "cert.pem"], 2, "BadInput", "--tls-key"),
        (["up", "--pretend", "h100-sxm:many"], 2, "BadInput", "h100-sxm:many"),
        (["up"], 5, "Conflict", "http://127.0.0.1:"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_verbs_refuse_in_the_same_way(forebay, words, code, kind, told):
    done = forebay(*words)
    refused(done, code, kind)
    assert told in done.err


def test_a_wrong_key_is_refused_and_an_error_is_json_where_json_was_asked_for(forebay, monkeypatch):
    monkeypatch.setenv("FOREBAY_KEY", "fb_wrong")
    refused(forebay("jobs"), 4, "BadKey")
    done = forebay("jobs", "--json")
    assert (done.exit, done.out, json.loads(done.err)["error"]["kind"]) == (4, "", "BadKey")


@pytest.mark.parametrize("words", [["jobs"], ["logs", "j2222222"], ["logs", "-f", "j2222222"], ["run", "train.py"]], ids=" ".join)
def test_without_a_cloud_every_verb_says_so(forebay, monkeypatch, words):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: refused at once, and nobody else's
        monkeypatch.setenv("FOREBAY_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setattr("forebay.cli.reach.PATIENCE_S", 0.5)
        refused(forebay(*words), 6, "Unavailable")


def test_a_machine_that_never_saw_a_cloud_is_told_how_to_start_one(forebay, monkeypatch, tmp_path):
    monkeypatch.delenv("FOREBAY_URL")
    monkeypatch.delenv("FOREBAY_KEY")
    monkeypatch.setenv("FOREBAY_DATA", str(tmp_path / "nothing"))
    done = forebay("jobs")
    refused(done, 6, "Unavailable")
    assert "`forebay up`" in done.err


def test_a_key_of_one_cloud_is_never_shown_to_another(forebay, here, monkeypatch):
    monkeypatch.delenv("FOREBAY_KEY")
    assert forebay("key", "list").exit == 0  # the operator's, of the cloud in the data folder
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(60)
        monkeypatch.setenv("FOREBAY_URL", f"http://127.0.0.1:{stranger.getsockname()[1]}")
        asking = subprocess.Popen([FOREBAY, "jobs"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            connection, _ = stranger.accept()
            with connection:
                asked = connection.recv(65536).decode()
        finally:
            asking.kill()
            asking.wait()
    assert asked.startswith("GET /api/v1/jobs") and "uthorization" not in asked and here.operator not in asked


# Every verb.


@pytest.fixture(scope="module")
def a_job(here: Here) -> str:
    variables = {"FOREBAY_URL": here.url, "FOREBAY_KEY": here.member}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_text("print('step 1 loss 0.5')\n")
        job = command("run", "--json", script, **variables).json["id"]
    assert command("logs", "-f", job, **variables).exit == 0
    return job


@pytest.mark.parametrize(
    "words",
    [
        ["port", "train.py"],
        ["jobs"],
        ["show", "JOB"],
        ["story", "JOB"],
        ["cancel", "JOB"],
        ["chips"],
        ["chips", "show", "h100-sxm"],
        ["pool"],
        ["data", "list"],
        ["org", "list"],
        ["key", "list"],
        ["price", "list"],
        ["quota", "list"],
        ["bill"],
    ],
    ids=" ".join,
)
def test_every_verb_speaks_json_and_to_people(forebay, a_job, words):
    words = [word.replace("JOB", a_job) for word in words]
    as_json, for_people = forebay(*words, "--json"), forebay(*words)
    assert (as_json.exit, for_people.exit) == (0, 0), (as_json, for_people)
    assert isinstance(as_json.json, (dict, list))
    with pytest.raises(ValueError):
        json.loads(for_people.out)


def test_logs_speak_json_a_line(forebay, a_job):
    (line,) = [json.loads(line) for line in forebay("logs", a_job, "--json").out.splitlines()]
    assert (line["run"], line["rank"], line["stream"], line["text"]) == (f"{a_job}-1", 0, "stdout", "step 1 loss 0.5")


def leaves(verb: str) -> Iterator[tuple[str, Any]]:
    found = typer.main.get_command(import_module(f"forebay.cli.{verb}").app)
    if not hasattr(found, "commands"):
        yield verb, found
    else:
        yield from ((f"{verb} {name}", command) for name, command in found.commands.items())


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "demo"])  # which is for people only
def test_every_command_has_json_and_help_for_each_option(verb):
    for name, found in leaves(verb):
        assert any("--json" in parameter.opts for parameter in found.params), name
        for parameter in found.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name}"
        assert found.help, name


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_each_verb_says_of_itself(verb):
    own = typer.main.get_command(import_module(f"forebay.cli.{verb}").app).help or ""
    first = re.match(r".*?\.(?=\s|$)", " ".join(own.split()))
    assert first and first[0] == VERBS[verb]


def test_the_shell_completes_verbs_and_options():
    words = {"_FOREBAY_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert command(COMP_WORDS="forebay pr", **words).out.split() == ["price"]
    done = command(_FOREBAY_COMPLETE="complete_bash", COMP_WORDS="forebay run --tim", COMP_CWORD="2")
    assert done.out.split() == ["--time-limit"]
    assert "complete -" in command(_FOREBAY_COMPLETE="source_bash").out


def test_help_lists_every_verb_and_the_version_is_told():
    told = command("--help").out
    assert all(verb in told for verb in VERBS)
    assert re.fullmatch(r"forebay \d+\.\d+\S*\n", command("--version").out)
