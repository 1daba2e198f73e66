"""Several threads on one card, or on several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from forebay.porting.accept.claims import needs_cards


def _in_thread(act: Callable[[], Any]) -> Any:
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(act())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def threads_see_the_cards() -> None:
    found = _in_thread(lambda: (torch.cuda.is_available(), torch.ones(1, device="cuda").device.type))
    assert found == (True, "cuda")


def the_current_card_belongs_to_its_thread() -> None:
    needs_cards(2)
    torch.cuda.set_device(1)
    try:
        assert _in_thread(torch.cuda.current_device) == 0
    finally:
        torch.cuda.set_device(0)


def the_current_stream_belongs_to_its_thread() -> None:
    with torch.cuda.stream(torch.cuda.Stream()):
        assert _in_thread(torch.cuda.current_stream) == torch.cuda.default_stream()


def several_threads_train_at_once() -> None:
    def train() -> float:
        model = nn.Linear(8, 1).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        first = last = 0.0
        for step in range(20):
            loss = (model(torch.ones(4, 8, device="cuda")) - 3).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            last = loss.item()
            first = last if step == 0 else first
        return last - first

    changes: list[float] = []
    threads = [threading.Thread(target=lambda: changes.append(train())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(changes) == 4
    assert max(changes) < 0


def a_graph_made_in_one_thread_is_walked_in_another() -> None:
    x = torch.ones(3, device="cuda", requires_grad=True)
    loss = (x * 2).sum()
    _in_thread(loss.backward)
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2, 2]


def hooks_see_tensors_of_the_card() -> None:
    seen: list[bool] = []
    model = nn.Linear(2, 2).cuda()
    model.weight.register_hook(lambda gradient: seen.append(gradient.is_cuda))
    model.register_full_backward_hook(lambda module, gave, got: seen.append(got[0].is_cuda))
    model.weight.register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad.is_cuda))  # type: ignore[union-attr]
    model(torch.ones(1, 2, device="cuda", requires_grad=True)).sum().backward()
    assert seen == [True] * 3


def the_setting_for_backwards_threads_changes_no_result() -> None:
    for setting in (True, False):
        with torch.autograd.set_multithreading_enabled(setting):
            x = torch.ones(2, device="cuda", requires_grad=True)
            (x * x).sum().backward()
            assert x.grad is not None
            assert x.grad.tolist() == [2, 2]


def data_parallel_splits_a_batch_over_cards() -> None:
    cards = list(range(torch.cuda.device_count()))
    model = nn.DataParallel(nn.Linear(3, 2).cuda(), device_ids=cards)
    result = model(torch.ones(4, 3, device="cuda"))
    result.sum().backward()
    assert (result.shape, result.device.index) == ((4, 2), 0)
    assert model.module.bias.grad.tolist() == [4, 4]


def one_thread_feeds_and_another_computes() -> None:
    import queue

    box: queue.Queue[torch.Tensor | None] = queue.Queue(2)

    def feed() -> None:
        side = torch.cuda.Stream()
        for i in range(5):
            with torch.cuda.stream(side):
                x = torch.full((4,), float(i)).pin_memory().to("cuda", non_blocking=True)
            side.synchronize()
            box.put(x)
        box.put(None)

    thread = threading.Thread(target=feed)
    thread.start()
    sums = [x.sum().item() for x in iter(lambda: box.get(timeout=20), None)]
    thread.join()
    assert sums == [0, 4, 8, 12, 16]
