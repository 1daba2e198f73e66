"""The requests for Kubernetes, held against published schemas. They were never sent to a real API server."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forebay.centre import kubernetes
from forebay.centre.kubernetes import KubernetesSettings, launch
from forebay.centre.kubernetes_chips import RESOURCES, resource_of
from forebay.centre.settings import to_toml
from forebay.centre.spec import Mount, Share, Spec
from forebay.chips import catalogue
from forebay.codec import encode
from forebay.errors import BadInput

from .conftest import pack

jsonschema = pytest.importorskip("jsonschema")
referencing = pytest.importorskip("referencing")

SCHEMAS = Path(__file__).parent / "schemas"
TOP = {
    ("batch/v1", "Job"): "kubernetes-1.34.json#/$defs/io.k8s.api.batch.v1.Job",
    ("v1", "Service"): "kubernetes-1.34.json#/$defs/io.k8s.api.core.v1.Service",
    ("v1", "DeleteOptions"): "kubernetes-1.34.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    ("batch.volcano.sh/v1alpha1", "Job"): "volcano-job.json",
}
REGISTRY = referencing.Registry().with_resources(
    (path.name, referencing.Resource.from_contents(json.loads(path.read_text()))) for path in SCHEMAS.glob("*.json")
)

PLAIN = Spec(
    name="j4k7q2mz-1",
    job="j4k7q2mz",
    organisation="acme",
    chip="h100-sxm",
    shares=(Share(node="gpu-1", cards=(0, 1, 2, 3)), Share(node="gpu-2", cards=(4, 5, 6, 7))),
    bundle="ab" * 32,
    entry="train.py",
    argv=("--steps", "10"),
    grace_s=12.5,
)
SPECS = {
    "two shares": PLAIN,
    "one card": replace(PLAIN, shares=(Share(node="a-1", cards=(3,)),), chip="ascend-910b"),
    "rehearsed": replace(PLAIN, pretend=True, chip="mlu590"),
    "processor cores": replace(PLAIN, chip="cpu"),
    "everything": replace(
        PLAIN,
        entry="run.sh",
        env={"NAME": "$(HOME) is meant as it stands", "RANK": "7"},
        mounts=(Mount(kind="data", source="stdlib@3f2a", at="data/stdlib"), Mount(kind="output", source="j2222222", at="before")),
        output="result",
        time_limit_s=3600.0,
        argv=("$(PWD)", "a b"),
    ),
}
SETTINGS = KubernetesSettings(images={"*": "registry.example/torch:2.4"}, claim="forebay-home")
RICH = replace(
    SETTINGS,
    priority="high",
    users={"acme": 20_001, "*": 20_000},
    pull_secrets=("registry",),
    selectors={"h100-sxm": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
)
SCHEDULERS = ("volcano", "kueue")


def problems(body: Any) -> list[str]:
    """What the published schema says against an object."""
    schema = {"$ref": TOP[body["apiVersion"], body["kind"]]}
    checker = jsonschema.Draft202012Validator(schema, registry=REGISTRY)
    return [f"{error.json_path}: {error.message}" for error in checker.iter_errors(body)]


def bodies(spec: Spec, settings: KubernetesSettings) -> list[Any]:
    return [request.body for request in launch(spec, settings)]


def pods(spec: Spec, settings: KubernetesSettings) -> list[Any]:
    job = bodies(spec, settings)[-1]["spec"]
    templates = [task["template"] for task in job["tasks"]] if "tasks" in job else [job["template"]]
    return [template["spec"] for template in templates]


def every_dict(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from every_dict(item)
    elif isinstance(value, list):
        for item in value:
            yield from every_dict(item)


# Against the schemas.


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("settings", [SETTINGS, RICH], ids=["plain", "rich"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_request_fits_the_published_schema(spec, settings, scheduler):
    settings = replace(settings, scheduler=scheduler)
    for body in [*bodies(spec, settings), *(request.body for request in kubernetes.stop(spec.name, settings, 3.0))]:
        assert problems(body) == []


def test_the_schemas_refuse_what_is_misspelt_or_of_the_wrong_kind():
    found = 0
    for settings in (RICH, replace(RICH, scheduler="kueue")):
        for body in bodies(SPECS["everything"], settings):
            free = ("labels", "nodeSelector", "limits", "requests", "matchLabels", "selector", "plugins")
            kept = {id(inner) for outer in every_dict(body) for name, inner in outer.items() if name in free}
            for number, place in enumerate(every_dict(body)):
                if id(place) in kept:
                    continue
                for name in place if place is not body else ("metadata", "spec"):
                    wrong = copy.deepcopy(body)
                    inside = list(every_dict(wrong))[number]
                    inside[name + "s"] = inside.pop(name)
                    assert problems(wrong), f"{name} may be misspelt"
                    found += 1
    assert found > 150


# A gang.


def test_with_volcano_all_shares_start_or_none_each_on_its_node():
    job = bodies(PLAIN, SETTINGS)[0]["spec"]
    assert (job["minAvailable"], [task["replicas"] for task in job["tasks"]]) == (2, [1, 1])
    assert [pod["nodeSelector"]["kubernetes.io/hostname"] for pod in pods(PLAIN, SETTINGS)] == ["gpu-1", "gpu-2"]
    starts = [pod["containers"][0]["command"] for pod in pods(PLAIN, SETTINGS)]
    assert [word for word in starts[1] if word not in starts[0]] == ["--node-rank=1"]
    assert "--master-addr=j4k7q2mz-1-share-0-0.j4k7q2mz-1" in starts[0]  # as its svc plugin names pod and service


def test_with_kueue_the_job_waits_suspended_in_its_queue_with_a_pod_a_node():
    service, job = bodies(PLAIN, replace(RICH, scheduler="kueue"))
    spec, (pod,) = job["spec"], pods(PLAIN, replace(RICH, scheduler="kueue"))
    assert (spec["suspend"], spec["completionMode"], spec["completions"], spec["parallelism"]) == (True, "Indexed", 2, 2)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "default"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert service["spec"]["clusterIP"] == "None" and service["metadata"]["name"] == pod["subdomain"] == PLAIN.name
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    affinity = pod["affinity"]
    (term,) = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["gpu-1", "gpu-2"]
    start = pod["containers"][0]["command"]
    assert {"--node-rank=$(JOB_COMPLETION_INDEX)", "--master-addr=j4k7q2mz-1-0.j4k7q2mz-1", "--nnodes=2"} <= set(start)


def test_shares_of_unlike_size_are_for_volcano_only():
    uneven = replace(PLAIN, shares=(Share(node="a", cards=(0, 1)), Share(node="b", cards=(0,))))
    limits = [pod["containers"][0]["resources"]["limits"] for pod in pods(uneven, SETTINGS)]
    assert [limit["nvidia.com/gpu"] for limit in limits] == ["2", "1"]
    with pytest.raises(BadInput, match="all alike"):
        launch(uneven, replace(SETTINGS, scheduler="kueue"))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_nothing_is_started_again_by_the_cluster(scheduler):
    settings = replace(SETTINGS, scheduler=scheduler)
    job = bodies(PLAIN, settings)[-1]["spec"]
    assert {pod["restartPolicy"] for pod in pods(PLAIN, settings)} == {"Never"}
    if scheduler == "kueue":
        assert job["backoffLimit"] == 0
    else:
        assert {(policy["event"], policy["action"]) for policy in job["policies"]} == {
            ("PodFailed", "AbortJob"),
            ("PodEvicted", "AbortJob"),
        }
        assert not [action for action in re.findall(r"Restart\w+", json.dumps(job)) if action != "RestartPolicy"]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_same_run_is_the_same_request(scheduler):
    settings = replace(RICH, scheduler=scheduler)
    assert launch(PLAIN, settings) == launch(PLAIN, settings)
    assert {body["metadata"]["name"] for body in bodies(PLAIN, settings)} == {PLAIN.name}
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", PLAIN.name)  # also a Service's name (DNS-1035)


# A pod.


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_token_and_no_secret_is_in_a_pod(scheduler):
    for pod in pods(SPECS["everything"], replace(RICH, scheduler=scheduler)):
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert "serviceAccountName" not in pod
        assert [volume for volume in pod["volumes"] if "secret" in volume or "projected" in volume] == []
        for container in (*pod["initContainers"], *pod["containers"]):
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert "envFrom" not in container and "valueFrom" not in json.dumps(container.get("env", []))
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 20_001


def test_of_the_centres_folder_a_pod_sees_only_what_its_run_may():
    (first, _) = pods(SPECS["everything"], SETTINGS)
    seen = {(m["mountPath"], m.get("subPath"), m.get("readOnly", False)) for m in first["containers"][0]["volumeMounts"]}
    assert seen == {
        ("/job", None, False),
        ("/dev/shm", None, False),
        ("/job/result", "outputs/j4k7q2mz", False),
        ("/job/data/stdlib", "store/data/acme/stdlib@3f2a", True),
        ("/job/before", "outputs/j2222222", True),
    }
    code = first["initContainers"][0]["volumeMounts"]
    assert [(m["mountPath"], m.get("subPath"), m.get("readOnly")) for m in code][1:] == [("/bundles", "store/bundles", True)]


def test_the_init_step_takes_the_code_by_its_hash_and_nothing_else(tmp_path):
    bundle = pack({"train.py": "print(1)\n"})
    right, wrong = hashlib.sha256(bundle).hexdigest(), "0" * 64
    for name in (right, wrong):
        (tmp_path / f"{name}.tar.gz").write_bytes(bundle)
    script = pods(PLAIN, SETTINGS)[0]["initContainers"][0]["command"][2]
    results = []
    for name in (right, wrong):
        work = tmp_path / f"work-{name[:4]}"
        work.mkdir()
        here = script.replace("/bundles", str(tmp_path)).replace("/job", str(work), 1)
        ended = subprocess.run(["/bin/sh", "-ec", here, "sh", name], capture_output=True)
        results.append((ended.returncode == 0, [path.name for path in work.iterdir()]))
    assert results == [(True, ["train.py"]), (False, [])]


def test_the_tenants_words_reach_the_program_as_they_are():
    (first, _) = pods(SPECS["everything"], SETTINGS)
    ranks = first["containers"][0]
    assert ranks["command"][-4:] == ["--no-python", "./run.sh", "$$(PWD)", "a b"]  # $$( is Kubernetes' word for $(
    env = {item["name"]: item["value"] for item in ranks["env"]}
    assert env["NAME"] == "$$(HOME) is meant as it stands"
    assert "RANK" not in env  # the launcher's own
    assert (env["FOREBAY_OUTPUT"], env["FOREBAY_DATA"]) == ("/job/result", "/job/data")


def test_grace_and_time_limit_are_rounded_up():
    (first, _) = pods(SPECS["everything"], SETTINGS)
    assert (first["terminationGracePeriodSeconds"], first["activeDeadlineSeconds"]) == (13, 3600 + 13 + 60)
    assert "activeDeadlineSeconds" not in pods(PLAIN, SETTINGS)[0]


def test_cards_cores_and_memory_grow_with_the_share():
    settings = replace(SETTINGS, cpus_per_card=8, memory_per_card="60Gi")
    resources = pods(PLAIN, settings)[0]["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"nvidia.com/gpu": "4", "cpu": "32", "memory": "240Gi"}


def test_rehearsed_cards_ask_for_no_device():
    limits = pods(SPECS["rehearsed"], SETTINGS)[0]["containers"][0]["resources"]["limits"]
    assert limits.keys() == {"cpu", "memory"}


@pytest.mark.parametrize(
    "spec, settings, told",
    [
        (PLAIN, replace(SETTINGS, images={}), "no image"),
        (PLAIN, replace(SETTINGS, claim=""), "claim"),
        (PLAIN, replace(SETTINGS, scheduler="yarn"), "volcano, kueue"),
        (PLAIN, replace(SETTINGS, memory_per_card="lots"), "8Gi"),
        (replace(PLAIN, requirements="requirements.txt"), SETTINGS, "into the image"),
        (replace(PLAIN, output="../up"), SETTINGS, "inside its working folder"),
        (replace(PLAIN, chip="sophgo-bm1684x"), SETTINGS, "kubectl describe node"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_known_is_refused_and_not_guessed(spec, settings, told):
    with pytest.raises(BadInput) as refused:
        launch(spec, settings)
    assert told in str(refused.value)


# Chips.


def test_every_chip_of_the_catalogue_has_a_name_with_its_source_or_is_refused():
    refused = set()
    for chip in catalogue.load().values():
        try:
            resource = resource_of(chip.name, {})
        except BadInput:
            refused.add(chip.vendor)
            continue
        assert resource is None or (re.fullmatch(r"[a-z0-9.-]+/[A-Za-z0-9]+", resource.name) and len(resource.source) > 10)
    assert refused == {"apple", "sophgo", "t-head", "tecorigin"}
    assert RESOURCES["huawei"].name == "huawei.com/Ascend910"


def test_the_operators_name_counts():
    named = replace(SETTINGS, resources={"h100-sxm": "nvidia.com/gpu.shared"})
    assert "nvidia.com/gpu.shared" in pods(PLAIN, named)[0]["containers"][0]["resources"]["limits"]


# Beside the launch.


def test_a_stop_ends_the_pods_with_the_grace_and_removes_the_rest():
    for scheduler, gone in (("volcano", 2), ("kueue", 3)):
        pods_first, *rest = kubernetes.stop(PLAIN.name, replace(SETTINGS, scheduler=scheduler), 4.2)
        assert pods_first.body is not None and pods_first.body["gracePeriodSeconds"] == 5
        assert pods_first.path.endswith("/pods?labelSelector=forebay-run%3Dj4k7q2mz-1")
        assert len(rest) + 1 == gone and all(request.path.endswith(f"/{PLAIN.name}") for request in rest)


def test_one_call_looks_at_all_runs():
    assert kubernetes.look(SETTINGS).path == (
        "/apis/batch.volcano.sh/v1alpha1/namespaces/forebay/jobs?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dforebay"
    )


# What is said of it.


def test_every_page_and_every_dry_run_says_first_that_it_was_never_run(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    assert page.splitlines()[0].startswith("**None of this was ever run against a real Kubernetes API server.**")
    (tmp_path / "spec.json").write_text(json.dumps(encode(PLAIN)))
    (tmp_path / "settings.toml").write_text(to_toml(encode(replace(SETTINGS, scheduler="kueue"))))
    argv = [sys.executable, "-m", "forebay.centre.kubernetes", str(tmp_path / "spec.json"), str(tmp_path / "settings.toml")]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("# These requests were checked against published schemas and were never sent")
    documents = [json.loads(re.sub(r"^#.*$", "", part, flags=re.MULTILINE)) for part in shown.split("---\n")]
    assert documents == bodies(PLAIN, replace(SETTINGS, scheduler="kueue"))
