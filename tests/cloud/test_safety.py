"""What strangers and tenants with bad intent try: injection, traversal, clocks; and that secrets lie nowhere."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forebay.client import Client
from forebay.data.bundle import pack

from .clouds import Cloud, until

INJECTIONS = [
    "' OR '1'='1",
    "'; DROP TABLE events; --",
    '" OR ""="',
    "acme' UNION SELECT body FROM events --",
    "%' OR 1=1 --",
    "\\'; SELECT 1",
    "a\0b",
    "\u202e\u0000",
    "'||(SELECT secret_sha256)||'",
]
PATHS = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "....//",
    "a/../../b",
    "%2e%2e/%2e%2e",
    "journal.sqlite",
    ".",
]


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> str:
    return cloud.tenant("acme")


@pytest.fixture
def bare(cloud: Cloud, acme: str) -> Iterator[httpx.Client]:
    with cloud.http(acme) as client:
        yield client


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "train.py").write_text("print('hello')\n")
    pack(folder / "train.py", None, limit_bytes=10**6, to=folder / "code.tar.gz")
    return folder / "code.tar.gz"


# Injection.


@pytest.mark.parametrize("text", INJECTIONS, ids=repr)
def test_what_looks_like_sql_is_a_name_that_nobody_has(cloud, bare, text):
    before = everything(cloud)
    params = [
        ("/jobs", {"organisation": text}), ("/jobs", {"project": text}), ("/jobs", {"phase": text}),
        ("/bill", {"project": text}), ("/bill", {"job": text}),
    ]  # fmt: skip
    answers = [bare.get(path, params=asked) for path, asked in params]
    quoted = httpx.QueryParams({"q": text}).get("q").replace("/", "%2F")
    for path in ("/jobs/{}", "/jobs/{}/story", "/jobs/{}/logs", "/jobs/{}/output", "/organisations/{}/members"):
        with contextlib.suppress(httpx.InvalidURL):
            answers.append(bare.get(path.format(quoted)))
    answers.append(bare.post("/jobs", json={"bundle": "0" * 64, "entry": "train.py", "name": text, "project": text}))
    answers.append(bare.get("/jobs", headers={"Idempotency-Key": "x"}))
    with cloud.http() as operator:
        answers += [operator.get("/audit", params={name: text}) for name in ("who", "kind", "organisation")]
        answers.append(operator.post("/organisations", json={"name": text}))
        answers.append(operator.put("/indexes/cpu", json={"compute": 1, "source": text}))
    assert [a.status_code for a in answers if a.status_code >= 500] == []
    for answer in answers:
        body = answer.json()
        assert "error" in body or not any(body.get(name) for name in ("jobs", "lines")), body
    assert [line for line in everything(cloud) if line not in before and line["kind"] != "IndexSet"] == []


def test_an_idempotency_key_that_looks_like_sql_is_only_a_text(bare, archive):
    code = put(bare, archive)
    for text in INJECTIONS:
        try:
            headers = {"Idempotency-Key": text.encode()}
            first = bare.post("/jobs", json={"bundle": code, "entry": "train.py", "chips": ["cpu"]}, headers=headers)
        except (httpx.LocalProtocolError, httpx.RemoteProtocolError):
            continue  # no header at all
        assert first.status_code in (201, 400), first.text
        if first.status_code == 201:
            again = bare.post("/jobs", json={"bundle": code, "entry": "train.py", "chips": ["cpu"]}, headers=headers)
            assert again.json() == first.json()
            bare.post(f"/jobs/{first.json()['id']}/cancel")


# Paths.


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_outside_is_refused_wherever_one_can_be_said(cloud, bare, archive, path):
    code, before = put(bare, archive), files(cloud)
    job = {"bundle": code, "entry": "train.py", "chips": ["cpu"]}
    chunk = {"sha256": "0" * 64, "size_bytes": 1}
    listed = {"files": [{"path": path, "size_bytes": 1, "chunks": [chunk]}]}
    answers = [
        bare.put(f"/bundles/{path}", content=b"x"),
        bare.head(f"/bundles/{path}"),
        bare.put(f"/data/sets/{path}", json={"files": []}),
        bare.get(f"/jobs/{path}/output"),
        bare.post(f"/jobs/{path}/output/chunks", json=[path]),
        bare.post("/jobs", json={**job, "bundle": path}),
        bare.post("/jobs", json={**job, "mounts": [{"kind": "data", "source": path, "at": "data"}]}),
        bare.post("/jobs", json={**job, "mounts": [{"kind": "output", "source": path, "at": "data"}]}),
        bare.post("/data/chunks", content=json.dumps([[path, 1]]).encode() + b"\nx"),
    ]
    if path.startswith(("/", "..", "a/..")) and "%" not in path and "//" not in path:
        answers += [
            bare.post("/jobs", json={**job, "entry": path}),
            bare.post("/jobs", json={**job, "output": path}),
            bare.post("/jobs", json={**job, "requirements": path}),
            bare.post("/data/missing", json=listed),
            bare.put("/data/sets/texts", json=listed),
        ]
    with cloud.centre() as agent:
        for at in ("/agent/bundles/{}", "/agent/manifests/{}/x", "/agent/outputs/{}/x"):
            answers.append(agent.get(at.format(path)))
        answers.append(agent.post(f"/agent/runs/{path}/log?offset=0", content=b"x"))
        answers.append(agent.put(f"/agent/outputs/{path}", json={"files": []}))
    assert [(a.request.url, a.status_code) for a in answers if not 400 <= a.status_code < 500] == []
    assert files(cloud) - before == set()


def hostile(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A code archive with one member of that name."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz") as tar:
        script = tarfile.TarInfo("train.py")
        script.size = 5
        tar.addfile(script, io.BytesIO(b"pass\n"))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        member.size = 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"evil") if member.size else None)
    return into.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        hostile("../evil"),
        hostile("/tmp/forebay-evil"),
        hostile("a/../../evil"),
        hostile("link", tarfile.SYMTYPE, "/etc"),
        hostile("link", tarfile.SYMTYPE, "../.."),
        hostile("hard", tarfile.LNKTYPE, "../../journal.sqlite"),
        hostile("device", tarfile.CHRTYPE),
        hostile("pipe", tarfile.FIFOTYPE),
        b"no archive at all",
        b"",
    ],
    ids=["up", "absolute", "down and up", "link out", "link up", "hard link", "device", "pipe", "no archive", "nothing"],
)
def test_a_code_archive_that_reaches_outside_is_refused_and_leaves_nothing(cloud, bare, body):
    name = hashlib.sha256(body).hexdigest()
    bare.put(f"/bundles/{name}", content=body).raise_for_status()
    before = files(cloud)
    answer = bare.post("/jobs", json={"bundle": name, "entry": "train.py", "chips": ["cpu"]})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "BadScript")
    assert files(cloud) - before == set()
    assert not Path("/tmp/forebay-evil").exists() and not (cloud.data.parent / "evil").exists()


@pytest.mark.slow
def test_an_archive_that_unpacks_to_more_than_is_allowed_is_refused(cloud, bare):
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz", compresslevel=9) as tar:
        for i in range(5):
            zeros = tarfile.TarInfo(f"zeros-{i}.bin")
            zeros.size = 300 << 20
            tar.addfile(zeros, Zeros(zeros.size))
    body = into.getvalue()
    name = hashlib.sha256(body).hexdigest()
    bare.put(f"/bundles/{name}", content=body).raise_for_status()
    answer = bare.post("/jobs", json={"bundle": name, "entry": "train.py", "chips": ["cpu"]}, timeout=110)
    assert answer.status_code == 422


class Zeros(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        n = min(size if size >= 0 else self._left, self._left)
        self._left -= n
        return bytes(n)


@pytest.mark.parametrize(
    "field",
    [
        {"files": [{"path": "\ud800", "size_bytes": 5, "chunks": []}]},
        {"files": [{"path": "a\0b", "size_bytes": 0, "chunks": []}]},
        {"files": [{"path": "a", "size_bytes": 10**40, "chunks": []}]},
        {"files": [{"path": "a", "size_bytes": -1, "chunks": []}]},
        {"files": [{"path": "a" * 10**6, "size_bytes": 0, "chunks": []}]},
        {"files": None},
        {"files": [[[[[[]]]]]]},
        {},
    ],
    ids=lambda field: repr(field)[:40],
)
def test_a_list_of_files_that_makes_no_sense_is_refused(bare, field):
    body = json.dumps(field).encode()
    headers = {"Content-Type": "application/json"}
    for method, path in (("POST", "/data/missing"), ("PUT", "/data/sets/texts")):
        answer = bare.request(method, path, content=body, headers=headers)
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("number", ["1e400", "-1", "9" * 400, "9223372036854775808", "NaN", "0x10", "１"])
def test_numbers_beyond_all_bounds_are_refused(cloud, bare, number):
    with cloud.http() as operator:
        answers = [
            bare.get(f"/jobs?before={number}"),
            bare.get(f"/jobs?most={number}"),
            operator.get(f"/audit?after={number}"),
            operator.get(f"/audit?before={number}"),
            operator.get(f"/audit?since_ns={number}"),
            operator.put(
                "/prices/cpu", content=f'{{"micro_per_card_s": {number}}}', headers={"Content-Type": "application/json"}
            ),
            operator.put("/quotas/acme/cpu", content=f'{{"cards": {number}}}', headers={"Content-Type": "application/json"}),
            operator.put("/budgets/acme", content=f'{{"limit_micro": {number}}}', headers={"Content-Type": "application/json"}),
        ]
    assert [(a.request.url, a.status_code) for a in answers if a.status_code >= 500] == []


def test_deeply_nested_json_is_no_way_in(bare):
    for path in ("/jobs", "/data/missing"):
        answer = bare.post(path, content=b"[" * 200_000, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500
    assert bare.get("/me").status_code == 200


# Clocks.


def test_the_clouds_time_does_not_go_back_over_restarts_and_keys_end_by_it(cloud, tmp_path):
    """A journal from the future (the machine's clock was set back by ten years): time goes on from its last line."""
    with cloud.client() as operator:
        operator.make_organisation("clock")
        operator.make_project("clock", "p")
        _, secret = operator.make_key("clock/p", expires_in="1h")
    cloud.kill("cloud")
    ahead_s = 10 * 365 * 86400
    env = {**os.environ, "JUMP_S": str(ahead_s), "DATA": str(cloud.data)}
    (tmp_path / "ahead.py").write_text(AHEAD)
    subprocess.run([sys.executable, str(tmp_path / "ahead.py")], env=env, check=True, timeout=60)
    cloud.serve()
    assert until(lambda: _up(cloud), 30)
    with cloud.http() as client:
        first = client.get("/").json()["time_ns"]
        assert first > time.time_ns() + (ahead_s - 86400) * 10**9
        times = [client.get("/").json()["time_ns"] for _ in range(20)]
        assert times == sorted(times) and times[0] >= first
    with cloud.http(secret) as client:  # an hour and ten years later, by the cloud's clock
        assert client.get("/me").status_code == 401


AHEAD = """
import os
from pathlib import Path
from forebay.cloud.core import events as e
from forebay.cloud.journal import Journal
journal = Journal.open(Path(os.environ["DATA"]))
state = journal.load()
fact = e.PriceSet(at_ns=state.t.last_at_ns + int(os.environ["JUMP_S"]) * 10**9, by="k-operator", chip="cpu", micro_per_card_s=1)
state.fold(fact)
journal.append([fact], state)
journal.close()
"""


# Secrets.


def test_no_secret_lies_in_the_journal_the_logs_or_any_answer(cloud, archive, tmp_path):
    """Secrets are put wherever the API takes one, and wherever somebody may paste one by mistake; then all is searched."""
    secrets_said = {name: f"s3cret-{name}-4711" for name in ("env", "wrong-key", "header", "password-in-url")}
    with cloud.client() as operator:
        operator.make_organisation("vault")
        operator.make_project("vault", "p")
        _, secrets_said["key"] = operator.make_key("vault", role="owner")
        _, secrets_said["token"] = operator.make_centre("vaulted")
    secrets_said["operator"] = cloud.operator_key
    answers: list[bytes] = []
    with cloud.http(secrets_said["key"]) as client:
        code = put(client, archive)
        asked = {"bundle": code, "entry": "train.py", "chips": ["cpu"], "env": {"TOKEN": secrets_said["env"]}}
        once = {"Idempotency-Key": "one"}
        job = client.post("/jobs", json=asked, headers=once).json()["id"]
        client.post("/jobs", json=asked, headers=once)
        answers.append(client.post("/jobs", json={**asked, "env": {"RANK": secrets_said["env"]}}).content)
        answers.append(client.post("/jobs", json={**asked, "cards": [10**6]}).content)
        answers.append(client.post("/jobs", json={**asked, "env": {"A=": secrets_said["env"]}}).content)
        answers.append(client.post("/jobs", json={**asked, "env": {"A": [secrets_said["env"]]}}).content)
        answers.append(client.post("/jobs", json={**asked, "env": secrets_said["env"]}).content)
        answers.append(client.post("/jobs", content=b"{" + secrets_said["env"].encode()).content)
        answers.append(client.get("/me", headers={"X-Api-Key": secrets_said["header"]}).content)
        for path in (
            f"/jobs/{job}",
            f"/jobs/{job}/story",
            f"/jobs/{job}/events",
            "/jobs",
            "/keys",
            "/me",
            "/audit",
            "/bill",
            "/pool",
        ):
            answers.append(client.get(path).content)
    with cloud.http(secrets_said["wrong-key"]) as client:
        answers.append(client.get("/me").content)
        answers.append(client.post("/agent/join", json={"key_sha256": secrets_said["wrong-key"]}).content)
    with cloud.http() as client:
        for name in ("key", "token"):  # pasted where its hash belongs
            answers.append(client.post("/keys", json={"secret_sha256": secrets_said[name]}).content)
            answers.append(client.post("/centres", json={"name": "pasted", "token_sha256": secrets_said[name]}).content)
            answers.append(client.post("/keys", json={"secret": secrets_said[name]}).content)
        answers += [client.get(path).content for path in ("/audit?most=1000", "/centres", "/keys", "/pool")]
    with httpx.Client(
        base_url=cloud.url.replace("://", f"://user:{secrets_said['password-in-url']}@"), trust_env=False
    ) as client:
        answers.append(client.get("/api/v1/me").content)
    # The one place where the values of a job's environment lie, until it is over; and the two files with the local secrets.
    allowed = {"environments", "operator.key", "centre.token"}
    for name, secret in secrets_said.items():
        assert [a for a in answers if secret.encode() in a] == [], name
        held = [path for path in all_files(cloud.data) if secret.encode() in path.read_bytes()]
        assert {path.relative_to(cloud.data).parts[0] for path in held} <= allowed, name
    (kept,) = [path for path in all_files(cloud.data / "environments") if secrets_said["env"].encode() in path.read_bytes()]
    assert (kept.name, kept.stat().st_mode & 0o777) == (f"{job}.json", 0o600)
    with cloud.centre() as agent:  # who launches it gets them, after kill -9 too
        cloud.kill("cloud")
        cloud.serve()
        until(lambda: _up(cloud), 20)
        runs = {run["spec"]["job"]: run["spec"] for run in agent.get("/agent/wanted").json()["runs"]}
        assert runs[job]["env"] == {"TOKEN": secrets_said["env"]}
        with cloud.client() as operator:
            operator.cancel(job)
        agent.post(
            "/agent/report", json={"seen": [{"name": f"{job}-1", "phase": "ended", "outcome": "stopped"}]}
        ).raise_for_status()
    assert until(lambda: not kept.exists(), 60), "the values of a job that is over are removed"


# Helpers.


def put(client: httpx.Client, archive: Path) -> str:
    body = archive.read_bytes()
    name = hashlib.sha256(body).hexdigest()
    client.put(f"/bundles/{name}", content=body).raise_for_status()
    return name


def everything(cloud: Cloud) -> list[dict[str, Any]]:
    with cloud.client() as operator:
        return list(operator.audit(most=10**5))


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def files(cloud: Cloud) -> set[Path]:
    """Every file of the cloud, but for the chunks that requests rightly leave, and what SQLite makes."""
    return {path for path in all_files(cloud.data) if "journal" not in path.name and "manifests" not in path.parts}


def _up(cloud: Cloud) -> bool:
    try:
        with Client(cloud.url, patience_s=0.1) as client:
            return bool(client.about())
    except Exception:
        return False


# What a centre says is not believed either.


@pytest.mark.parametrize(
    "shape", [5, "x", [5], [[]], [None], [{}], {"a": 5}, [{"name": 5}], [{"name": "j2-1", "phase": 5}], None, True]
)
def test_what_makes_no_sense_from_a_centre_is_refused_and_not_a_failure(cloud, bare, archive, shape):
    code = put(bare, archive)
    run = bare.post("/jobs", json={"bundle": code, "entry": "train.py", "chips": ["cpu"]}).json()["id"] + "-1"
    seen = [{"name": run, "phase": "running", "artefacts": shape}, {"name": run, "phase": shape}, {"name": run, "held_ns": shape}]
    with cloud.centre() as agent:
        answers = [
            *(agent.post("/agent/report", json={name: shape}) for name in ("seen", "states", "progress")),
            *(agent.post("/agent/report", json={"seen": [one]}) for one in seen),
            agent.post("/agent/report", json={"progress": {run: shape}}),
            agent.post("/agent/hello", json={"nodes": shape, "version": "0.3", "engine": "local"}) if shape is not None else None,
            agent.post("/agent/hello", json={"version": shape, "engine": shape}),
            agent.post("/agent/join", json={"key_sha256": shape, "version": shape}),
            agent.post(f"/agent/outputs/{run}/missing", json={"files": shape}),
            agent.put(f"/agent/outputs/{run}", json={"files": shape}),
            agent.post(f"/agent/outputs/{run}/chunks", content=json.dumps(shape).encode() + b"\n"),
        ]
    failed = [
        (a.request.url.path, a.request.content[:80], a.text[:200]) for a in answers if a is not None and a.status_code >= 500
    ]
    assert failed == []
    bare.post(f"/jobs/{run}/cancel")
