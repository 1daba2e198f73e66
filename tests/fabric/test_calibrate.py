"""Calibration, diagnosis and nccl-tests' output, on the published curves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forebay.fabric
from forebay.codec import decode, encode
from forebay.errors import BadInput
from forebay.fabric import nccl_tests
from forebay.fabric.calibrate import LARGE_BYTES, FabricCalibration, calibrate, chosen, error, errors, read, write
from forebay.fabric.curves import Point, Setup, curve, from_records, named
from forebay.fabric.diagnose import diagnose
from forebay.fabric.physics import COLLECTIVES, DEFAULTS, Physics, bus_factor, busbw, seconds
from forebay.units import GB, GIB, MIB

PUBLISHED = json.loads((Path(forebay.fabric.__file__).parent / "data" / "published.json").read_text())
CURVES = from_records(PUBLISHED["collectives"])
HEALTHY = [one for one in CURVES if one.healthy]
SICK = [one for one in CURVES if not one.healthy]
RATE = 50 * GB


def of(physics, sizes=tuple(16 * MIB * 2**i for i in range(11)), *, n_gpus=16, collective="all_reduce", setup=None, name="made"):
    """The curve that a machine of this physics would print."""
    points = [Point(message_bytes=size, busbw_bytes_per_s=busbw(physics, collective, n_gpus, size, RATE)) for size in sizes]
    return curve(points, system=name, collective=collective, n_gpus=n_gpus, setup=setup or Setup())


def at(rates, setup, n_gpus=16, name="made", collective="all_reduce"):
    """A curve of given GB/s, doubling from 64 MiB on."""
    points = [Point(message_bytes=64 * MIB * 2**i, busbw_bytes_per_s=rate * GB) for i, rate in enumerate(rates)]
    return curve(points, system=name, collective=collective, n_gpus=n_gpus, setup=setup)


# Physics ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "collective, factor", [("all_reduce", 1.75), ("all_gather", 0.875), ("all_to_all", 0.875), ("sendrecv", 1)]
)
def test_busbw_counts_as_nccl_tests_does(collective, factor):
    assert bus_factor(collective, 8) == factor


def test_a_ring_all_reduce_takes_its_rounds_and_its_bytes():
    plain = Physics(message_s=1e-6, hop_s=0.5e-6, launch_s=5e-6)
    assert seconds(plain, "all_reduce", 8, GB, RATE) == pytest.approx(5e-6 + 14 * 2e-6 + 1.75 * GB / RATE, rel=1e-12)
    assert seconds(plain, "all_reduce", 8, GB, RATE, algorithm="in-switch") == pytest.approx(
        5e-6 + 2 * 2e-6 + 1.75 * GB / RATE, rel=1e-12
    )


sane = st.builds(
    Physics,
    efficiency=st.floats(0.1, 1.1),
    message_s=st.floats(1e-7, 1e-4),
    hop_s=st.floats(0, 1e-5),
    launch_s=st.floats(0, 1e-4),
    fill=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)


@given(sane, st.sampled_from(COLLECTIVES), st.integers(2, 1024), st.integers(1, 2**34))
def test_more_bytes_take_longer_and_give_more_bandwidth_but_never_more_than_the_link_gives(physics, collective, n, size):
    assert seconds(physics, collective, n, 2 * size, RATE) > seconds(physics, collective, n, size, RATE)
    small, large = (busbw(physics, collective, n, bytes_, RATE) for bytes_ in (size, 2 * size))
    assert small <= large * (1 + 1e-12) <= physics.efficiency * RATE * (1 + 1e-9)


# Calibration ------------------------------------------------------------------------------------------------------------------


def test_of_the_published_curves_the_other_points_are_met_within_the_bars():
    fitted = [calibrate(one) for one in HEALTHY if one.kind != "simulated"]
    large = [off for one in fitted for off in errors(one, LARGE_BYTES, 2**62)]
    every = [off for one in fitted for off in errors(one)]
    assert len(large) >= 60 and len(every) >= 100
    assert median(large) < 0.05
    assert median(every) < 0.15
    # No bars, but what they would hide: the measured curves by themselves, and nine of ten points.
    assert median(off for one, fit in zip(HEALTHY, map(calibrate, HEALTHY), strict=True) if one.kind == "measured"
                  for off in errors(fit)) < 0.05  # fmt: skip
    assert sorted(every)[int(0.9 * len(every))] < 0.20


@pytest.mark.parametrize("one", [one for one in HEALTHY if len(one.points) > 3], ids=lambda one: one.system)
def test_at_most_three_points_are_used_and_no_system_is_missed_by_far(one):
    fitted = calibrate(one)
    assert sum(miss.used for miss in fitted.misses) == 3
    assert error(fitted) < 0.20
    assert (
        0 <= fitted.physics.fill <= 1
        and fitted.physics.message_s >= 0
        and fitted.physics.hop_s >= 0
        and fitted.physics.efficiency > 0
    )


def test_the_points_are_chosen_by_their_sizes_alone():
    sizes = [8, MIB, 16 * MIB, 64 * MIB, 512 * MIB, GIB, 16 * GIB, 32 * GIB]
    points = tuple(Point(message_bytes=size, busbw_bytes_per_s=1.0) for size in sizes)
    assert [one.message_bytes for one in chosen(points)] == [16 * MIB, 512 * MIB, 16 * GIB]
    assert chosen(points[:2]) == points[:2]


def fit_of(physics, n_gpus=16):
    return calibrate(of(physics, n_gpus=n_gpus), link_bytes_per_s=RATE).physics


@given(st.floats(0.3, 1.1), st.floats(1e-6, 5e-5), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_a_curve_of_known_physics_gives_it_back(efficiency, hop_s, fill):
    found = fit_of(Physics(efficiency=efficiency, message_s=hop_s, fill=fill))
    truth = Physics(efficiency=efficiency, message_s=hop_s, fill=fill)
    for size in (16 * MIB, 100 * MIB, GIB, 10 * GIB):
        expected = busbw(truth, "all_reduce", 16, size, RATE)
        assert busbw(found, "all_reduce", 16, size, RATE) == pytest.approx(expected, rel=2e-3)


def test_one_odd_point_among_the_three_doesnt_bend_the_curve():
    clean = of(Physics(efficiency=0.9, message_s=2e-5))
    sizes = [one.message_bytes for one in clean.points]
    assert 512 * MIB in sizes
    odd = {512 * MIB: 0.5}
    points = [replace(one, busbw_bytes_per_s=one.busbw_bytes_per_s * odd.get(one.message_bytes, 1.0)) for one in clean.points]
    bent = curve(points, system="bent", collective="all_reduce", n_gpus=16)
    assert error(calibrate(bent)) < 0.10  # the fill gives a little towards the odd one


def test_what_is_fitted_at_one_number_of_cards_says_much_of_four_times_as_many():
    # No bar: rings over NICs in SimAI's table, each predicted from the one with a quarter or half of its cards.
    rings = {one["system"] for one in PUBLISHED["collectives"] if "over NICs" in one["collective"]}
    table = {one.n_gpus: one for one in HEALTHY if one.system in rings and one.hosts > 1}
    off = []
    for n, other in table.items():
        for times in (2, 4):
            if n // times in table:
                physics = calibrate(table[n // times], link_bytes_per_s=RATE).physics
                off += [
                    abs(busbw(physics, other.collective, n, one.message_bytes, RATE) / one.busbw_bytes_per_s - 1)
                    for one in other.points
                ]
    assert len(off) >= 40
    assert median(off) < 0.15


@pytest.mark.parametrize("one", SICK, ids=lambda one: one.system)
def test_a_sick_system_isnt_fitted(one):
    with pytest.raises(BadInput, match="sick"):
        calibrate(one)


def test_a_single_point_gives_the_efficiency_and_leaves_the_rest_to_the_base():
    base = DEFAULTS["infiniband"]
    one = calibrate(of(replace(base, efficiency=0.8), sizes=(GIB,)), link_bytes_per_s=RATE, base=base)
    assert one.physics.efficiency == pytest.approx(0.8, rel=1e-6)
    assert (one.physics.message_s, one.physics.hop_s) == pytest.approx((1.9e-6, 0.45e-6))


def test_the_links_of_a_round_keep_the_bases_latency_and_the_ends_take_the_rest():
    truth = Physics(efficiency=0.9, message_s=20e-6, hop_s=0.45e-6)
    physics = calibrate(of(truth), link_bytes_per_s=RATE).physics
    assert physics.hop_s == 0.45e-6
    assert physics.message_s == pytest.approx(20e-6, rel=0.02)


def test_a_calibration_is_a_dated_file(tmp_path):
    dated = curve(
        of(Physics(efficiency=0.8, message_s=1e-5)).points, system="hall 2", collective="all_reduce", n_gpus=16, date="2026-11-30"
    )
    fitted = calibrate(dated, link_bytes_per_s=RATE)
    write(fitted, tmp_path / "hall-2.json")
    assert read(tmp_path / "hall-2.json") == fitted
    assert decode(FabricCalibration, encode(fitted)) == fitted
    with pytest.raises(BadInput, match="day"):
        write(calibrate(HEALTHY[0]), tmp_path / "undated.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        read(tmp_path / "broken.json")


def test_a_curve_that_cant_be_is_refused():
    with pytest.raises(BadInput, match="above zero"):
        curve([Point(message_bytes=1, busbw_bytes_per_s=-1.0)], system="x", collective="all_reduce", n_gpus=2)
    with pytest.raises(BadInput, match="twice"):
        curve([Point(message_bytes=1, busbw_bytes_per_s=1.0)] * 2, system="x", collective="all_reduce", n_gpus=2)
    with pytest.raises(BadInput, match="no point"):
        calibrate(curve([], system="x", collective="all_reduce", n_gpus=2))
    with pytest.raises(BadInput, match="two cards or more"):
        calibrate(of(Physics(), n_gpus=2).__class__(
            system="x", collective="all_reduce", n_gpus=1, points=(Point(message_bytes=1, busbw_bytes_per_s=1.0),)))  # fmt: skip


# Diagnosis --------------------------------------------------------------------------------------------------------------------


def family(one):
    return [other for other in CURVES if other.source == one.source and other.kind == "measured"]


@pytest.mark.parametrize("one", SICK, ids=lambda one: one.system)
def test_records_that_are_marked_sick_are_called_sick(one):
    said = diagnose(one, family(one))
    assert said.verdict == "sick"
    assert said.share < 0.62
    assert all(finding.evidence and finding.check for finding in said.findings)
    assert "likely" in str(said)


@pytest.mark.parametrize("one", HEALTHY, ids=lambda one: one.system)
def test_records_that_arent_are_not(one):
    assert diagnose(one, family(one)).verdict in ("healthy", "too small to tell")


def kinds(one, others=()):
    return [finding.kind for finding in diagnose(one, others).findings]


TWO_HOSTS = Setup(cards_per_host=8, nics_per_host=8, nic_bytes_per_s=RATE, scale_up_bytes_per_s=450 * GB)


@pytest.mark.parametrize(
    "rates, kind",
    [
        ([44, 46, 47, 46, 47, 47, 47], "single NIC"),
        ([141, 143, 144, 143, 144, 144, 144], "few NICs"),
        ([150, 155, 154, 156, 155, 155, 155], "no GPUDirect"),  # 3.3 NICs as a ring, 1.8 as a tree: no whole number
    ],
)
def test_a_flat_cap_tells_how_many_nics_work(rates, kind):
    said = diagnose(at(rates, TWO_HOSTS))
    assert said.verdict == "sick"
    assert said.findings[0].kind == kind
    assert "flat from 64 MiB on" in said.findings[0].evidence


def test_a_pair_that_uses_all_its_nics_isnt_said_to_use_some():
    rings = Setup(**{**encode(TWO_HOSTS), "nics_per_host": 4, "algorithm": "ring", "scale_up_bytes_per_s": 0.0})
    assert diagnose(at([190, 191, 190, 191, 190], rings)).verdict == "healthy"
    three = Setup(**{**encode(TWO_HOSTS), "nics_per_host": 3, "scale_up_bytes_per_s": 0.0})
    assert [finding.kind for finding in diagnose(at([140, 142, 143, 142, 143], three)).findings] == ["no GPUDirect"]


def test_a_forced_ring_is_named_first():
    assert kinds(at([88, 89, 88, 89, 88], Setup(**{**encode(TWO_HOSTS), "algorithm": "ring"})))[0] == "forced ring"


def test_a_host_whose_switch_doesnt_add_is_healthy_and_told():
    host = Setup(cards_per_host=8, scale_up_bytes_per_s=450 * GB, in_switch=True)
    said = diagnose(at([300, 340, 360, 365, 370], host, n_gpus=8))  # 370 without NVLS: NVIDIA/nccl-tests issue 212
    assert said.verdict == "healthy"
    assert [finding.kind for finding in said.findings] == ["no in-switch reduction"]
    assert kinds(at([380, 410, 440, 465, 473], host, n_gpus=8)) == []


def test_cards_that_dont_use_their_links_are_found_within_a_host():
    host = Setup(cards_per_host=8, scale_up_bytes_per_s=450 * GB, in_switch=True)
    assert "scale-up" in kinds(at([20, 21, 22, 22, 22], host, n_gpus=8))


def test_rounds_that_start_late_are_found():
    assert kinds(of(Physics(efficiency=0.94, message_s=1e-3), n_gpus=64)) == ["latency"]
    assert kinds(of(Physics(efficiency=0.94, message_s=35e-6), n_gpus=1024)) == []


def test_a_dip_at_one_size_is_told_and_is_no_sickness():
    said = diagnose(at([200, 280, 340, 280, 500, 550, 600], Setup()))
    assert said.verdict == "healthy"
    assert [finding.kind for finding in said.findings] == ["dip"]
    assert "512 MiB" in said.findings[0].evidence


def test_a_bandwidth_that_falls_with_hosts_is_found_in_the_family():
    def hosts(n, rate):
        return at([rate] * 5, TWO_HOSTS, n_gpus=8 * n, name=f"{n} hosts")

    assert "falls with hosts" in kinds(
        hosts(4, 290), [hosts(2, 450)]
    )  # the NICs allow 450 on two hosts, bound by the host, and 516 on four
    assert "falls with hosts" not in kinds(hosts(4, 440), [hosts(2, 450)])


def test_small_messages_say_nothing_of_a_ceiling():
    tiny = curve(
        [Point(message_bytes=8 * MIB, busbw_bytes_per_s=9 * GB)], system="x", collective="all_reduce", n_gpus=16, setup=TWO_HOSTS
    )
    assert diagnose(tiny).verdict == "too small to tell"


# nccl-tests -------------------------------------------------------------------------------------------------------------------

OUTPUT = (Path(__file__).parent / "outputs" / "all_reduce_perf.txt").read_text()


def test_the_output_of_nccl_tests_is_read_as_it_is():
    run = nccl_tests.parse(OUTPUT)
    assert (run.collective, run.n_gpus, run.hosts, run.gpu) == ("all_reduce", 8, 1, "NVIDIA H100 80GB HBM3")
    assert [row.busbw_bytes_per_s / GB for row in run.out_of_place] == [0.0, 382.99, 412.35, 465.25, 473.6]
    assert run.in_place[-1].busbw_bytes_per_s == 473.55 * GB
    assert run.average_bytes_per_s == 433.324 * GB
    measured = nccl_tests.to_curve(run, "dgx01", date="2026-11-30")
    assert [point.message_bytes for point in measured.points] == [128 * MIB, 256 * MIB, GIB, 4 * GIB]
    assert measured.setup.cards_per_host == 8
    assert error(calibrate(measured)) < 0.05


def test_prefixes_of_mpirun_and_srun_and_repeated_headings_are_passed_over():
    plain = nccl_tests.parse(OUTPUT)
    assert nccl_tests.parse("".join(f"[1,0]<stdout>:{line}\n" for line in OUTPUT.splitlines())) == plain
    assert nccl_tests.parse("".join(f"0: {line}\n" for line in OUTPUT.splitlines())) == plain
    heads = [line for line in OUTPUT.splitlines() if line.startswith("#") and "Avg" not in line]
    assert nccl_tests.parse("\n".join(heads) + "\n" + OUTPUT) == plain


def test_older_and_newer_columns_are_read_by_their_headings():
    old = """#       size         count    type   redop     time   algbw   busbw  error     time   algbw   busbw  error
  1073741824     268435456   float     sum   4038.8  265.86  465.25  2e-07   4041.0  265.71  465.00  2e-07
"""
    run = nccl_tests.parse(old)
    assert (run.out_of_place[0].busbw_bytes_per_s, run.out_of_place[0].wrong, run.collective) == (465.25 * GB, 0, "")
    assert nccl_tests.to_curve(run, "x", collective="all_reduce", n_gpus=8).points[0].message_bytes == GIB
    new = old.replace("redop ", "redop root").replace("sum ", "sum  -1") + "# Collective test starting: alltoall_perf\n"
    assert nccl_tests.parse(new).collective == "all_to_all"


def test_a_size_that_was_run_several_times_gets_the_median():
    row = "  1073741824     268435456     float     sum      -1   4038.8  265.86  {}      0   4041.0  265.71  465.00      0\n"
    run = nccl_tests.parse(OUTPUT + row.format("460.00") + row.format("100.00"))
    assert nccl_tests.to_curve(run, "x").points[2].busbw_bytes_per_s == 460.0 * GB


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "no row"),
        ("hello\n# nothing\n", "no row"),
        ("dgx01: Test NCCL failure common.cu:958 'unhandled system error'\n", "line 1: .*unhandled system error"),
        (OUTPUT.replace("  465.25      0", "  465.25"), "line 22: 12 values under 13 headings"),
        (OUTPUT.replace("465.25", "4x5.25"), "line 22: could not convert"),
        (OUTPUT.replace("#       size", "#       bytes"), "line 18: a row without the headings"),
    ],
)
def test_an_output_that_is_broken_gets_one_error(text, says):
    with pytest.raises(BadInput, match=says):
        nccl_tests.parse(text)


def test_wrong_results_measure_nothing_and_what_isnt_said_must_be():
    with pytest.raises(BadInput, match="3 values out of bounds"):
        nccl_tests.to_curve(nccl_tests.parse(OUTPUT.replace("473.60      0", "473.60      3")), "x")
    bare = "\n".join(line for line in OUTPUT.splitlines() if "Rank" not in line)
    with pytest.raises(BadInput, match="doesn't say the collective"):
        nccl_tests.to_curve(nccl_tests.parse(bare), "x")


def test_collectives_are_known_by_the_names_that_people_write():
    texts = [
        "AllReduce",
        "all_reduce (DP group of 32 ranks)",
        "alltoall_perf",
        "all_gather / reduce_scatter over NICs",
        "sendrecv_perf",
    ]
    assert [named(text) for text in texts] == ["all_reduce", "all_reduce", "all_to_all", "all_gather", "sendrecv"]
    with pytest.raises(BadInput, match="No collective"):
        named("training step")


def test_of_a_size_that_records_have_twice_the_median_counts():
    record = {"system": "S", "kind": "measured", "collective": "all_reduce", "n_gpus": 8, "gpu": "H100", "network": "one node"}
    rows = [(2**20, 10.0), (2**30, 300.0), (2**30, 310.0), (2**30, 380.0)]
    (one,) = from_records([{**record, "source": "ours", "message_bytes": size, "busbw_GBps": found} for size, found in rows])
    assert [(point.message_bytes, point.busbw_bytes_per_s) for point in one.points] == [(2**20, 10 * GB), (2**30, 310 * GB)]
