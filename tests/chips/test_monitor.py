"""What vendors' monitors say of how busy their cards are, read from answers as they look."""

from __future__ import annotations

import pytest

from forebay.chips import catalogue
from forebay.chips.monitor import MONITORS, busy

NVIDIA = "0, 97\n1, 0\n2, [N/A]\n3, 100\n"
ASCEND = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.2        36                0    / 0             |
| 0                         | 0000:C1:00.0  | 87          0    / 0          3388 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Warning       | 90.1        35                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3389 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 77            | python                   | 1024                    |
"""
ROCM = '{"card0": {"GPU use (%)": "43", "GFX Activity": "1"}, "card1": {"GPU use (%)": "0"}, "system": {"Driver": "6.7"}}'
ROCM_TEXT = """\
============================ ROCm System Management Interface ============================
=================================== % time GPU is busy ===================================
GPU[0]\t\t: GPU use (%): 12
GPU[1]\t\t: GPU use (%): 100
==========================================================================================
"""
HYGON = '{"card0": {"HCU use (%)": "55.0"}, "card1": {"HCU use (%)": "7"}}'
METAX = """\
mx-smi  version: 2.2.3

=================== MetaX System Management Interface Log ===================
Timestamp                                         : Sun Nov 29 10:00:00 2026

Attached GPUs                                     : 2
GPU#0  MXC500  0000:0e:00.0
    GPU                                           : 41 %
    VPUE                                          : 3 %
    VPUD                                          : 9 %
GPU#1  MXC500  0000:0f:00.0
    GPU                                           : 0 %
    VPUE                                          : 0 %
"""
CAMBRICON = """\
Card 0
    Product Name                   : MLU370-X8
    Utilization                    :
        MLU Average                : 64 %
        MLU 0-3                    : 60 % 70 % 62 % 64 %
        DDR                        : 20 %
Card 1
    Product Name                   : MLU370-X8
    Utilization                    :
        MLU Average                : 0 %
"""


@pytest.mark.parametrize(
    ("monitor", "text", "shares"),
    [
        ("nvidia-smi", NVIDIA, {0: 0.97, 1: 0.0, 3: 1.0}),
        ("npu-smi", ASCEND, {0: 0.87, 1: 0.0}),
        ("amd-smi", ROCM, {0: 0.43, 1: 0.0}),
        ("amd-smi", ROCM_TEXT, {0: 0.12, 1: 1.0}),
        ("hy-smi", HYGON, {0: 0.55, 1: 0.07}),
        ("mx-smi", METAX, {0: 0.41, 1: 0.0}),
        ("cnmon", CAMBRICON, {0: 0.64, 1: 0.0}),
    ],
)
def test_a_monitors_answer_is_read_card_by_card(monitor, text, shares):
    assert busy(monitor, text) == shares


@pytest.mark.parametrize("monitor", MONITORS)
def test_what_cannot_be_read_names_no_card(monitor):
    for text in ("", "command not found", "NVIDIA-SMI has failed because it couldn't communicate", "{}", "| 0 | x |\n" * 3):
        assert busy(monitor, text) == {}


def test_every_monitor_is_one_that_a_chip_of_the_catalogue_has():
    assert set(MONITORS) <= {chip.monitor for chip in catalogue.load().values()}
