"""Certify on a chip that is right and on one that is wrong in known ways: every way has its word."""

import pytest

from forebay.porting.certify.verdict import Word

pytestmark = pytest.mark.timeout(120)

FAKE = ("--device", "fakechip", "--carrier", "fakechip", "--jobs", "1")
BROKEN = {
    "erf": Word.WRONG,
    "sinh": Word.WRONG,
    "expm1": Word.BASIC,
    "log1p": Word.NONDETERMINISTIC,
    "digamma": Word.HOST_FALLBACK,
    "lgamma": Word.ERROR,
    "erfinv": Word.CRASH,
    "exp2": Word.STRICT,
}


@pytest.fixture(scope="module")
def broken(certify, tmp_path_factory):
    asked = [word for name in (*BROKEN, "i0") for word in ("--only", name)]
    words = ("--import", "brokenchip", "--formats", "float32,bfloat16", "--patience", "4", *asked)
    return certify(tmp_path_factory.mktemp("broken"), *FAKE, *words)


def words_of(run, operator, form="float32", direction="forward"):
    return [v for v in run.verdicts if (v.operator, v.format, v.direction) == (operator, form, direction)]


@pytest.mark.parametrize("operator", BROKEN)
def test_each_fault_has_its_word(broken, operator):
    run, code, told = broken
    assert code == 0, told
    (verdict,) = words_of(run, operator)
    assert verdict.word is BROKEN[operator], verdict


def test_a_crash_and_a_hang_cost_their_own_verdicts_and_no_other(broken):
    run, _, _ = broken
    cases = [verdict.case for verdict in run.verdicts]
    assert run.whole
    assert len(set(cases)) == len(cases)
    (crash,) = words_of(run, "erfinv")
    assert "SIGSEGV" in crash.detail
    (hang,) = words_of(run, "i0", "bfloat16")
    assert (hang.word, hang.detail) == (Word.TIMEOUT, "silent for 4 s")
    assert words_of(run, "i0", "float32")[0].word is Word.STRICT


def test_a_hundredth_too_much_is_told_in_units_of_rounding(broken):
    (verdict,) = words_of(broken[0], "sinh", "float32")
    assert verdict.error > 0.005 / 2**-23
    assert "beyond torch's tolerance" in verdict.detail


def test_a_silent_copy_to_the_host_is_counted_in_bytes(broken):
    (verdict,) = words_of(broken[0], "digamma")
    assert verdict.host_bytes > 0
    assert "copied to the host" in verdict.detail
    (clean,) = words_of(broken[0], "exp2")
    assert clean.host_bytes == 0


def test_a_forward_fault_is_no_backward_fault(broken):
    (verdict,) = words_of(broken[0], "sinh", direction="backward")
    assert verdict.word is Word.STRICT  # its gradient is cosh


@pytest.fixture(scope="module")
def host(certify, tmp_path_factory):
    names = ("add", "matmul", "softmax", "nn.functional.dropout", "empty", "bitwise_and")
    asked = [word for name in names for word in ("--only", name)]
    formats = ("--formats", "float32,bfloat16,int64")
    return certify(tmp_path_factory.mktemp("host"), "--device", "cpu", "--jobs", "1", *formats, *asked)


def test_the_reference_chip_is_strict_against_itself(host):
    run, code, told = host
    assert code == 0, told
    assert [verdict for verdict in run.verdicts if verdict.word is not Word.STRICT] == []
    assert run.whole


def test_its_own_errors_are_those_of_a_processor(host):
    (product,) = words_of(host[0], "matmul", "bfloat16")
    assert 0.3 < product.reference_error < 2
    assert product.error == product.reference_error
    (backward,) = words_of(host[0], "softmax", "float32", "backward")
    assert backward.reference_error > 0


def test_what_is_drawn_and_what_is_uninitialised_is_said_to_be(host):
    (dropout,) = words_of(host[0], "nn.functional.dropout")
    assert "distribution" in dropout.detail
    (empty,) = words_of(host[0], "empty")
    assert "shape and format only" in empty.detail


def test_an_operator_without_floating_formats_is_asked_in_whole_numbers(host):
    assert {verdict.format for verdict in host[0].verdicts if verdict.operator == "bitwise_and"} == {"int64"}


def test_an_operator_that_torch_has_not_is_refused_with_the_nearest(certify, tmp_path):
    _, code, told = certify(tmp_path, "--device", "cpu", "--only", "matmull")
    assert code == 3
    assert "matmull" in told
    assert "matmul" in told.split("try:")[1]


def test_a_device_that_is_not_there_is_one_clear_error(certify, tmp_path):
    run, code, told = certify(tmp_path, "--device", "npu", "--import", "no_such_plugin", "--only", "add")
    assert code == 6
    assert "The chip can't be used." in told
    assert "No module named 'no_such_plugin'" in told
    assert run is None  # nothing was written
