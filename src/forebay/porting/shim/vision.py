"""torchvision, where its compiled part can't be loaded.

Asked:  a script imports torchvision, installed from a registry: built for CUDA, beside a torch that isn't. Why does the import
        fail, and must it?
Answer: its library doesn't load, which torchvision takes calmly; but then its Python text registers derivatives and shapes of
        operators that nobody has declared. So they are declared here, with torchvision's own signatures and no kernels. Models,
        data sets, transforms and what is written in Python work; `nms` and its like say that the compiled part is missing.
Limits: nothing is done where the library loads (torchvision of the same build as torch). No kernel is imitated.
"""

from __future__ import annotations

from typing import Any

from forebay.porting.shim import journal

PLACE = "float spatial_scale, SymInt pooled_height, SymInt pooled_width"
SIZE = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
STEPS = "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w"
FILTER = f"Tensor weight, Tensor offset, Tensor mask, Tensor bias, {STEPS}, SymInt groups, SymInt offset_groups, bool use_mask"

# As torchvision's sources declare them (torchvision/csrc/ops, 0.19 to 0.28).
SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align(Tensor input, Tensor rois, {PLACE}, int sampling_ratio, bool aligned) -> Tensor",
    f"qroi_align(Tensor input, Tensor rois, {PLACE}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward(Tensor grad, Tensor rois, {PLACE}, {SIZE}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool(Tensor input, Tensor rois, {PLACE}) -> (Tensor, Tensor)",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, {PLACE}, {SIZE}) -> Tensor",
    f"ps_roi_align(Tensor input, Tensor rois, {PLACE}, int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, {PLACE}, int sampling_ratio, {SIZE}) -> Tensor",
    f"ps_roi_pool(Tensor input, Tensor rois, {PLACE}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, {PLACE}, {SIZE}) -> Tensor",
    f"deform_conv2d(Tensor input, {FILTER}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, Tensor input, {FILTER}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor",
)

_declared: list[Any] = []  # a Library that is collected takes its declarations along


def declare(extension: Any) -> None:
    """After torchvision.extension has tried to load the compiled part."""
    if extension._has_ops():
        return
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for signature in SIGNATURES:
        library.define(signature)
    _declared.append(library)
    journal.note("import torchvision, its compiled operators declared only", "emulated")
