"""From what Ray says to nodes, cards and states; and from a run to what is asked of Ray. No Ray is needed."""

from __future__ import annotations

import pytest

from forebay.centre.ray import group, look, view
from forebay.centre.ray.view import Host
from forebay.centre.settings import Grown, RaySettings, Settings
from forebay.centre.spec import Share, Spec
from forebay.chips.node import Condition
from forebay.errors import BadInput

NPU = RaySettings(chips={"NPU": "ascend-910b"})
GROWS = RaySettings(chips={"NPU": "ascend-910b"}, grows={"npus": Grown(chip="ascend-910b", cards=8, most=2)})


def host(name: str, **more: object) -> Host:
    given = {"id": f"{name}-id-000", "ip": f"10.0.0.{ord(name[-1])}", "resources": {"NPU": 8.0, "CPU": 64.0}, **more}
    return Host(name=name, **given)  # type: ignore[arg-type]


def spec(*shares: Share, name: str = "j-1", chip: str = "ascend-910b") -> Spec:
    return Spec(name=name, job="j", organisation="acme", chip=chip, shares=shares, bundle="0" * 64, entry="main.py")


def states(told: RaySettings, *hosts: Host, runs: dict[str, Spec] | None = None, placed: tuple[str, ...] = (), away: str = ""):
    return {state.name: state for state in view.states(view.places(hosts, told), hosts, told, runs or {}, placed, away)}


def names(told: RaySettings, *hosts: Host) -> list[str]:
    return [node.name for node in view.nodes(view.places(hosts, told))]


# Nodes.


def test_a_resource_that_is_a_chip_makes_a_node():
    (node,) = view.nodes(view.places([host("a1"), host("c1", resources={"CPU": 8.0})], NPU))
    assert (node.name, node.chip, len(node.cards), node.counted, node.address) == ("a1", "ascend-910b", 8, True, "10.0.0.49")


def test_a_host_with_two_kinds_of_chips_is_two_nodes():
    told = RaySettings(chips={"NPU": "ascend-910b", "mlu": "mlu370-x4"})
    assert names(told, host("x1", resources={"NPU": 8, "mlu": 4})) == ["x1-ascend-910b", "x1-mlu370-x4"]


def test_one_resource_is_another_chip_by_rays_type_of_accelerator_or_by_the_operators_label():
    told = RaySettings(chips={"GPU:H100": "h100-sxm", "GPU:A100": "a100-80gb-sxm", "NPU": "ascend-910b"})
    typed = host("g1", resources={"GPU": 8.0, "accelerator_type:H100": 1.0})
    labelled = host("g2", resources={"GPU": 4.0}, labels={view.TYPE_LABEL: "A100"})
    ours = host("a3", labels={view.CHIP_LABEL: "ascend-910c"})
    found = {node.name: node.chip for node in view.nodes(view.places([typed, labelled, ours], told))}
    assert found == {"a3": "ascend-910c", "g1": "h100-sxm", "g2": "a100-80gb-sxm"}


def test_nodes_of_one_name_are_told_apart():
    assert names(NPU, host("a", id="aaaaaa1"), host("a", id="bbbbbb1")) == ["a-aaaaaa", "a-bbbbbb"]


def test_a_node_that_died_stays_as_down_and_one_that_was_let_go_leaves():
    died = host("a1", alive=False, reason="health check failed")
    gone = host("a2", alive=False, expected=True)
    told = states(NPU, died, gone)
    assert {name: (state.condition, state.reason) for name, state in told.items()} == {
        "a1": (Condition.DOWN, "health check failed")
    }


def test_a_node_that_is_back_is_up_whatever_is_remembered_of_its_former_self():
    told = states(NPU, host("a1", id="old", alive=False, reason="gone"), host("a1", id="new"))
    assert told["a1"].condition is Condition.UP


def test_what_a_dead_node_had_is_known_from_before():
    (dead,) = view.remembering([host("a1", alive=False, resources={})], [host("a1")])
    assert dead.resources["NPU"] == 8


def test_nobody_can_be_asked_while_the_head_is_away():
    told = states(NPU, host("a1"), away="The head doesn't answer.")
    assert (told["a1"].condition, told["a1"].reason) == (Condition.DOWN, "The head doesn't answer.")


# Cards that others hold.


def test_what_is_used_and_not_ours_is_busy_among_cards_that_no_run_of_ours_claims():
    used = host("a1", used={"NPU": 5.0})
    ours = {"j-1": spec(Share(node="a1", cards=(5, 6, 7)))}
    assert states(NPU, used, runs=ours, placed=("j-1",))["a1"].busy == (3, 4)
    assert states(NPU, used, runs=ours)["a1"].busy == (0, 1, 2, 3, 4)  # ours waits, so others hold all five
    assert states(NPU, used)["a1"].busy == (3, 4, 5, 6, 7)


def test_a_part_of_a_card_is_a_busy_card_and_nothing_known_is_none():
    assert states(NPU, host("a1", used={"NPU": 0.5}))["a1"].busy == (7,)
    assert states(NPU, host("a1", used=None))["a1"].busy == ()


def test_older_figures_never_make_more_cards_busy_than_there_are():
    ours = {"j-1": spec(Share(node="a1", cards=tuple(range(8))))}
    assert states(NPU, host("a1", used={"NPU": 8.0}), runs=ours)["a1"].busy == ()
    assert states(NPU, host("a1", used={"NPU": 0.0}), runs=ours, placed=("j-1",))["a1"].busy == ()


# What the autoscaler brings.


def test_nodes_that_can_be_brought_stand_there_before_they_come_and_are_not_listed_twice():
    assert names(GROWS) == names(GROWS, host("10.0.0.9")) == ["npus-1", "npus-2"]
    assert names(GROWS, host("small", resources={"NPU": 4.0})) == ["npus-1", "npus-2", "small"]


def test_what_others_hold_of_nodes_that_came_is_spread_over_their_kind():
    told = states(GROWS, host("x", used={"NPU": 8.0}), host("y", used={"NPU": 3.0}))
    assert (len(told["npus-1"].busy), len(told["npus-2"].busy)) == (8, 3)


# What is asked of Ray.


def asked(told: RaySettings, hosts: list[Host], *shares: Share) -> group.Group:
    return group.group(spec(*shares), "t-1", view.places(hosts, told), hosts, told)


def test_a_group_has_a_bundle_a_share_on_the_node_that_was_chosen():
    found = asked(NPU, [host("a1"), host("a2")], Share(node="a1", cards=(0, 1)), Share(node="a2", cards=(4,)))
    assert (found.name, found.strategy) == ("t-1/j-1", "STRICT_SPREAD")
    assert [bundle.resources for bundle in found.bundles] == [
        {"NPU": 2.0, "CPU": 2.0, "node:10.0.0.49": 0.001},
        {"NPU": 1.0, "CPU": 1.0, "node:10.0.0.50": 0.001},
    ]
    assert found.bundles[0].options == {"num_cpus": 2.0, "resources": {"NPU": 2.0}}


def test_gpus_and_cores_are_asked_for_in_rays_own_words():
    told = RaySettings(chips={"GPU": "h100-sxm", "CPU": "cpu"}, cpus_per_card=4)
    hosts = [host("g1", resources={"GPU": 8.0, "CPU": 64.0}), host("c2", resources={"CPU": 64.0})]
    (gpus,) = asked(told, hosts, Share(node="g1", cards=(0, 1))).bundles
    (cores,) = asked(told, hosts, Share(node="c2", cards=(0, 1, 2))).bundles
    assert gpus.options == {"num_cpus": 8.0, "num_gpus": 2}
    assert (cores.options, cores.resources["CPU"]) == ({"num_cpus": 3.0}, 3.0)


def test_a_node_that_has_to_be_brought_is_not_pinned():
    (bundle,) = asked(GROWS, [], Share(node="npus-2", cards=tuple(range(8)))).bundles
    assert (bundle.pin, bundle.labels, bundle.resources) == ("", {}, {"NPU": 8.0, "CPU": 8.0})


def test_nodes_that_share_an_address_are_pinned_by_their_ids():
    hosts = [host("a1", ip="10.0.0.1"), host("a2", ip="10.0.0.1")]
    (bundle,) = asked(NPU, hosts, Share(node="a2", cards=(0,))).bundles
    assert (bundle.pin, bundle.labels) == ("", {"ray.io/node-id": "a2-id-000"})


def test_a_node_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="doesn't have") as caught:
        asked(NPU, [host("a1")], Share(node="a9", cards=(0,)))
    assert (caught.value.asked, caught.value.found) == ("a9", "a1")


def test_why_a_group_waits_is_said_in_rays_words_and_in_plain_ones():
    assert group.waiting("PENDING", "NO_RESOURCES") == "Ray: NO_RESOURCES: others hold the cards that it needs."
    assert group.waiting("PENDING", "NEW_WORD") == "Ray: NEW_WORD: it waits."


# How Ray says it.


def test_a_drivers_listing_and_a_dashboards_say_the_same():
    listed = {
        "NodeID": "f00",
        "NodeManagerAddress": "10.0.0.1",
        "NodeName": "a1",
        "NodeManagerPort": 4000,
        "Alive": True,
        "DeathReason": 0,
        "DeathReasonMessage": "",
        "Resources": {"npu_910b": 8.0, "CPU": 4.0},
        "Labels": {"rack": "r1"},
    }
    (driver,) = view.from_driver([listed], {"f00": {"npu_910b": 6.0, "CPU": 4.0}})
    nodes = {
        "data": {
            "result": {
                "result": [
                    {
                        "node_id": "f00",
                        "node_ip": "10.0.0.1",
                        "node_name": "a1",
                        "state": "ALIVE",
                        "state_message": None,
                        "resources_total": {"npu_910b": 8.0, "CPU": 4.0},
                        "labels": {"rack": "r1"},
                    }
                ]
            }
        }
    }
    usage = {"f00": {"npu910B": [2.0, 8.0], "CPU": [0.0, 4.0]}}
    status = {"data": {"clusterStatus": {"loadMetricsReport": {"usageByNode": usage}}}}
    (dashboard,) = view.from_dashboard(nodes, status)
    assert driver.used == dashboard.used == {"npu_910b": 2.0, "CPU": 0.0}
    assert (driver.id, driver.name, driver.resources) == (dashboard.id, dashboard.name, dashboard.resources)
    assert view.from_dashboard(nodes, {})[0].used is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Expected termination: received SIGTERM", True),
        ("Termination of node that's idle.", True),
        ("Unexpected termination: health check failed due to missing too many heartbeats", False),
        ("health check failed due to missing too many heartbeats", False),
        (None, False),
    ],
)
def test_an_end_that_was_wanted_is_told_from_one_that_was_not(message, expected):
    node = {"node_id": "f", "node_ip": "10.0.0.1", "state": "DEAD", "state_message": message}
    (found,) = view.from_dashboard({"data": {"result": {"result": [node]}}}, {})
    assert found.expected is expected


# Somebody is about to join.


def test_names_that_can_be_only_one_chip_are_known_and_of_others_a_person_is_asked():
    hosts = (
        host("m1", resources={"mlu370-x4": 4.0, "CPU": 8.0, "memory": 1e9, "node:10.0.0.1": 1.0}),
        host("a1", resources={"NPU": 8.0}),
        host("a2", resources={"NPU": 8.0}, labels={view.CHIP_LABEL: "ascend-910c"}),
    )
    found = look.found(hosts[:2], Settings(engine="ray"))
    assert (dict(found.chips), [node.name for node in found.nodes]) == ({"mlu370-x4": "mlu370-x4"}, ["m1"])
    assert [(one.resource, one.question) for one in found.unsure] == [("NPU", "Which chip is Ray's resource NPU (on a1)?")]
    assert "ascend-910b" in found.unsure[0].candidates
    assert look.found(hosts[2:], Settings(engine="ray")).chips == {"NPU": "ascend-910c"}


def test_what_a_person_has_said_is_not_asked_again():
    told = Settings(engine="ray", ray=RaySettings(chips={"NPU": "ascend-910b"}))
    found = look.found((host("a1"),), told)
    assert (found.unsure, [node.name for node in found.nodes]) == ((), ["a1"])
