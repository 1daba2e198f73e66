"""The whole acceptance suite on the simulated device. What it doesn't hold yet is named here, with who could mend it."""

import os
from pathlib import Path

import pytest

from forebay.porting.accept.suite import AREAS, run
from forebay.porting.shim import load
from forebay.porting.shim.build import build
from forebay.porting.shim.carrier import Carrier

NOT_YET = {
    "a_tensor_of_the_card_is_shared_with_a_child": "a card's memory is its process's own: there is no CUDA IPC",
    "a_model_of_the_card_is_an_argument_of_a_process": "the same",
    "cuda_is_an_activity_that_can_be_profiled": "torch's profiler is compiled with or without it",
    "the_time_on_the_card_is_counted": "the same",
    "memory_is_profiled": "the allocator doesn't report to the profiler",
    "ranges_of_nvtx_nest": "emit_nvtx asks for a CUDA build",
    "a_stream_has_a_device_and_a_priority": "streams keep no priority",
    "a_generator_counts_its_offset": "the generator is the host's, not Philox",
}


@pytest.fixture(scope="session")
def carried():
    place = os.environ.get("FOREBAY_TEST_SHIM_CACHE")
    cache = Path(place) if place else Path.home() / ".cache" / "forebay" / "shim"
    carrier = Carrier("simulated", "for the tests", build(cache))
    return {**os.environ, **load.child_environment(carrier, 2), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("area", AREAS)
def test_what_is_true_of_a_card_is_true_of_the_simulated_device(carried, area):
    found = run(areas=[area], environment=carried)
    assert {v.sentence: v.detail for v in found if v.verdict == "fail" and v.sentence not in NOT_YET} == {}
