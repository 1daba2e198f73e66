"""What was run on a chip is kept, and said in words."""

from forebay.porting.proof import NEVER, Proof, keep, kept

RUN = Proof(
    adapter="npu",
    date="2026-11-22",
    on_card=True,
    driver="25.2.0",
    torch="2.13.0",
    plugin="torch-npu 2.13.0",
    passed=250,
    told=259,
    areas=("identity",),
)


def test_a_proof_is_kept_and_read_again(tmp_path):
    keep(RUN, tmp_path / "proofs")
    assert kept("npu", tmp_path / "proofs") == RUN


def test_a_chip_that_was_never_run_has_none(tmp_path):
    assert kept("mlu", tmp_path) is None
    (tmp_path / "mlu.json").write_text("{half a")
    assert kept("mlu", tmp_path) is None


def test_a_run_without_a_card_proves_nothing_of_a_card():
    assert RUN.in_words() == "2026-11-22: driver 25.2.0, torch 2.13.0, 250 of 259 checks"
    assert Proof.from_json({**RUN.to_json(), "on_card": False}).in_words() == NEVER
