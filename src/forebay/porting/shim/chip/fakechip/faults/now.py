"""Imported in a process that has the fake chip, it plants the faults that FOREBAY_FAKECHIP_FAULT names. Not for two imports."""

import os

from forebay.porting.shim.chip.fakechip.faults import VARIABLE, named, plant

plant(named(os.environ.get(VARIABLE, "")))
