"""The lines that a file gets once: which, where, and under which names."""

import pytest

from forebay.porting.rewrite.rewrite import rewrite

ASKED = 'torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")'
BUILT = 'torch.accelerator.current_accelerator() or torch.device("cpu")'


def ported(text):
    after = rewrite(text.encode(), "script.py").after.decode()
    assert rewrite(after.encode(), "script.py").after.decode() == after, "porting twice changes something"
    return after


def test_the_device_is_named_once_after_the_imports():
    before = '"""Doc."""\nimport torch  # the only one\nfrom torch import nn\n\n\ndef f(x):\n    return x.cuda()\n'
    after = '"""Doc."""\nimport torch  # the only one\nfrom torch import nn\n'
    after += f"\nDEVICE = {ASKED}\n\n\ndef f(x):\n    return x.to(DEVICE)\n"
    assert ported(before) == after


def test_what_follows_the_imports_directly_gets_a_blank_line():
    assert ported("import torch\nx = x.cuda()\n") == f"import torch\n\nDEVICE = {ASKED}\n\nx = x.to(DEVICE)\n"


def test_the_module_of_the_device_comes_along_where_it_is_needed():
    lines = ported("import torch\ntorch.cuda.synchronize()\n").splitlines()
    assert lines[3] == "DEVICE_MODULE = torch.get_device_module(DEVICE)  # torch.cuda, torch.npu, torch.xpu, ... or torch.cpu"


def test_timing_events_bring_a_class_for_the_host():
    after = ported("import torch\n\nstart = torch.cuda.Event(enable_timing=True)\n")
    assert "from time import perf_counter\n" in after
    assert "\nDeviceEvent = DEVICE_MODULE.Event if torch.accelerator.is_available() else HostDeviceEvent\n" in after
    assert after.endswith("\n\nstart = DeviceEvent(enable_timing=True)\n")


def test_a_name_that_the_file_uses_is_not_taken():
    after = ported("import torch\nDEVICE = 3\nx = x.cuda()\n")
    assert f"TORCH_DEVICE = {ASKED}\n" in after
    assert after.endswith("x = x.to(TORCH_DEVICE)\n")


def test_the_usual_line_of_a_module_becomes_the_device_of_all():
    before = "import torch\ndevice = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\nx = x.cuda()\n"
    after = "import torch\ndevice = " + ASKED.replace('"', "'") + "\nx = x.to(device)\n"
    assert ported(before) == after


def test_the_usual_line_is_not_reused_where_a_function_has_another_thing_of_that_name():
    before = (
        "import torch\ndevice = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n\n\n"
        "def f(x, device):\n    return x.cuda()\n"
    )
    after = ported(before)
    assert "\ndevice = DEVICE\n" in after
    assert after.endswith("return x.to(DEVICE)\n")


def test_one_usual_line_in_a_function_needs_no_name_at_all():
    before = 'import torch\n\n\ndef f():\n    device = "cuda" if torch.cuda.is_available() else "cpu"\n    return device\n'
    kind = 'torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"'
    assert ported(before) == f"import torch\n\n\ndef f():\n    device = {kind}\n    return device\n"


def test_a_line_that_an_earlier_rewrite_made_is_used_again():
    once = ported("import torch\n\nx = x.cuda()\n")
    assert ported(once + "y = y.cuda()\n") == once + "y = y.to(DEVICE)\n"


@pytest.mark.parametrize(
    "imports, name",
    [
        ("import torch as th", "th"),
        ("import torch.nn", "torch"),
        ("try:\n    import torch\nexcept ImportError:\n    raise", "torch"),
    ],
)
def test_torch_keeps_the_name_that_the_file_has_for_it(imports, name):
    after = ported(f"{imports}\nx = x.cuda()\n")
    assert f"\nDEVICE = {ASKED.replace('torch.', name + '.')}\n" in after


def test_torch_is_imported_where_the_file_has_no_name_for_it():
    after = ported("from torch import nn\n\nx = nn.Linear(1, 1).cuda()\n")
    assert after == f"from torch import nn\nimport torch\n\nDEVICE = {ASKED}\n\nx = nn.Linear(1, 1).to(DEVICE)\n"


def test_a_file_that_imports_torch_late_is_left_with_the_reason():
    before = b"def f(x):\n    import torch\n    return x.cuda()\n"
    one = rewrite(before, "s.py")
    assert one.after == before
    assert [item.reason.startswith("torch is imported inside a function") for item in one.left] == [True]


def test_no_driver_starts_before_a_program_has_chosen_its_cards():
    before = 'import os\nimport torch\n\n\ndef main(card):\n    os.environ["CUDA_VISIBLE_DEVICES"] = card\n    return x.cuda()\n'
    assert f"\nDEVICE = {BUILT}\n" in ported(before)


def test_cards_that_are_chosen_before_torch_is_imported_change_nothing():
    before = 'import os\nos.environ["CUDA_VISIBLE_DEVICES"] = "0"\nimport torch\n\nx = x.cuda()\n'
    assert f"\nDEVICE = {ASKED}\n" in ported(before)


def test_future_imports_stay_first():
    after = ported("from __future__ import annotations\nimport torch\nx = x.cuda()\n")
    assert after.startswith("from __future__ import annotations\nimport torch\n\nDEVICE = ")
