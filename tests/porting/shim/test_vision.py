"""torchvision, built for CUDA, beside a torch that isn't: the import works, and what is missing says so."""

import textwrap

from .conftest import run

EXTENSION = """
import torch

def _has_ops():
    return HAS_OPS

def _assert_has_ops():
    if not _has_ops():
        raise RuntimeError("Couldn't load custom C++ ops.")
"""

# What torchvision's own text does at import, in short: it needs the operators to be declared.
PACKAGE = """
from torchvision import extension
import torch

@torch.library.register_fake("torchvision::nms")
def nms_shape(boxes, scores, iou_threshold):
    return boxes.new_empty(0, dtype=torch.long)

torch.library.register_autograd("torchvision::roi_align", lambda ctx, grad: None)

def nms(boxes, scores, iou_threshold):
    extension._assert_has_ops()
    return torch.ops.torchvision.nms(boxes, scores, iou_threshold)
"""


def torchvision_in(folder, has_ops):
    place = folder / "torchvision"
    place.mkdir()
    (place / "extension.py").write_text(EXTENSION.replace("HAS_OPS", str(has_ops)))
    (place / "__init__.py").write_text(PACKAGE)
    script = folder / "script.py"
    script.write_text(
        textwrap.dedent("""
        import torchvision
        print("imported")
        try:
            torchvision.nms(None, None, 0.5)
        except RuntimeError as error:
            print(error)
        """)
    )
    return script


def test_torchvision_without_its_compiled_part_is_imported_and_nms_says_what_is_missing(tmp_path, mapped):
    script = torchvision_in(tmp_path, has_ops=False)
    assert run(mapped, script).stdout.splitlines() == ["imported", "Couldn't load custom C++ ops."]


def test_torchvision_with_its_compiled_part_is_left_alone(tmp_path, mapped):
    script = torchvision_in(tmp_path, has_ops=True)
    ended = run(mapped, script)
    assert "operator torchvision::nms does not exist" in ended.stderr, "operators were declared that the library declares itself"
