"""The requests that would run a run on Kubernetes. NEVER RUN AGAINST A REAL API SERVER.

Asked:  what would an engine for Kubernetes send, for a gang of pods, to Volcano or to Kueue?
Answer: pure functions from a Spec and the operator's settings to whole requests: method, path and body. With Volcano a run is one
        Job of batch.volcano.sh/v1alpha1: a task a share, all or none of them (minAvailable), met through the service that its
        svc plugin makes. With Kueue it is an Indexed Job of batch/v1, suspended until Kueue admits it, and a headless Service.
        A share is one pod with a share's cards; torchrun starts the ranks in it. Retries are the cloud's: nothing here
        starts anything again. Tests hold the bodies against the published schemas (tests/centre/schemas).
Limits: requests only. Nothing sends them, reads states, ships logs or opens doors; see docs/kubernetes.md. The centre's folder is
        a claim that all nodes can mount.

    python -m forebay.centre.kubernetes SPEC.json SETTINGS.toml      print the requests for a run
Sources: Kubernetes API 1.34, batch/v1 and core/v1; Volcano's CRD and admission (volcano-sh/volcano ed72c7c, 2026-08-20);
        Kueue's labels (kubernetes-sigs/kueue ff69552, 2026-08-22, pkg/controller/constants).
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from forebay.centre import layout, order
from forebay.centre.kubernetes_chips import resource_of
from forebay.centre.spec import Spec
from forebay.codec import decode
from forebay.errors import BadInput

NEVER_RUN = "These requests were checked against published schemas and were never sent to a real Kubernetes API server."

Body = dict[str, Any]


QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """How runs become pods of one cluster. What isn't said here is refused, never guessed."""

    scheduler: str = "volcano"  # or "kueue"
    namespace: str = "forebay"
    queue: str = "default"  # Volcano's queue, or Kueue's LocalQueue
    priority: str = ""  # Volcano's priorityClassName, or Kueue's WorkloadPriorityClass
    images: Mapping[str, str] = field(default_factory=dict)  # chip, or "*" -> the image with its torch
    resources: Mapping[str, str] = field(default_factory=dict)  # chip -> what this cluster's device plugin calls its card
    selectors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # chip -> labels of the nodes that have it
    claim: str = ""  # a PersistentVolumeClaim that holds the centre's folder; every node can mount it
    users: Mapping[str, int] = field(default_factory=dict)  # organisation, or "*" -> the user that its pods run as
    pull_secrets: tuple[str, ...] = ()  # for the images; the node's agent uses them, no pod sees them
    cpus_per_card: int = 1
    memory_per_card: str = "8Gi"
    shared_memory: str = "8Gi"  # /dev/shm of a pod, in memory: what ranks of one node exchange tensors through
    port: int = 29500  # of the rendezvous
    kept_s: int = 86_400  # how long a finished job may lie there, if nobody removes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of the API: all that would be sent."""

    method: str
    path: str
    body: Body | None = None


def launch(spec: Spec, settings: KubernetesSettings) -> tuple[Request, ...]:
    """What starts a run, in this order. The same again is answered with 409, which means that it was started before."""
    batch, core = f"namespaces/{settings.namespace}/jobs", f"/api/v1/namespaces/{settings.namespace}/services"
    if settings.scheduler == "volcano":
        return (Request(method="POST", path=f"/apis/batch.volcano.sh/v1alpha1/{batch}", body=volcano_job(spec, settings)),)
    if settings.scheduler == "kueue":
        return (
            Request(method="POST", path=core, body=service(spec, settings)),
            Request(method="POST", path=f"/apis/batch/v1/{batch}", body=indexed_job(spec, settings)),
        )
    raise BadInput("There is no such scheduler.", asked=settings.scheduler, found="volcano, kueue")


def stop(run: str, settings: KubernetesSettings, grace_s: float) -> tuple[Request, ...]:
    """What ends a run and removes what it had: pods first, which get the grace, then their job. May be said twice (404)."""
    options: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
    name, inside = layout.name(run), f"namespaces/{settings.namespace}"
    pods = f"/api/v1/{inside}/pods?labelSelector=forebay-run%3D{name}"
    grace = {**options, "gracePeriodSeconds": math.ceil(grace_s)}
    if settings.scheduler == "volcano":
        jobs = [Request(method="DELETE", path=f"/apis/batch.volcano.sh/v1alpha1/{inside}/jobs/{name}", body=options)]
    else:
        jobs = [
            Request(method="DELETE", path=f"/apis/batch/v1/{inside}/jobs/{name}", body=options),
            Request(method="DELETE", path=f"/api/v1/{inside}/services/{name}", body=options),
        ]
    return (Request(method="DELETE", path=pods, body=grace), *jobs)


def look(settings: KubernetesSettings) -> Request:
    """What tells the state of every run of ours: one call for all."""
    group = "batch.volcano.sh/v1alpha1" if settings.scheduler == "volcano" else "batch/v1"
    ours = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dforebay"
    return Request(method="GET", path=f"/apis/{group}/namespaces/{settings.namespace}/jobs?{ours}")


def dry_run(requests: Sequence[Request]) -> str:
    """The requests as people read them, and as kubectl takes them: JSON is YAML."""
    parts = [f"# {request.method} {request.path}\n{json.dumps(request.body, indent=2)}\n" for request in requests]
    return f"# {NEVER_RUN}\n" + "---\n".join(parts)


# The objects.


def volcano_job(spec: Spec, settings: KubernetesSettings) -> Body:
    """A Job of Volcano: a task a share, so that each pod is bound to the node that the cloud chose for its share."""
    first = f"{spec.name}-share-0-0.{spec.name}"  # job, task, index; and the service of the svc plugin, named as the job
    job: Body = {
        "schedulerName": "volcano",
        "queue": settings.queue,
        "minAvailable": len(spec.shares),
        "maxRetry": 1,  # the least: admission makes 3 of 0. No policy restarts anything, so it is never used
        "ttlSecondsAfterFinished": settings.kept_s,
        "plugins": {"svc": ["--publish-not-ready-addresses=true"]},  # whose network policy lets in the job's own pods only
        "policies": [{"event": event, "action": "AbortJob"} for event in ("PodFailed", "PodEvicted")],
        "tasks": [
            {
                "name": f"share-{number}",
                "replicas": 1,
                "minAvailable": 1,
                "maxRetry": 1,
                "template": _pod(
                    spec,
                    settings,
                    cards=len(share.cards),
                    where={"nodeSelector": {**_selector(spec, settings), "kubernetes.io/hostname": share.node}},
                    ranks=_torchrun(spec, settings, first, str(number), len(share.cards)),
                    labels={"forebay-share": str(number)},
                ),
            }
            for number, share in enumerate(spec.shares)
        ],
    }
    if settings.priority:
        job["priorityClassName"] = settings.priority
    return {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "metadata": _metadata(spec, settings), "spec": job}


def indexed_job(spec: Spec, settings: KubernetesSettings) -> Body:
    """A plain Job of as many pods as shares. It is made suspended: Kueue lets it go when all of it has its quota."""
    cards = {len(share.cards) for share in spec.shares}
    if len(cards) != 1:
        raise BadInput(
            "Pods of an Indexed Job are all alike, and these shares aren't.",
            asked=", ".join(f"{share.node}: {len(share.cards)} cards" for share in spec.shares),
            hint='scheduler = "volcano" takes shares of any size',
        )
    count, nodes = len(spec.shares), [share.node for share in spec.shares]
    on_these = [{"key": "kubernetes.io/hostname", "operator": "In", "values": nodes}]
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"forebay-run": spec.name}}}
    where = {
        "subdomain": spec.name,
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": on_these}]}
            },
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]},
        },
        **({"nodeSelector": selector} if (selector := _selector(spec, settings)) else {}),
    }
    first = f"{spec.name}-0.{spec.name}"  # job and index; and our service
    ranks = _torchrun(spec, settings, first, "$(JOB_COMPLETION_INDEX)", cards.pop())
    labels = {QUEUE_LABEL: settings.queue, **({PRIORITY_LABEL: settings.priority} if settings.priority else {})}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(spec, settings, labels),
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": settings.kept_s,
            "template": _pod(spec, settings, cards=len(spec.shares[0].cards), where=where, ranks=ranks, labels={}),
        },
    }


def service(spec: Spec, settings: KubernetesSettings) -> Body:
    """A headless Service: by it the pods of an Indexed Job have names. They meet before they are ready."""
    port = {"name": "rendezvous", "port": settings.port, "protocol": "TCP"}
    selector = {"forebay-run": spec.name}
    body = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector, "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(spec, settings), "spec": body}


# A pod.


def _pod(
    spec: Spec, settings: KubernetesSettings, *, cards: int, where: Body, ranks: list[str], labels: Mapping[str, str]
) -> Body:
    """One share: an init step that lays the code out, and the ranks. Nothing in it can speak to the API server or to us."""
    if spec.requirements is not None:
        raise BadInput(
            "Packages of a run's own can't be laid over an image yet.", asked=spec.requirements, hint="put them into the image"
        )
    if not settings.claim:
        raise BadInput("The settings name no claim for the centre's folder.", asked="claim", hint='claim = "forebay-home"')
    image = _image(spec, settings)
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    work = {"name": "work", "mountPath": "/job"}
    uid = settings.users.get(spec.organisation, settings.users.get("*"))
    identity = {} if uid is None else {"runAsUser": uid, "runAsGroup": uid, "fsGroup": uid}
    limits = {"cpu": str(settings.cpus_per_card * cards), **_card_limits(spec, settings, cards)}
    if settings.memory_per_card:
        limits["memory"] = _times(settings.memory_per_card, cards)
    pod: Body = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(spec.grace_s),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **identity},
        "initContainers": [
            {
                "name": "code",
                "image": image,
                "command": ["/bin/sh", "-ec", _UNPACK, "sh", spec.bundle],
                "securityContext": safe,
                "volumeMounts": [
                    work,
                    {"name": "home", "mountPath": "/bundles", "subPath": "store/bundles", "readOnly": True},
                ],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}},
            }
        ],
        "containers": [
            {
                "name": "ranks",
                "image": image,
                "workingDir": "/job",
                "command": ranks,
                "env": [{"name": name, "value": value} for name, value in _environment(spec).items()],
                "securityContext": safe,
                "volumeMounts": [work, {"name": "shm", "mountPath": "/dev/shm"}, *_mounts(spec)],
                "resources": {"limits": limits, "requests": limits},
            }
        ],
        "volumes": [
            {"name": "work", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
            {"name": "home", "persistentVolumeClaim": {"claimName": settings.claim}},
        ],
        **where,
    }
    if spec.time_limit_s is not None:  # the cloud ends it before; this is for a centre whose agent is away
        pod["activeDeadlineSeconds"] = math.ceil(spec.time_limit_s + spec.grace_s) + 60
    if settings.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    return {"metadata": {"labels": {**_labels(spec), **labels}}, "spec": pod}


# By its hash, from the centre's store: another content under that name ends the pod before any of it runs.
_UNPACK = 'echo "$1  /bundles/$1.tar.gz" | sha256sum -c - && tar -xzf "/bundles/$1.tar.gz" -C /job'


def _torchrun(spec: Spec, settings: KubernetesSettings, first: str, node_rank: str, cards: int) -> list[str]:
    """How the ranks of a share are started: by the torchrun of the image, once, without a restart."""
    start = ["torchrun", f"--nnodes={len(spec.shares)}", f"--node-rank={node_rank}", f"--nproc-per-node={cards}"]
    start += [f"--master-addr={first}", f"--master-port={settings.port}", "--max-restarts=0"]
    program = [] if spec.entry.endswith(".py") else ["--no-python"]
    return [*start, *program, spec.entry if not program else f"./{spec.entry}", *map(_plain, spec.argv)]


def _environment(spec: Spec) -> dict[str, str]:
    """The tenant's variables and the few of ours. Of a token there is none to give."""
    ours = {
        "PYTHONUNBUFFERED": "1",
        "HOME": "/job",
        "FOREBAY_JOB": spec.job,
        "FOREBAY_RUN": spec.name,
        "FOREBAY_ATTEMPT": str(order.attempt(spec.name)),
        "FOREBAY_OUTPUT": f"/job/{spec.output}",
        "FOREBAY_DATA": order.data_folder(spec, "/job"),
        **({"FOREBAY_PRETEND": "1"} if spec.pretend else {}),
    }
    return {**{name: _plain(value) for name, value in order.tenants_own(spec.env).items()}, **ours}


def _plain(text: str) -> str:
    """A text that is meant as it stands: Kubernetes would put variables in the place of $(NAME)."""
    return text.replace("$(", "$$(")


def _mounts(spec: Spec) -> list[Body]:
    """The output folder, and what the run may read: of the centre's folder nothing else is in the pod."""
    found: list[Body] = [{"name": "home", "mountPath": _inside(spec.output), "subPath": f"outputs/{layout.name(spec.job)}"}]
    for mount in spec.mounts:
        source = layout.name(mount.source)
        path = f"store/data/{layout.name(spec.organisation)}/{source}" if mount.kind == "data" else f"outputs/{source}"
        found.append({"name": "home", "mountPath": _inside(mount.at), "subPath": path, "readOnly": True})
    return found


def _inside(path: str) -> str:
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts or not plain.parts:
        raise BadInput("A folder of a run lies inside its working folder.", asked=path)
    return str(PurePosixPath("/job") / plain)


def _metadata(spec: Spec, settings: KubernetesSettings, more: Mapping[str, str] | None = None) -> Body:
    return {"name": layout.name(spec.name), "namespace": settings.namespace, "labels": {**_labels(spec), **(more or {})}}


def _labels(spec: Spec) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "forebay",
        "forebay-run": spec.name,
        "forebay-job": spec.job,
        "forebay-organisation": spec.organisation,
    }


# What the settings say of a chip.


def _card_limits(spec: Spec, settings: KubernetesSettings, cards: int) -> dict[str, str]:
    resource = None if spec.pretend else resource_of(spec.chip, settings.resources)
    return {} if resource is None else {resource.name: str(cards)}


def _image(spec: Spec, settings: KubernetesSettings) -> str:
    for key in ("cpu" if spec.pretend else spec.chip, "*"):
        if key in settings.images:
            return settings.images[key]
    raise BadInput("The settings name no image for that chip.", asked=spec.chip, found=", ".join(settings.images) or "no image")


def _selector(spec: Spec, settings: KubernetesSettings) -> dict[str, str]:
    return dict(settings.selectors.get(spec.chip, {}))


def _times(quantity: str, count: int) -> str:
    """ "16Gi" for two times "8Gi"."""
    digits = quantity.rstrip("KMGTPEikm")
    if not digits.isdigit():
        raise BadInput("That is no amount of memory.", asked=quantity, hint='a whole number and a unit: "8Gi"')
    return f"{int(digits) * count}{quantity[len(digits) :]}"


def main() -> None:
    spec, settings = (Path(word).read_text("utf-8") for word in sys.argv[1:])
    requests = launch(decode(Spec, json.loads(spec)), decode(KubernetesSettings, tomllib.loads(settings)))
    sys.stdout.write(dry_run(requests))


if __name__ == "__main__":
    main()
