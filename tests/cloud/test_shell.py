"""`forebay shell`, as people use it: a terminal, a pipe, a second visit; who is let in; and that it is a job like any other."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.client import Client
from forebay.errors import Conflict, Refused, Unknown
from forebay.job import talk
from forebay.visitor import Visit

from .clouds import Cloud, free_every_card, until
from .people import PROMPT, Person, piped, sits_down


@pytest.fixture(scope="module")
def acme(pool: Cloud) -> str:
    secret = pool.tenant("acme")
    with pool.client() as operator:
        operator.set_price("cpu", "0.5")
    return secret


@pytest.fixture(scope="module")
def rival(pool: Cloud) -> str:
    return pool.tenant("rival")


@pytest.fixture
def member(pool: Cloud, acme: str) -> Iterator[Client]:
    with pool.client(acme) as client:
        yield client


@pytest.fixture
def person(pool: Cloud, acme: str) -> Iterator[Person]:
    """Somebody at a shell on one card."""
    with sits_down(pool, acme, "shell") as person:
        person.sees(PROMPT)
        yield person


@pytest.fixture(autouse=True)
def every_card_is_free_again(pool: Cloud, member: Client) -> Iterator[None]:
    yield
    free_every_card(member)


def over(member: Client, job: str) -> tuple[str, list[str]]:
    """How a job ended, and its runs."""
    about = member.wait(job, timeout_s=30)
    return about["phase"], [run["outcome"] for run in about["runs"]]


# A terminal.


def test_what_is_typed_is_echoed_and_carried_out_and_the_exit_code_comes_back(person, member):
    person.type("echo $((6*7)) $0\r")
    person.sees(r"echo \$\(\(6\*7\)\) \$0\r\n42 \S*bash\r\n")
    person.sees(PROMPT)
    person.type("exit 5\r")
    assert person.ends() == 5
    assert person.terminal_is_whole()
    assert over(member, person.job) == ("succeeded", ["succeeded"])


def test_the_window_has_its_size_there_and_follows_it(person):
    person.type("stty size\r")
    person.sees("24 80")
    person.sees(PROMPT)
    person.resize(50, 132)
    person.type("stty size\r")
    person.sees("50 132")
    person.type("exit\r")
    assert person.ends() == 0


def test_an_interrupt_reaches_the_program_and_not_the_command(pool, person):
    person.type("sleep 1009; echo code $?\r")
    person.sees("sleep 1009; echo")
    # A too early ^C would only clear the line.
    assert until(lambda: any(command.strip() == "sleep 1009" for command in pool.processes().values()))
    person.type("\x03")
    person.sees(PROMPT)
    person.type("echo still $((1+1))\r")
    person.sees("still 2\r\n")
    person.type("exit\r")
    assert person.ends() == 0


def test_each_key_is_echoed_as_it_is_typed(person):
    person.type("cat >/dev/null\r")
    person.sees("cat >/dev/null")
    for letter in "abcdefghij":
        person.type(letter)
        person.sees(letter)
    person.type("\x04\x04")
    person.type("exit\r")
    assert person.ends() == 0


def test_a_tilde_and_a_dot_leave_and_end_the_job(pool, person, member):
    person.type("sleep 1000 & echo started\r")
    person.sees("started\r\n")
    person.sees(PROMPT)
    person.type("echo ~~ && ~")
    person.type("\x15~.")  # not at the beginning of a line: these are typed
    person.type("\r")
    person.sees("~.")
    person.sees(PROMPT)
    person.type("~.")
    assert person.ends() == 0
    assert person.terminal_is_whole()
    assert over(member, person.job) == ("succeeded", ["succeeded"])
    assert until(lambda: not [command for command in pool.processes().values() if "sleep 1000" in command])


@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGTERM], ids=lambda sign: sign.name)
def test_a_terminal_that_is_closed_ends_the_job_and_leaves_the_terminal_whole(person, member, sign):
    person.process.send_signal(sign)
    assert person.ends() == 128 + sign
    assert person.terminal_is_whole()
    assert over(member, person.job)[0] == "succeeded"


# Pipes.


def test_a_script_is_piped_in_and_its_streams_and_its_code_come_back(pool, acme):
    done = piped(pool, acme, "shell", typed=b"echo out; echo err >&2; [ -t 0 ] || echo no terminal; exit 7\n")
    assert (done.returncode, done.stdout) == (7, b"out\nno terminal\n")
    assert b"err\n" in done.stderr


def test_a_command_takes_the_place_of_the_shell(pool, acme):
    done = piped(pool, acme, "shell", "--", "sh", "-c", "echo $1; kill -9 $$", "-", "--cards")
    assert (done.returncode, done.stdout) == (137, b"--cards\n")


def test_a_command_that_there_is_not_is_told(pool, acme):
    done = piped(pool, acme, "shell", "--", "no-such-program")
    assert done.returncode == 127 and b"no-such-program" in done.stderr


def test_megabytes_go_through_in_both_directions_unchanged(pool, acme):
    noise = os.urandom(6_000_000)
    done = piped(pool, acme, "shell", "--", "cat", typed=noise)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(noise).digest()


def test_the_shell_starts_in_the_code_with_its_variables_and_without_those_of_a_rank(pool, acme, tmp_path):
    (tmp_path / "train.py").write_text("print('trained')\n")
    (tmp_path / ".gitignore").write_text(".*\n*.sh\n")  # whatever it says, the door's own files go along
    script = b"ls; echo $MINE; env | grep -E '^(RANK|WORLD_SIZE|MASTER_ADDR)='; python3 train.py\n"
    done = piped(pool, acme, "shell", "--code", str(tmp_path), "--env", "MINE=7", typed=script)
    assert (done.returncode, done.stdout.split()) == (0, [b"out", b"train.py", b"7", b"trained"]), done


def test_with_two_cards_the_second_rank_waits_for_the_first(pool, acme, member):
    done = piped(pool, acme, "shell", "--cards", "2", typed=b"exit 0\n")
    assert done.returncode == 0
    job = member.jobs(most=1)[0]["id"]
    assert over(member, job) == ("succeeded", ["succeeded"])
    (line,) = member.bill(job=job)["lines"]
    assert line["cards"] == 2


# A job like any other.


def test_whoever_gives_up_waiting_for_cards_leaves_no_job_behind(pool, acme, member, person):
    with sits_down(pool, acme, "shell", "--cards", "2") as other:
        other.sees("job j")
        assert other.sees(r"\[forebay\] waits: ([^·]*) · ")[1] == "it wants 2 x cpu; 1 of 2 are free"
        assert member.job(other.job)["phase"] == "waiting"
        other.process.send_signal(signal.SIGINT)
        assert other.ends() == 130
    assert over(member, other.job) == ("cancelled", [])
    person.type("exit\r")
    assert person.ends() == 0


def test_it_is_listed_told_of_and_billed_like_any_run(pool, acme, member):
    done = piped(pool, acme, "shell", "--name", "by-hand", typed=b"sleep 1\n")
    assert done.returncode == 0
    about = member.jobs(most=1)[0]
    assert about["name"] == "by-hand"
    kinds = [event["kind"] for event in member.story(about["id"])]
    assert kinds == ["Submitted", "Launched", "Started", "Ended", "Finished"]
    (run,) = member.job(about["id"])["runs"]
    held_ns = run["held_ns"]
    bill = member.bill(job=about["id"])
    assert 10**9 <= held_ns <= run["ended_at_ns"] - run["launched_at_ns"] + 10**8
    assert bill["cost_micro"] == round(held_ns / 10**9 * 500_000)
    printed = [line["text"] for line in member.logs(about["id"]) if line["rank"] == 0]
    assert printed == ["the door is open", "somebody came in: a shell", "the door closes: its visitor is through"]


def test_without_a_byte_for_the_idle_time_it_ends_by_itself_and_says_so(pool, acme, member):
    with sits_down(pool, acme, "shell", "--idle", "4s") as person:  # by when a visitor has to have come, on a busy machine too
        person.sees(PROMPT)
        begun = time.monotonic()
        person.type("x")
        person.sees("not a byte in either direction for 4 s")
        assert time.monotonic() - begun >= 4
        assert person.ends() == 0
        assert person.terminal_is_whole()
    assert over(member, person.job) == ("succeeded", ["succeeded"])


def test_an_idle_job_that_nobody_visits_ends_too(pool, acme, member):
    started = piped(pool, acme, "shell", "--idle", "1s", "--json")
    job = json.loads(started.stdout)["id"]
    assert over(member, job) == ("succeeded", ["succeeded"])


def test_a_job_that_is_cancelled_says_so_to_its_visitor(person, member):
    member.cancel(person.job)
    person.sees("the job was stopped")
    assert person.ends() != 0
    assert over(member, person.job) == ("cancelled", ["stopped"])


def test_what_is_kept_can_be_visited_again_until_it_is_cancelled(pool, acme, member):
    with sits_down(pool, acme, "shell", "--keep") as person:
        person.sees(PROMPT)
        person.type("echo here > left; exit 3\r")
        assert person.ends() == 3
        job = person.job
        assert "the job goes on" in person.screen.decode()
    done = piped(pool, acme, "shell", job, typed=b"cat left\n")
    assert (done.returncode, done.stdout) == (0, b"here\n")
    assert member.job(job)["phase"] == "running"
    member.cancel(job)
    assert over(member, job)[0] == "cancelled"
    late = piped(pool, acme, "shell", job)
    assert late.returncode == 1 and b"cancelled" in late.stderr


# Who is let in.


@pytest.fixture
def kept(pool: Cloud, acme: str, member: Client) -> Iterator[str]:
    job = json.loads(piped(pool, acme, "shell", "--json").stdout)["id"]
    assert until(lambda: member.job(job)["phase"] == "running", 30)
    yield job
    member.cancel(job)
    member.wait(job, timeout_s=30)


def test_another_organisation_finds_no_such_job_and_no_such_tunnel(pool, rival, member, kept):
    tunnel = member.open_tunnel(kept)["id"]
    with pool.client(rival) as stranger:
        with pytest.raises(Unknown, match="no such job"):
            stranger.open_tunnel(kept)
        for ask in (
            lambda: stranger.read_tunnel(tunnel, 0, 0.0),
            lambda: stranger.write_tunnel(tunnel, 0, b"x", 0.0),
            lambda: stranger.close_tunnel(tunnel),
        ):
            with pytest.raises(Unknown, match="no such tunnel"):
                ask()
    done = piped(pool, rival, "shell", kept)
    assert done.returncode == 3 and b"no such job" in done.stderr


def test_a_viewer_and_an_operator_are_refused(pool, member, kept):
    with pool.client(pool.tenant("acme", role="viewer")) as viewer, pytest.raises(Refused, match="only read"):
        viewer.open_tunnel(kept)
    with pool.client() as operator, pytest.raises(Refused, match="own organisation"):
        operator.open_tunnel(kept)
    done = piped(pool, pool.operator_key, "shell", "--project", "acme/research")
    assert done.returncode == 4 and b"forebay key make" in done.stderr


def test_another_member_has_no_business_in_a_tunnel(pool, member, kept):
    tunnel = member.open_tunnel(kept)["id"]
    with pool.client(pool.tenant("acme", project="other")) as colleague:
        with pytest.raises(Unknown, match="no such tunnel"):
            colleague.read_tunnel(tunnel, 0, 0.0)
        assert colleague.open_tunnel(kept)["run"] == f"{kept}-1"  # but may open one of their own


def test_a_tunnel_dies_with_its_run(member, kept):
    ended: list[bytes] = []
    visit = Visit(member, kept, {"what": "shell"}, lambda kind, body: ended.append(body))
    visit.say(talk.DATA, b"echo hello\n")
    assert until(lambda: b"hello\n" in b"".join(ended), 20)
    tunnel = member.open_tunnel(kept)["id"]
    member.cancel(kept)
    member.wait(kept, timeout_s=30)
    parting = visit.wait(20)
    assert parting is not None and "stopped" in parting.why
    assert until(lambda: member.read_tunnel(tunnel, 0, 1.0)[1], 20) in ("its run has ended", "the door hung up")
    with pytest.raises(Conflict, match="doesn't run now"):
        member.open_tunnel(kept)


def test_a_job_without_a_door_says_so(pool, acme, member, tmp_path):
    script = tmp_path / "work.py"
    script.write_text("import time\ntime.sleep(100)\n")
    job = member.run(script)["id"]
    assert until(lambda: member.job(job)["phase"] == "running", 30)
    tunnel = member.open_tunnel(job)["id"]
    assert "door isn't open" in until(lambda: member.read_tunnel(tunnel, 0, 5.0)[1], 40)
    member.cancel(job)
    member.wait(job, timeout_s=30)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--jupyter", "--", "ls"], "Jupyter takes no command"),
        (["--port", "8888"], "A port is Jupyter's"),
        (["--requirements", "requirements.txt"], "--code FOLDER"),
        (["--code", "nowhere"], "no such folder"),
        (["j2222222", "j3333333"], "One job"),
        (["--card", "2"], "comes after `--`"),
        (["--idle", "soon"], "no length of time"),
        (["--cards", "none"], "no number of cards"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_and_nothing_is_submitted(pool, acme, member, words, told):
    before = member.jobs(most=1)
    done = piped(pool, acme, "shell", *words)
    assert (done.returncode, told in done.stderr.decode()) == (2, True), done
    assert member.jobs(most=1) == before


def test_after_all_that_nothing_is_left_over(pool):
    runs = pool.data / "centre" / "runs"
    assert until(lambda: not [command for command in pool.processes().values() if str(runs) in command], 10)
    assert until(lambda: list(runs.iterdir()) == [], 10)
    assert Path(f"/proc/{pool.pid('agent')}/task").is_dir()
    assert until(lambda: len(os.listdir(f"/proc/{pool.pid('agent')}/task")) < 12, 30)  # no thread of a tunnel
