"""What Kubernetes calls a card: the extended resource that the vendor's device plugin tells of.

Asked:  how does a pod ask for an `ascend-910b`?
Answer: by the name below, and its number. A name says the vendor and not the model: where a cluster has several models of one
        vendor, labels of the nodes tell them apart (`KubernetesSettings.selectors`).
Limits: whole cards. Names that sharing plugins use (HAMi's and others) are for the operator to set. None of it was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forebay.chips import catalogue
from forebay.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What a vendor's device plugin calls one card, and who says so."""

    name: str
    source: str


# By vendor. A cluster whose plugin was told another name says so in its settings.
RESOURCES: Mapping[str, Resource] = {
    "nvidia": Resource(name="nvidia.com/gpu", source="github.com/NVIDIA/k8s-device-plugin, README"),
    "amd": Resource(name="amd.com/gpu", source="github.com/ROCm/k8s-device-plugin, README"),
    "huawei": Resource(name="huawei.com/Ascend910", source="MindCluster 7.3.0, Ascend Docker Runtime user guide (hiascend.com)"),
    "cambricon": Resource(name="cambricon.com/mlu", source="github.com/Cambricon/cambricon-k8s-device-plugin, README"),
    "biren": Resource(name="birentech.com/gpu", source="gitee.com/BirenTechnology/k8s-device-plugin"),
    "iluvatar": Resource(name="iluvatar.com/gpu", source="gitee.com/deep-spark/ix-device-plugin, its default"),
    "enflame": Resource(name="enflame.com/gcu", source="github.com/EnflameTechnology/gcushare"),
    "mthreads": Resource(name="mthreads.com/gpu", source="Moore Threads, KUAE cloud-native documentation 2.1.0"),
    "metax": Resource(name="metax-tech.com/gpu", source="github.com/Project-HAMi/HAMi, its tests; MetaX's plugin isn't public"),
    "hygon": Resource(name="hygon.com/dcu", source="second hand (GPUStack's table of devices); Hygon's plugin isn't public"),
    "kunlunxin": Resource(name="kunlunxin.com/xpu", source="github.com/Project-HAMi/HAMi, documentation of Kunlunxin devices"),
    "google": Resource(name="google.com/tpu", source="Google Kubernetes Engine, documentation of TPUs"),
}
GAUDI = Resource(name="habana.ai/gaudi", source="github.com/HabanaAI/gaudi-device-plugin")
INTEL_GPU = Resource(name="gpu.intel.com/i915", source="github.com/intel/intel-device-plugins-for-kubernetes, gpu_plugin")


def resource_of(chip: str, named: Mapping[str, str]) -> Resource | None:
    """What one card of this chip is called in a cluster whose operator has `named` some. None for cards of processor cores."""
    if chip in named:
        return Resource(name=named[chip], source="the settings of this centre")
    known = catalogue.find(chip)
    if known.device_type == "cpu":
        return None
    by_device = {"hpu": GAUDI, "xpu": INTEL_GPU} if known.vendor == "intel" else {}
    found = by_device.get(known.device_type) or RESOURCES.get(known.vendor)
    if found is None:
        raise BadInput(
            "I know no name by which a Kubernetes cluster has this chip.",
            asked=chip,
            hint=f'[resources] "{chip}" = "vendor.example/card", as `kubectl describe node` shows it',
        )
    return found
