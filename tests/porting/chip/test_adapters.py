"""What is known of a chip is stated alike everywhere, and a chip that can't be used says which package is missing."""

import dataclasses
import importlib.metadata
from pathlib import Path

import pytest

from forebay.chips import catalogue
from forebay.errors import BadInput
from forebay.porting.shim import carrier
from forebay.porting.shim.build import NoTorch, Torch
from forebay.porting.shim.carrier import Carrier, choose
from forebay.porting.shim.chip import adapter as adapters
from forebay.porting.shim.chip.adapter import NoPlugin, known, named, present, ready, speaker

CPU_TORCH = Torch(Path("/nowhere"), "2.13.0+cpu")
OWN_NAMES = {"npu", "mlu", "musa", "gcu", "sdaa", "supa", "xpu", "mps", "hpu", "fakechip"}


def test_every_chip_with_a_name_of_its_own_has_an_adapter():
    assert {one.name for one in known().values() if not one.speaks_cuda} == OWN_NAMES


def test_an_adapter_and_the_catalogue_say_the_same():
    told = 0
    for chip in catalogue.load().values():
        for one in known().values():
            if one.speaks_cuda or one.device != chip.device_type:
                continue
            told += 1
            assert one.plugin == (chip.plugin or "torch")
            assert chip.backend in (one.backend, "gloo")
            assert chip.visible_devices_env in (one.visible or None, None)
            assert chip.monitor in (one.monitor or None, None)
    assert told > 10


def test_every_adapter_names_its_source():
    assert all(len(one.source) > 10 for one in known().values())


def test_a_vendor_is_known_by_its_build_tag_and_not_by_a_name_that_clashes():
    assert speaker(Torch(Path("/nowhere"), "2.6.0+rocm6.2")).name == "rocm"
    assert speaker(Torch(Path("/nowhere"), "2.4.0+metax3.0")).name == "maca"
    assert speaker(Torch(Path("/nowhere"), "2.13.0+cu130")) is None


def test_a_plug_in_that_is_not_installed_is_named():
    with pytest.raises(NoPlugin) as raised:
        ready(named("mlu"), CPU_TORCH)
    assert "torch-mlu" in str(raised.value) and "Cambricon" in str(raised.value)


def test_a_plug_in_of_the_wrong_build_tag_is_named():
    with pytest.raises(NoPlugin, match="overwritten") as raised:
        ready(named("maca"), CPU_TORCH)
    assert importlib.metadata.version("torch") in str(raised.value)


def test_a_plug_in_for_another_torch_is_named():
    mine = dataclasses.replace(named("fakechip"), package="torch", follows_torch=True, python_only=False)
    with pytest.raises(NoPlugin, match="for another torch"):
        ready(mine, Torch(Path("/nowhere"), "1.9.0"))


def test_a_torch_that_is_too_old_for_a_chip_of_python_is_named():
    with pytest.raises(NoTorch, match=r"since 2\.10"):
        ready(named("fakechip"), Torch(Path("/nowhere"), "2.4.1"))


def test_an_adapter_that_nobody_knows_is_answered_with_those_that_are():
    with pytest.raises(BadInput, match="npu"):
        named("no-such-chip")


def test_a_vendors_own_adapter_is_found_by_its_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    body = Path(adapters.__file__).with_name("adapters") / "fakechip.py"
    (tmp_path / "their_chip.py").write_text(body.read_text().replace('name="fakechip"', 'name="their_chip"'))
    assert named("their_chip").device == "fakechip"


def test_a_plug_in_that_spoofs_cuda_is_looked_for_first(tmp_path):
    card = tmp_path / "card_0"
    card.touch()
    plain = dataclasses.replace(named("fakechip"), name="aaa", nodes=(str(tmp_path / "card_*"),))
    spoofs = dataclasses.replace(plain, name="zzz", spoofs_cuda=True)
    assert present(CPU_TORCH, [plain, spoofs]) == (spoofs, str(card))
    assert present(CPU_TORCH, [dataclasses.replace(plain, nodes=(str(tmp_path / "none*"),))]) is None


def test_a_carrier_of_a_chip_survives_json():
    one = Carrier("chip", "why", Path("/some/lib.so"), "npu")
    assert Carrier.from_json(one.to_json()) == one
    with pytest.raises(BadInput):
        Carrier("chip", "no adapter", Path("/some/lib.so"))


def test_a_chip_that_is_asked_for_is_taken_or_refused_but_never_replaced(cache, monkeypatch):
    monkeypatch.setenv("FOREBAY_CHIP", "gcu")
    with pytest.raises(NoPlugin):
        choose(cache)
    monkeypatch.delenv("FOREBAY_CHIP")
    assert carrier.choose(cache, chip="fakechip").chip == "fakechip"
