"""What the identity layer must hold beyond the acceptance suite. Run by run_checks.py under the fake chip, with two cards."""

import copy
import io
import types

import torch
from torch import nn

TRUTH = torch._C.TensorBase.device.__get__


def a_factory_makes_a_tensor_of_the_chip():
    for x in (torch.empty(2, device="cuda"), torch.arange(3, device="cuda:0"), torch.randn(2, device=torch.device("cuda"))):
        assert (x.device, x.is_cuda, TRUTH(x).type) == (torch.device("cuda:0"), True, "fakechip")


def the_second_card_is_another():
    x = torch.ones(2, device="cuda:1")
    assert (x.device.index, TRUTH(x).index, x.to("cuda:0").device.index) == (1, 1, 0)


def moving_to_where_it_is_gives_the_same_tensor():
    x = torch.ones(2, device="cuda")
    assert x.to("cuda") is x and x.cuda() is x and x.to(torch.device("cuda", 0)) is x and x.to("cuda", torch.float32) is x
    assert x.to("cuda", copy=True) is not x
    with torch.inference_mode():
        y = torch.ones(2, device="cuda")
        assert y.to("cuda") is y


def the_chips_own_name_still_works():
    x = torch.ones(2, device="fakechip:1")
    assert x.device == torch.device("cuda:1") and x.to("cuda:1") is x


def code_of_torchs_insides_hears_the_truth():
    inside = types.ModuleType("torch._inductor.anything")
    exec("def where(x):\n    return x.device.type, x.is_cuda", inside.__dict__)
    assert inside.where(torch.ones(1, device="cuda")) == ("fakechip", False)


def code_of_a_library_hears_cuda():
    library = types.ModuleType("somebodys_library")
    exec("def where(x):\n    return x.device.type, x.is_cuda, x.type()", library.__dict__)
    assert library.where(torch.ones(1, device="cuda")) == ("cuda", True, "torch.cuda.FloatTensor")


def a_getter_is_a_descriptor_and_no_python_function():
    assert type(torch.Tensor.device) is type(torch._C.TensorBase.device)
    assert not any(isinstance(value, types.FunctionType) for value in (torch.Tensor.device, torch.Tensor.type, torch.zeros))


def host_tensors_and_subclasses_answer_as_before():
    class Mine(torch.Tensor):
        pass

    assert (torch.ones(1).device.type, torch.ones(1).is_cuda, torch.ones(1).type()) == ("cpu", False, "torch.FloatTensor")
    assert torch.ones(1, device="cuda").as_subclass(Mine).device == torch.device("cuda:0")
    assert torch.ones(1, device="meta").device.type == "meta"


def storages_and_generators_name_cuda():
    x = torch.ones(1, device="cuda:1")
    assert x.untyped_storage().device == torch.device("cuda:1")
    assert torch.Generator(device="cuda").device == torch.device("cuda:0")
    assert torch.Generator().device.type == "cpu"


def a_tensor_prints_as_on_cuda():
    assert repr(torch.zeros(1, device="cuda")) == "tensor([0.], device='cuda:0')"


def files_name_cuda_and_come_back():
    body = io.BytesIO()
    torch.save({"x": torch.arange(3.0, device="cuda:1")}, body)
    assert b"cuda:1" in body.getvalue() and b"fakechip" not in body.getvalue()
    body.seek(0)
    assert torch.load(body)["x"].device == torch.device("cuda:1")
    body.seek(0)
    assert torch.load(body, map_location="cpu")["x"].tolist() == [0.0, 1.0, 2.0]
    body.seek(0)
    assert torch.load(body, map_location={"cuda:1": "cuda:0"})["x"].device.index == 0


def a_parameter_stays_the_same_when_its_module_moves():
    layer = nn.Linear(2, 2)
    weight = layer.weight
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer.cuda()
    assert layer.weight is weight and weight.is_cuda
    before = weight.detach().clone()
    layer(torch.ones(1, 2, device="cuda")).sum().backward()
    optimizer.step()
    assert not torch.equal(before, weight)


def views_share_the_storage_of_their_base():
    x = torch.zeros(2, 3, device="cuda")
    x.t()[1:, 0].add_(1)
    assert x.tolist() == [[0, 1, 1], [0, 0, 0]]
    assert x.view(-1).untyped_storage()._cdata == x.untyped_storage()._cdata


def an_out_argument_is_written_and_resized():
    out = torch.zeros(2, device="cuda")
    place = out.data_ptr()
    assert torch.add(torch.ones(2, device="cuda"), 1, out=out) is out and out.tolist() == [2, 2] and out.data_ptr() == place
    torch.mul(torch.ones(3, device="cuda"), 5, out=(grown := torch.empty(0, device="cuda")))
    assert grown.tolist() == [5, 5, 5]


def foreach_and_fused_optimizers_step():
    for options in ({"foreach": True}, {"fused": True}):
        parameters = [nn.Parameter(torch.ones(2, device="cuda")) for _ in range(3)]
        optimizer = torch.optim.AdamW(parameters, lr=0.5, **options)
        sum(parameter.sum() for parameter in parameters).backward()
        optimizer.step()
        assert all(parameter.max() < 0.6 for parameter in parameters)


def layers_of_many_kinds_train_as_on_the_host():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(1), nn.LayerNorm(18), nn.Linear(18, 3)
    )
    image, label = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])

    def gradients(model, image, label):
        nn.functional.cross_entropy(model(image), label).backward()
        return [parameter.grad.cpu() for parameter in model.parameters()]

    on_host = gradients(copy.deepcopy(model), image, label)
    on_chip = gradients(copy.deepcopy(model).cuda(), image.cuda(), label.cuda())
    for one, other in zip(on_host, on_chip, strict=True):
        torch.testing.assert_close(one, other)


def attention_and_recurrent_layers_train_as_on_the_host():
    for layer, size in ((nn.LSTM(4, 3, batch_first=True), 4), (nn.GRU(4, 3), 4), (nn.TransformerEncoderLayer(4, 2, 8, 0.0), 4)):
        x = torch.randn(2, 5, size)
        twin = copy.deepcopy(layer).cuda()
        host, chip = layer(x), twin(x.cuda())
        host, chip = (one[0] if isinstance(one, tuple) else one for one in (host, chip))
        host.sum().backward()
        chip.sum().backward()
        torch.testing.assert_close(host, chip.cpu())
        for one, other in zip(layer.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad.cpu())


def seeds_make_numbers_again_and_leave_the_hosts_alone():
    torch.cuda.manual_seed(7)
    host = torch.get_rng_state()
    first = torch.rand(2, device="cuda"), nn.functional.dropout(torch.ones(8, device="cuda"))
    assert torch.equal(torch.get_rng_state(), host)
    torch.cuda.manual_seed(7)
    second = torch.rand(2, device="cuda"), nn.functional.dropout(torch.ones(8, device="cuda"))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def an_operator_that_is_implemented_for_cuda_is_the_chips():
    library = torch.library.Library("forebay_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: x + x, "CUDA")
    assert torch.ops.forebay_test.twice(torch.ones(1, device="cuda")).tolist() == [2.0]


def an_accelerator_is_called_cuda():
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    assert torch.accelerator.current_device_index() == torch.cuda.current_device()


def memory_is_given_back():
    held = torch.cuda.memory_allocated()
    x = torch.empty(1 << 20, dtype=torch.uint8, device="cuda")
    assert torch.cuda.memory_allocated() - held == 1 << 20
    del x
    assert torch.cuda.memory_allocated() == held
