"""Our own samples can be made for every operator of torch's database: one that raises would leave its operator untested."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("torch")

MAKE_ALL = """
import warnings
warnings.simplefilter("ignore")
import torch
from forebay.porting.certify import database, probes

for name, op in database.load().items():
    for dtype in (torch.float32, torch.int64):
        if dtype in op.supported_dtypes("cpu"):
            try:
                list(probes.extra(op, dtype, False))
            except Exception as error:
                print(name, dtype, repr(error))
"""


@pytest.mark.slow
def test_no_operators_probes_raise():
    done = subprocess.run([sys.executable, "-c", MAKE_ALL], capture_output=True, text=True, timeout=1500)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]


def test_spreads_over_several_dimensions_are_asked_for():
    script = (
        "import torch\nfrom forebay.porting.certify import database, probes\n"
        "op = database.load()['std']\n"
        "print(sum(isinstance(one.kwargs.get('dim'), tuple) for one in probes.extra(op, torch.float32, False)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert int(done.stdout.split()[-1]) >= 2, done.stderr[-2000:]
