"""What follows from an order for each rank: places and variables, as pure functions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forebay.centre import order
from forebay.centre.order import Order
from forebay.centre.spec import Mount, Share, Spec
from forebay.chips.node import Card, Node
from forebay.codec import decode, encode

NODES = (
    Node(name="a", chip="h100-sxm", cards=tuple(Card(index=i) for i in range(8))),
    Node(name="b", chip="h100-sxm", cards=tuple(Card(index=i) for i in range(8))),
)
SPEC = Spec(
    name="j4k7-3",
    job="j4k7",
    organisation="acme",
    chip="h100-sxm",
    shares=(Share(node="a", cards=(4, 6)), Share(node="b", cards=(0,))),
    bundle="0" * 64,
    entry="train.py",
)
ORDER = Order(
    spec=SPEC,
    home="/home",
    base="/opt/python",
    places=order.places(SPEC, NODES),
    visible_env="CUDA_VISIBLE_DEVICES",
    torch="import",
    shim="/home/shim",
    can_fork=True,
    cookie="c",
)


def shared(wanted: Order = ORDER) -> dict[str, str]:
    return order.shared_environment(wanted, "/home/runs/j4k7-3", "/home/outputs/j4k7", "/opt/bin/python", None)


def test_an_order_survives_a_trip_through_json() -> None:
    assert decode(Order, encode(ORDER)) == ORDER


def test_ranks_count_over_shares_and_see_the_cards_of_their_own() -> None:
    seen = [order.rank_environment(ORDER, place) for place in ORDER.places]
    assert [
        (env["RANK"], env["LOCAL_RANK"], env["GROUP_RANK"], env["LOCAL_WORLD_SIZE"], env["CUDA_VISIBLE_DEVICES"]) for env in seen
    ] == [
        ("0", "0", "0", "2", "4,6"),
        ("1", "1", "0", "2", "4,6"),
        ("2", "0", "1", "1", "0"),
    ]


def test_what_torchrun_sets_is_set() -> None:
    by_the_parent = {"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"}  # job/keeper.py knows the port
    names = {*shared(), *order.rank_environment(ORDER, ORDER.places[0]), *by_the_parent}
    assert names >= {
        *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE"),
        *("ROLE_RANK", "ROLE_WORLD_SIZE", "ROLE_NAME", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
        *("TORCHELASTIC_MAX_RESTARTS", "OMP_NUM_THREADS"),
    }
    assert (shared()["TORCHELASTIC_RESTART_COUNT"], shared()["WORLD_SIZE"]) == ("2", "3")


def test_a_tenants_variable_counts_but_not_where_it_is_the_launchers() -> None:
    mine = {"LR": "0.1", "RANK": "7", "MASTER_ADDR": "evil", "FOREBAY_JOB": "other", "HOME": "/root", "TORCHELASTIC_RUN_ID": "x"}
    env = shared(replace(ORDER, spec=replace(SPEC, env=mine)))
    assert (env["LR"], env["FOREBAY_JOB"], env["HOME"], env["TORCHELASTIC_RUN_ID"]) == (
        "0.1",
        "j4k7",
        "/home/runs/j4k7-3/work",
        "j4k7-3",
    )
    assert "RANK" not in env
    assert "MASTER_ADDR" not in env


def test_a_pretend_rank_has_no_core_no_visible_card_and_one_thread() -> None:
    posed = replace(ORDER, spec=replace(SPEC, pretend=True))
    env = order.rank_environment(posed, posed.places[0])
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert (shared(posed)["FOREBAY_PRETEND"], env["OMP_NUM_THREADS"]) == ("1", "1")


@pytest.mark.parametrize("name, attempt", [("j4k7-1", 1), ("j4k7-12", 12), ("j4k7", 1), ("a-b-2", 2), ("a-0", 1)])
def test_the_attempt_is_in_the_name(name: str, attempt: int) -> None:
    assert order.attempt(name) == attempt


@pytest.mark.parametrize(
    "at, folder", [((), "/w"), (("data/a",), "/w/data"), (("data/a", "data/b"), "/w/data"), (("a", "data/b"), "/w")]
)
def test_the_data_folder_holds_all_data_mounts(at: tuple[str, ...], folder: str) -> None:
    mounts = tuple(Mount(kind="data", source=f"{i}@1", at=place) for i, place in enumerate(at))
    assert order.data_folder(replace(SPEC, mounts=mounts), "/w") == folder


@pytest.mark.parametrize(
    "name, fresh",
    [("LR", False), ("PYTHONPATH", True), ("LD_PRELOAD", True), ("TORCH_LOGS", True), ("PYTORCH_CUDA_ALLOC_CONF", True)],
)
def test_a_variable_that_is_read_on_import_needs_a_fresh_interpreter(name: str, fresh: bool) -> None:
    assert order.needs_fresh(replace(ORDER, spec=replace(SPEC, env={name: "1"}))) is fresh


def test_a_chip_whose_driver_import_touches_is_never_forked() -> None:
    assert order.needs_fresh(replace(ORDER, can_fork=False))
