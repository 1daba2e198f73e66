from hypothesis import given
from hypothesis import strategies as st

from forebay.chips import catalogue
from forebay.chips.roofline import Roofline, roofline

speeds = st.floats(1e9, 1e16)


def test_the_ridge_of_an_h100_is_at_295_flop_per_byte():
    roof = roofline(catalogue.find("h100-sxm"), "bf16")
    assert round(roof.ridge) == 295
    assert roof.attainable(1) == 3350e9
    assert roof.attainable(1000) == 989e12


def test_without_a_source_for_one_roof_there_is_no_roofline():
    assert roofline(catalogue.find("metax-c500"), "bf16") is None  # no bandwidth
    assert roofline(catalogue.find("t4"), "bf16") is None  # no bf16


@given(speeds, speeds, st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_flop_per_byte_is_never_slower_and_never_above_the_peak(peak, rate, one, other):
    roof = Roofline(flop_per_s=peak, memory_bytes_per_s=rate)
    low, high = sorted((one, other))
    assert roof.attainable(low) <= roof.attainable(high) <= peak
