"""The manual of the rewrite: before, after, and what it leaves alone.

Each text stands below `import torch`; the lines that are added after it are another test's.
"""

import pytest

from forebay.porting.rewrite.rewrite import rewrite

HEAD = "import torch\nimport torch.distributed as dist\nfrom torch.nn.parallel import DistributedDataParallel as DDP\n"
HERE = "torch.accelerator.is_available()"


def ported(text):
    """The text after the rewrite, without the imports and what was added to them."""
    before = HEAD + text + "\n"
    after = rewrite(before.encode(), "script.py").after.decode()
    assert rewrite(after.encode(), "script.py").after.decode() == after, "porting twice changes something"
    lines = after.splitlines()[HEAD.count("\n") :]
    added = ("DEVICE = ", "DEVICE_MODULE = ", "")
    while (lines and lines[0].startswith(added[:2])) or lines[:1] == [""]:
        lines.pop(0)
    return "\n".join(lines)


def check(before, after):
    assert ported(before) == after


@pytest.mark.parametrize(
    "before, after",
    [
        ("x = x.cuda()", "x = x.to(DEVICE)"),
        ("x = x.cuda(1)", "x = x.to(torch.device(DEVICE.type, 1))"),
        ("x = x.cuda(args.gpu, non_blocking=True)", "x = x.to(torch.device(DEVICE.type, args.gpu), non_blocking=True)"),
        ("x = x.cuda(non_blocking=True)", "x = x.to(DEVICE, non_blocking=True)"),
        ("x = x.cuda(device)", "x = x.to(device)"),
        ("x = x.cuda(torch.cuda.current_device())", "x = x.to(DEVICE_MODULE.current_device())"),
        ("x = (x\n     .float()  # first\n     .cuda())", "x = (x\n     .float()  # first\n     .to(DEVICE))"),
        ("rank = int(n)\nx = x.cuda().to(rank)", "rank = int(n)\nx = x.to(DEVICE).to(torch.device(DEVICE.type, rank))"),
        ("x = x.to(0)", "x = x.to(torch.device(DEVICE.type, 0))"),
        ("cuda = 'a label'  # cuda", "cuda = 'a label'  # cuda"),
    ],
)
def test_cuda_calls_become_device_moves(before, after):
    check(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("x = torch.zeros(3, device='cuda')", "x = torch.zeros(3, device=DEVICE)"),
        ("x = x.to('cuda', torch.float16)", "x = x.to(DEVICE, torch.float16)"),
        ("x = torch.zeros(3, device='cuda:1')", "x = torch.zeros(3, device=f'{DEVICE.type}:1')"),
        ("x = x.to(f'cuda:{i}')", "x = x.to(f'{DEVICE.type}:{i}')"),
        ("x = x.to('cuda:%d' % i)", "x = x.to(f'{DEVICE.type}:%d' % i)"),
        ("device = torch.device('cuda', i)", "device = torch.device(DEVICE.type, i)"),
        ("device = torch.device('cuda:0')", "device = torch.device(DEVICE.type, 0)"),
        ("device = torch.device('cuda')", "device = DEVICE"),
        ("class C:\n    device = 'cuda'", "class C:\n    device = DEVICE.type"),
        ("def f(device='cuda'): pass", "def f(device=DEVICE.type): pass"),
        ("parser.add_argument('--device', default='cuda', help='cuda or cpu')",
         "parser.add_argument('--device', default=DEVICE.type, help='cuda or cpu')"),
        ("model = load(device_map='cuda')", "model = load(device_map=DEVICE.type)"),
        ("torch.save(x, 'runs/cuda.pt')", "torch.save(x, 'runs/cuda.pt')"),
    ],
)  # fmt: skip
def test_a_string_stays_a_string_unless_torch_itself_takes_it(before, after):
    check(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("d = torch.load(p, map_location='cuda')", "d = torch.load(p, map_location=DEVICE)"),
        ("d = torch.load(p, map_location=f'cuda:{i}')",
         f"d = torch.load(p, map_location=f'{{DEVICE.type}}:{{i}}' if {HERE} else 'cpu')"),
        ("d = torch.load(p, map_location=torch.device('cuda:0'))",
         f"d = torch.load(p, map_location=torch.device(DEVICE.type, 0) if {HERE} else DEVICE)"),
        ("d = torch.load(p, map_location=lambda storage, place: storage.cuda(i))",
         "d = torch.load(p, map_location=lambda storage, place: storage.to(device=torch.device(DEVICE.type, i)))"),
        ("place = 'cuda:{}'.format(i)\nd = torch.load(p, map_location=place)",
         f"place = '{{}}:{{}}'.format(DEVICE.type, i) if {HERE} else 'cpu'\nd = torch.load(p, map_location=place)"),
        ("d = torch.load(p, map_location='cpu')", "d = torch.load(p, map_location='cpu')"),
    ],
)  # fmt: skip
def test_the_host_has_no_numbers_where_a_checkpoint_goes(before, after):
    check(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("if x.device.type == 'cuda': pass", "if x.device.type != 'cpu': pass"),
        ("if device_type != 'cuda': pass", "if device_type == 'cpu': pass"),
        ("if args.device == 'cuda': pass", "if args.device == DEVICE.type != 'cpu': pass"),
        ("if device != 'cuda' and y: pass", "if (device != DEVICE.type or device == 'cpu') and y: pass"),
        ("if 'cuda' in device: pass", "if 'cpu' not in device: pass"),
        ("if device.startswith('cuda'): pass", "if not device.startswith('cpu'): pass"),
        ("if not device.startswith('cuda'): pass", "if device.startswith('cpu'): pass"),
        ("assert device in ('cuda', 'cpu')", "assert device in (DEVICE.type, 'cpu')"),
        ("kind = 'cuda' if 'cuda' in device else 'cpu'", "kind = torch.device(device).type"),
        ("if x.is_cuda: pass", 'if x.device.type != "cpu": pass'),
        ("if not x.is_cuda: pass", 'if x.device.type == "cpu": pass'),
        ("same = x.is_cuda == y.is_cuda", 'same = (x.device.type != "cpu") == (y.device.type != "cpu")'),
        ("print(f\"{x.is_cuda}\")", "print(f\"{x.device.type != 'cpu'}\")"),
        ("if kind == 'cuda':\n    pass\nelif kind == 'mps':\n    pass",
         "if kind == 'cuda':\n    pass\nelif kind == 'mps':\n    pass"),
        ("class C:\n    def f(self):\n        self.is_cuda = True\n        return self.is_cuda",
         "class C:\n    def f(self):\n        self.is_cuda = True\n        return self.is_cuda"),
    ],
)  # fmt: skip
def test_a_question_after_cuda_becomes_one_after_the_host(before, after):
    check(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("if torch.cuda.is_available(): pass", f"if {HERE}: pass"),
        ("if torch.cuda.device_count() > 1: pass", "if torch.accelerator.device_count() > 1: pass"),
        ("i = rank % torch.cuda.device_count()", "i = rank % DEVICE_MODULE.device_count()"),
        ("torch.cuda.set_device(rank)", "DEVICE_MODULE.set_device(rank)"),
        ("torch.cuda.synchronize()", "DEVICE_MODULE.synchronize()"),
        ("torch.cuda.empty_cache()", f"if {HERE}:\n    DEVICE_MODULE.empty_cache()"),
        ("if torch.cuda.is_available():\n    torch.cuda.empty_cache()", f"if {HERE}:\n    DEVICE_MODULE.empty_cache()"),
        ("use = torch.cuda.is_available()\nif use:\n    torch.cuda.manual_seed_all(1)",
         f"use = {HERE}\nif use:\n    DEVICE_MODULE.manual_seed_all(1)"),
        ("if y: torch.cuda.empty_cache()", f"if y: DEVICE_MODULE.empty_cache() if {HERE} else None"),
        ("mb = torch.cuda.max_memory_allocated() / 2**20",
         f"mb = (DEVICE_MODULE.max_memory_allocated() if {HERE} else 0) / 2**20"),
        ("print(torch.cuda.get_device_name(0))", f"print(DEVICE_MODULE.get_device_name(0) if {HERE} else DEVICE.type)"),
        ("state = torch.cuda.get_rng_state_all()", f"state = DEVICE_MODULE.get_rng_state_all() if {HERE} else []"),
        ("name = f'cuda:{torch.cuda.current_device()}'",
         "name = f'cuda:{DEVICE_MODULE.current_device() if " + HERE + " else 0}'"),
        ("with torch.cuda.device_of(x): pass", "with torch.accelerator.device_index(x.device.index): pass"),
        ("with torch.cuda.stream(torch.cuda.Stream()): pass", "with DEVICE_MODULE.stream(DEVICE_MODULE.Stream()): pass"),
        ("torch.cuda.current_stream().wait_stream(s)", "DEVICE_MODULE.current_stream().wait_stream(s)"),
        ("torch.cuda.current_stream().synchronize()", f"if {HERE}:\n    DEVICE_MODULE.current_stream().synchronize()"),
        ("try:\n    f()\nexcept torch.cuda.OutOfMemoryError:\n    pass",
         "try:\n    f()\nexcept torch.OutOfMemoryError:\n    pass"),
        ("p = torch.cuda.get_device_properties(0)", "p = torch.cuda.get_device_properties(0)"),
        ("p = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None",
         f"p = DEVICE_MODULE.get_device_properties(0) if {HERE} else None"),
        ("torch.cuda.nvtx.range_push('step')", "torch.cuda.nvtx.range_push('step')"),
        ("g = torch.cuda.CUDAGraph()", "g = torch.cuda.CUDAGraph()"),
        ("torch.backends.cudnn.benchmark = True", "torch.backends.cudnn.benchmark = True"),
    ],
)  # fmt: skip
def test_torch_cuda_becomes_the_module_of_the_device(before, after):
    check(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("x = torch.cuda.FloatTensor([1, 2])", "x = torch.FloatTensor([1, 2]).to(DEVICE)"),
        ("x = x.type(torch.cuda.HalfTensor)", "x = x.to(DEVICE, torch.float16)"),
        ("x = x.cuda().type('torch.cuda.LongTensor')", "x = x.to(DEVICE).to(DEVICE, torch.int64)"),
        ("T = torch.cuda.FloatTensor if cuda else torch.FloatTensor",
         f"T = (DEVICE_MODULE if {HERE} else torch).FloatTensor if cuda else torch.FloatTensor"),
        ("x = torch.empty(3, pin_memory=True).cuda()", f"x = torch.empty(3, pin_memory={HERE}).to(DEVICE)"),
        ("y = x.pin_memory().cuda()", f"y = (x.pin_memory() if {HERE} else x).to(DEVICE)"),
        ("loader = torch.utils.data.DataLoader(d, pin_memory=True)", "loader = torch.utils.data.DataLoader(d, pin_memory=True)"),
    ],
)  # fmt: skip
def test_legacy_types_and_pinned_memory(before, after):
    check(before, after)


@pytest.mark.parametrize(
    "before, after",
    [
        ("with torch.cuda.amp.autocast(): pass", "with torch.autocast(DEVICE.type, dtype=torch.float16): pass"),
        ("with torch.cuda.amp.autocast(use): pass", "with torch.autocast(DEVICE.type, dtype=torch.float16, enabled=use): pass"),
        ("with torch.cuda.amp.autocast(dtype=torch.bfloat16): pass",
         "with torch.autocast(DEVICE.type, dtype=torch.bfloat16): pass"),
        ("with torch.autocast('cuda'): pass", "with torch.autocast(DEVICE.type, dtype=torch.float16): pass"),
        ("with torch.autocast('cuda', torch.bfloat16): pass", "with torch.autocast(DEVICE.type, torch.bfloat16): pass"),
        ("with torch.autocast(device_type='cuda', enabled=use): pass",
         "with torch.autocast(device_type=DEVICE.type, dtype=torch.float16, enabled=use): pass"),
        ("scaler = torch.cuda.amp.GradScaler(enabled=use)", "scaler = torch.amp.GradScaler(DEVICE.type, enabled=use)"),
        ("from torch.cuda.amp import autocast, GradScaler\ns = GradScaler()\nwith autocast(): pass",
         "from torch.amp import autocast, GradScaler\n@\ns = GradScaler(DEVICE.type)\n"
         "with autocast(DEVICE.type, dtype=torch.float16): pass"),
        ("@torch.cuda.amp.custom_fwd\ndef f(): pass", "@torch.amp.custom_fwd(device_type=DEVICE.type)\ndef f(): pass"),
    ],
)  # fmt: skip
def test_mixed_precision_keeps_cudas_format(before, after):
    head = '\n\nDEVICE = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")\n'
    check(before, after.replace("\n@", head))


@pytest.mark.parametrize(
    "before, after",
    [
        ("dist.init_process_group('nccl')", "dist.init_process_group(dist.get_default_backend_for_device(DEVICE))"),
        ("backend = 'nccl'", "backend = torch.distributed.get_default_backend_for_device(DEVICE)"),
        ("m = DDP(m, device_ids=[rank])", f"m = DDP(m, device_ids=[rank] if {HERE} else None)"),
        ("m = torch.nn.DataParallel(m, device_ids=[0, 1])", "m = torch.nn.DataParallel(m, device_ids=[0, 1])"),
        ("device = rank % torch.cuda.device_count()\nm = m.to(device)",
         "device = torch.device(DEVICE.type, rank % DEVICE_MODULE.device_count())\nm = m.to(device)"),
    ],
)  # fmt: skip
def test_groups_and_ranks(before, after):
    check(before, after)
