"""Detection over folders made to look like machines. The monitors' outputs are as the vendors' documentation prints them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.chips import catalogue
from forebay.chips.detect import cpu_cards, detect, run_monitor
from forebay.chips.node import Card, Node
from forebay.codec import decode, encode
from forebay.errors import BadInput


def silent(command):
    return None


class Machine:
    """A folder that looks like a machine's /dev and /sys."""

    def __init__(self, root):
        self.root = root
        self.bus = itertools.count()

    def devices(self, *names):
        for name in names:
            path = self.root / "dev" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return self

    def pci(self, pci_id, kind="0x120000", render=""):
        address = f"0000:{next(self.bus):02x}:00.0"
        folders = [self.root / "sys/bus/pci/devices" / address]
        if render:
            self.devices(f"dri/{render}")
            folders.append(self.root / "sys/class/drm" / render / "device")
        vendor, device = pci_id.split(":")
        for folder in folders:
            folder.mkdir(parents=True)
            for name, text in (("vendor", f"0x{vendor}"), ("device", f"0x{device}"), ("class", kind)):
                (folder / name).write_text(text + "\n")
        return self

    def detect(self, run=silent, **environ):
        return detect(self.root, run=run, environ=environ, host="box")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def answer(program, text):
    return lambda command: text if command[0] == program else None


def node_of(chip, count, name="box"):
    return Node(name=name, chip=chip, cards=tuple(Card(index=i) for i in range(count)))


NVIDIA_SMI = "0, NVIDIA H100 80GB HBM3, 81559\n1, NVIDIA H100 80GB HBM3, 81559\n"


def test_nvidia_cards_are_known_by_what_nvidia_smi_says(machine):
    machine.devices("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm").pci("10de:2330", "0x030200").pci("10de:2330", "0x030200")
    found = machine.detect(answer("nvidia-smi", NVIDIA_SMI))
    assert found.nodes == (node_of("h100-sxm", 2),)
    assert found.seen[0].memory_bytes == 81559 * 2**20
    assert found.notes == ()


def test_nvidia_cards_are_known_by_their_pci_id_where_there_is_no_monitor(machine):
    machine.devices("nvidia0").pci("10de:20b2", "0x030200")
    assert machine.detect().nodes == (node_of("a100-sxm-80gb", 1),)


def test_in_a_container_the_bus_shows_more_cards_than_were_given(machine):
    machine.devices("nvidia3")
    for _ in range(8):
        machine.pci("10de:2330", "0x030200")
    assert machine.detect().nodes == (node_of("h100-sxm", 1),)


def test_cards_that_the_environment_hides_are_left_out(machine):
    machine.devices("nvidia0", "nvidia1").pci("10de:2330", "0x030200").pci("10de:2330", "0x030200")
    found = machine.detect(CUDA_VISIBLE_DEVICES="1")
    assert found.nodes == (Node(name="box", chip="h100-sxm", cards=(Card(index=1),)),)
    assert found.notes == ("CUDA_VISIBLE_DEVICES=1 hides cards of this machine.",)
    assert machine.detect(CUDA_VISIBLE_DEVICES="").nodes[0].chip == "cpu"
    assert len(machine.detect(CUDA_VISIBLE_DEVICES="GPU-5a1b").nodes[0].cards) == 2


def test_an_nvidia_gpu_outside_the_catalogue_is_used_without_figures(machine):
    machine.devices("nvidia0").pci("10de:2704", "0x030000")
    found = machine.detect(answer("nvidia-smi", "0, NVIDIA GeForce RTX 4080, 16376\n"))
    assert found.nodes == (node_of("nvidia-other", 1),)
    assert found.notes == ("1 x nvidia (NVIDIA GeForce RTX 4080): not in the catalogue, used as nvidia-other, without figures.",)


def test_a_rebuilt_card_with_more_memory_than_its_chip_is_reported(machine):
    machine.devices("nvidia0").pci("10de:2684", "0x030000")
    found = machine.detect(answer("nvidia-smi", "0, NVIDIA GeForce RTX 4090, 49140\n"))
    assert found.nodes == (node_of("rtx-4090", 1),)
    assert found.notes == ("NVIDIA GeForce RTX 4090 reports 51.5 GB; the catalogue has 24 GB.",)


@pytest.mark.parametrize(
    ("name", "mib"),  # as gpustack/runtime's samples of real machines have it
    [("NVIDIA H100 80GB HBM3", 81559), ("NVIDIA H200", 143771), ("NVIDIA GeForce RTX 4090", 24564)],
)
def test_a_card_has_at_least_the_memory_that_the_catalogue_says(machine, name, mib):
    found = machine.devices("nvidia0").detect(answer("nvidia-smi", f"0, {name}, {mib}\n"))
    assert found.notes == ()
    assert found.seen[0].memory_bytes >= catalogue.find(found.seen[0].chip).memory_bytes


def test_cards_without_a_driver_are_reported_and_cores_are_used(machine):
    machine.pci("10de:2330", "0x030200")
    found = machine.detect()
    assert found.nodes[0].chip == "cpu"
    note = "The PCI bus shows 1 x h100-sxm, but /dev/nvidia* is missing: no driver, or not given to this container."
    assert note in found.notes


NPU_SMI = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc1                 Version: 24.1.rc1                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.2        36                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3388 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | Warning       | 91.0        38                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          3389 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
+===========================+===============+====================================================+
"""


def test_ascend_variants_are_told_apart_by_npu_smi(machine):
    machine.devices("davinci0", "davinci1", "davinci_manager", "devmm_svm", "hisi_hdc")
    machine.pci("19e5:1711", "0x030000")  # the host's management controller, a display adapter of the same vendor
    found = machine.detect(answer("npu-smi", NPU_SMI))
    assert found.nodes == (node_of("ascend-910b3", 2),)
    assert [card.memory_bytes for card in found.seen] == [65536 * 2**20] * 2


def test_ascend_cards_without_their_monitor_stay_unused_and_the_note_says_what_would_help(machine):
    found = machine.devices("davinci0", "davinci_manager").detect()
    assert found.nodes[0].chip == "cpu"
    assert found.notes[0] == "1 x huawei (product unknown): not in the catalogue, so they stay unused. npu-smi would name them."


def test_cambricon_cards(machine):
    machine.devices("cambricon_dev0", "cambricon_ctl").pci("cabc:0370")
    found = machine.detect(answer("cnmon", "Card 0\n    Product Name                    : MLU370-X8\n"))
    assert found.nodes == (node_of("mlu370-x8", 1),)


def test_moore_threads_cards(machine):
    machine.devices("mtgpu.0", "mtgpu.1").pci("1ed5:0323", "0x030000").pci("1ed5:0323", "0x030000")
    assert machine.detect().nodes == (node_of("mtt-s4000", 2),)


def test_amd_cards_are_render_nodes_behind_kfd(machine):
    machine.devices("kfd").pci("1002:74a1", render="renderD128").pci("1002:74a1", render="renderD129")
    assert machine.detect().nodes == (node_of("mi300x", 2),)


def test_amd_cards_without_kfd_are_reported(machine):
    machine.pci("1002:74a1", render="renderD128")
    found = machine.detect()
    assert found.nodes[0].chip == "cpu"
    assert "/dev/kfd is missing" in found.notes[0]


def test_a_display_is_no_accelerator(machine):
    machine.devices("kfd").pci("1002:164e", "0x030000", render="renderD128").pci("8086:4680", "0x030000", render="renderD129")
    found = machine.detect()
    assert [node.chip for node in found.nodes] == ["cpu"]
    assert found.seen == ()


def test_hygon_cards_share_kfd_with_amd_and_are_told_apart_by_their_pci_vendor(machine):
    machine.devices("kfd").pci("1d94:6211", "0x0b4000", render="renderD128").pci("1d94:1455", "0x088000")
    assert machine.detect().nodes == (node_of("hygon-k100-ai", 1),)


def test_gaudi_is_not_taken_for_another_driver_in_the_kernels_accelerator_folder(machine):
    machine.devices("accel/accel0")
    assert machine.detect().nodes[0].chip == "cpu"
    machine.pci("1da3:1020")
    assert machine.detect().nodes == (node_of("gaudi2", 1),)


def test_a_host_with_two_chips_is_two_nodes(machine):
    machine.devices("nvidia0", "kfd").pci("10de:1eb8", "0x030200").pci("1002:74a1", render="renderD128")
    assert machine.detect().nodes == (node_of("t4", 1, "box-t4"), node_of("mi300x", 1, "box-mi300x"))


def test_a_machine_without_accelerators_is_a_node_of_cpu_cards(machine):
    found = machine.detect()
    (node,) = found.nodes
    assert (node.name, node.chip, node.pretend) == ("box", "cpu", False)
    assert len(node.cards) >= 2
    assert decode(Node, encode(node)) == node


def test_two_cards_share_the_only_core_and_a_note_says_so(machine, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3}, raising=False)
    found = machine.detect()
    assert found.nodes[0].cards == (Card(index=0, cores=(3,)), Card(index=1, cores=(3,)))
    assert found.notes == ("2 CPU cards share 1 core: good for trying, slow for work.",)


def test_threads_of_one_core_go_to_the_same_card(tmp_path):
    for cpu in range(8):  # eight threads on four cores, numbered as Linux does: 0 and 4 are one core
        topology = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text("0\n")
        (topology / "core_id").write_text(f"{cpu % 4}\n")
    assert [card.cores for card in cpu_cards(4, cores=range(8), root=tmp_path)] == [(0, 4), (1, 5), (2, 6), (3, 7)]


@given(st.lists(st.integers(0, 255), min_size=1, max_size=64, unique=True), st.integers(1, 80))
def test_cores_are_dealt_evenly_and_none_is_lost_or_given_twice_unless_there_are_too_few(cores, count):
    cards = cpu_cards(count, cores=cores, root="/nowhere")
    assert [card.index for card in cards] == list(range(count))
    dealt = [core for card in cards for core in card.cores]
    sizes = [len(card.cores) for card in cards]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1
    assert set(dealt) == set(cores)
    assert len(dealt) == max(len(cores), count)


def test_there_are_at_most_eight_cards_by_themselves_and_at_least_two():
    assert [len(cpu_cards(cores=range(n), root="/nowhere")) for n in (1, 2, 5, 8, 64)] == [2, 2, 5, 8, 8]


def test_no_cpu_cards_at_all_is_refused():
    with pytest.raises(BadInput):
        cpu_cards(0)


def test_a_monitor_that_is_missing_or_fails_is_no_answer():
    assert run_monitor(["no-such-monitor-here"]) is None
    assert run_monitor(["false"]) is None
    assert run_monitor(["echo", "hello"]) == "hello\n"
