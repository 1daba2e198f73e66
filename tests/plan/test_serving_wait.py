"""How long requests wait: laws of the closed loop, and a simulation of engines, request by request, that it is held against."""

import csv
import heapq
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.plan.serving.wait import ROUNDS, Habits, Prompt, alike, apart, flow, queued

easy = settings(deadline=None, max_examples=50)
times = st.floats(1e-3, 1.0)


def one(value):
    return np.full(1, float(value))


def prompt(many, alone, host=0.0):
    return Prompt(lone=one(alone), alone=one(alone), many=one(many), host=one(host))


def simulated(habits, places, inputs, outputs, step, many, alone, alike=False):
    """Mean time to first token and time per token of ROUNDS requests a place, pass by pass.

    Lengths are drawn within a tenth; a request is followed by the next of its place. A pass takes `many` a full prompt and, where
    prompts share it with tokens, a step; one with few tokens takes up to `alone`.
    """
    random, count = np.random.default_rng(0), places * ROUNDS
    width = 0.0 if alike else 0.111
    lengths = random.uniform(1 - width, 1 + width, count) * inputs
    answers = np.maximum(random.uniform(1 - width, 1 + width, count) * outputs, 2).astype(int)
    asked, first, last = np.zeros(count), np.zeros(count), np.zeros(count)
    coming = [(habits.door_s / 2, i) for i in range(places)]
    waiting, running, now, steps, sent = [], [], 0.0, 0, places
    while coming or waiting or running:
        while coming and coming[0][0] <= now:
            _, i = heapq.heappop(coming)
            waiting.append([i, lengths[i]])
        if waiting:
            left, started = habits.pass_tokens - (0 if habits.aside else len(running)), []
            while waiting and left > 0:
                read = min(waiting[0][1], left)
                waiting[0][1] -= read
                left -= read
                if waiting[0][1] <= 0:
                    started.append(waiting.pop(0)[0])
            tokens = habits.pass_tokens - left - (0 if habits.aside else len(running))
            emptiness = max(1 - tokens / 8192, 0.0) / max(1 - inputs / 8192, 1e-9) if inputs < 8192 else 0.0
            now += many * tokens / inputs + (alone - many) * emptiness
            if running and not habits.aside:
                now, steps = now + step, steps + 1
            for i in started:
                first[i] = now + habits.door_s / 2 + step
                heapq.heappush(running, (steps + answers[i] - 1, i))
        elif running:
            ends = running[0][0] - steps
            comes = int(np.ceil((coming[0][0] - now) / step)) if coming else ends
            steps, now = steps + min(ends, max(comes, 1)), now + step * min(ends, max(comes, 1))
        else:
            now = coming[0][0]
        while running and running[0][0] <= steps:
            _, i = heapq.heappop(running)
            last[i] = now + habits.door_s / 2 + step
            if sent < count:
                asked[sent] = now
                heapq.heappush(coming, (now + habits.door_s / 2, sent))
                sent += 1
    return (first - asked).mean(), ((last - first) / (answers - 1)).mean()


@easy
@given(times, times)
def test_who_is_alone_never_waits(served, rest):
    assert queued(one(1), one(served), one(rest))[0] == pytest.approx(0.0, abs=1e-9)


@easy
@given(st.integers(2, 500), times, times)
def test_more_places_wait_longer_and_never_longer_than_all_others_take(places, served, rest):
    now, more = (queued(one(n), one(served), one(rest))[0] for n in (places, places + 1))
    assert now < more
    assert max((places - 1) * served - rest - served, 0.0) <= now <= (places - 1) * served


def test_where_the_server_is_the_bottleneck_the_loop_turns_at_its_pace():
    wait = queued(one(1000), one(0.1), one(5.0))[0]
    assert wait + 0.1 + 5.0 == pytest.approx(1000 * 0.1, rel=0.001)  # a turn of the loop: all are served once


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize(
    "places, inputs, outputs, step, many, alone",
    [
        (4, 1024, 1024, 8e-3, 20e-3, 40e-3),
        (16, 1024, 1024, 8e-3, 20e-3, 40e-3),
        (16, 7000, 900, 12e-3, 140e-3, 145e-3),
        (64, 1024, 1024, 20e-3, 20e-3, 30e-3),
        (64, 7000, 900, 24e-3, 80e-3, 82e-3),
        (64, 1024, 4000, 15e-3, 25e-3, 30e-3),
    ],
)
def test_engines_that_are_simulated_request_by_request_wait_as_long(aside, places, inputs, outputs, step, many, alone):
    habits = Habits(aside=aside)
    true_first, true_token = simulated(habits, places, inputs, outputs, step, many, alone)
    first, stolen = flow(
        habits, prompt(many, alone), one(places), one(inputs), one(outputs), one(step), one(0.0), np.ones(1, dtype=np.int64)
    )
    assert first[0] == pytest.approx(true_first, rel=0.2)
    assert step + stolen[0] / outputs == pytest.approx(true_token, rel=0.08)


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize(
    "places, inputs, outputs, step, many",
    [(16, 4096, 256, 10e-3, 130e-3), (64, 4096, 512, 16e-3, 130e-3), (32, 2048, 256, 9e-3, 50e-3)],
)
def test_requests_of_one_length_go_round_in_a_convoy_or_in_waves(aside, places, inputs, outputs, step, many):
    habits = Habits(aside=aside, alike=True, pass_tokens=16384 if aside else inputs + 1500 + places)
    true_first, true_token = simulated(habits, places, inputs, outputs, step, many, many, alike=True)
    first, stolen = alike(habits, prompt(many, many), one(places), one(inputs), one(step))
    assert first[0] == pytest.approx(true_first, rel=0.3)
    assert step + stolen[0] / outputs == pytest.approx(true_token, rel=0.15)


def given_flow(habits, data=1, places=16, **more):
    ranks = np.full(1, data, dtype=np.int64)
    return flow(habits, prompt(20e-3, 40e-3, **more), one(places), one(1024), one(1024), one(10e-3), one(6e-3), ranks)


def test_who_looks_seldom_keeps_requests_waiting_for_half_of_that():
    often, seldom = (given_flow(Habits(poll_steps=steps))[0][0] for steps in (1, 30))
    assert 14 * 10e-3 < seldom - often < 14 * 10e-3 + 0.05


def test_ranks_that_wait_for_each_other_wait_for_the_last_and_at_most_as_long_as_is_set():
    two, eight, patient = (given_flow(Habits(gather_steps=steps), data)[0][0] for data, steps in ((2, 60), (8, 60), (8, 1e4)))
    assert two < eight < given_flow(Habits(), 8)[0][0] + 60 * 10e-3
    assert patient > eight


def test_a_slow_host_is_shared_by_prompts_that_come_during_its_pass():
    quick, slow = (given_flow(Habits(), host=host)[1][0] for host in (0.0, 0.4))
    assert quick < slow < 15 * 0.4  # fewer than a pass for each of the others


@easy
@given(st.integers(1, 256), st.integers(1, 8), st.sampled_from([1, 2, 4]))
def test_more_readers_never_make_prompts_wait_longer(at_work, workers, data):
    def waited(count):
        ranks, readers = np.full(1, data, dtype=np.int64), np.full(1, count, dtype=np.int64)
        return apart(Habits(), prompt(0.05, 0.06), one(2048), one(at_work), ranks, readers, one(8.0), one(0.01))[0]

    assert waited(workers + 1) <= waited(workers) + 1e-9


def test_tokens_that_are_sent_together_hold_back_the_first():
    ranks = np.ones(1, dtype=np.int64)
    now, held = (
        apart(replace(Habits(), stream_steps=n), prompt(0.05, 0.06), one(2048), one(8), ranks, ranks, one(8.0), one(0.01))[0]
        for n in (1, 30)
    )
    assert held - now == pytest.approx(14 * 0.01)


def test_recipes_that_benchmarks_read_name_each_run_once():
    with (Path(__file__).parents[2] / "benchmarks" / "serving_batches.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = [tuple(value for name, value in row.items() if name != "batch") for row in rows]
    assert len(keys) == len(set(keys)) > 100
    assert all(int(row["batch"]) >= 1 and int(row["requests"]) >= 1 for row in rows)
