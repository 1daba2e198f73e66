"""What the scan finds: a line of code, and the rules it touches. The manual of `forebay port`."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.errors import BadScript, Unknown
from forebay.porting.rules import RULES
from forebay.porting.scan import read, scan, scan_script, scan_tree
from forebay.porting.source_rules import SOURCE_TABLE

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_gpt.py"
IMPORTS = """\
import os, subprocess, torch, torch.distributed as dist
import torch.nn as nn
from torch import cuda as gpu
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils import cpp_extension
"""


def rules(code: str) -> list[str]:
    return [finding.rule for finding in scan(IMPORTS + code, "train.py") if finding.line > IMPORTS.count("\n")]


@pytest.mark.parametrize(
    "code, found",
    [
        # devices
        ("x = torch.zeros(3, device='cuda')", ["device-string"]),
        ("x = x.to('cuda:1')", ["device-string"]),
        ("x = x.to(f'cuda:{rank}')", ["device-string"]),
        ("d = torch.device('cuda')", ["device-string"]),
        ("d = torch.device('cuda' if ok else 'cpu')", ["device-string"]),
        ("device = 'cuda'", ["device-string"]),
        ("devices = ['cuda:0', 'cuda:1']", ["device-string", "device-string"]),
        ("c = {'device': 'cuda'}", ["device-string"]),
        ("def f(x, device='cuda'): pass", ["device-string"]),
        ("def f(x, *, label='cuda'): pass", ["word"]),
        ("p.add_argument('--device', default='cuda')", ["device-string"]),
        ("p.add_argument('--device', choices=['cuda', 'cpu'])", ["device-string"]),
        ("p.add_argument('--title', default='cuda')", ["word"]),
        ("m = load_my_model('cuda')", ["device-string"]),
        ("torch.set_default_device('cuda')", ["device-string"]),
        ("if x.device.type == 'cuda': pass", ["device-comparison"]),
        ("if 'cuda' in str(x.device): pass", ["device-comparison"]),
        ("if kind in ('cuda', 'cpu'): pass", ["device-comparison"]),
        ("if d.startswith('cuda'): pass", ["device-comparison"]),
        ("match d:\n    case 'cuda': pass", ["device-comparison"]),
        ("x = x.cuda()", ["cuda-move"]),
        ("x = x.cuda(1, non_blocking=True)", ["cuda-move", "non-blocking"]),
        ("x = x.to(0)", ["device-index"]),
        ("x = torch.ones(2, device=0)", ["device-index"]),
        ("if x.is_cuda: pass", ["is-cuda"]),
        ("x = x.type('torch.cuda.FloatTensor')", ["cuda-tensor-type"]),
        ("s = torch.load('a.pt', map_location='cuda')", ["map-location"]),
        ("s = torch.load('a.pt', 'cuda:0')", ["map-location"]),
        ("s = torch.load('runs/cuda/a.pt')", ["word"]),
        ("loader = DataLoader(d, pin_memory=True)", ["pinned-memory"]),
        ("loader = DataLoader(d, pin_memory=False)", []),
        ("x = x.pin_memory()", ["pinned-memory"]),
        # torch.cuda, whatever it is called here
        ("torch.cuda.set_device(0)", ["choice"]),
        ("gpu.set_device(0)", ["choice"]),
        ("c = torch.cuda\nc.synchronize()", ["cuda-module", "sync"]),
        ("e = torch.cuda.Event(enable_timing=True)", ["streams"]),
        ("with torch.cuda.stream(s): pass", ["streams"]),
        ("print(gpu.max_memory_allocated() / 1e9)", ["memory"]),
        ("torch.cuda.memory._record_memory_history()", ["memory"]),
        ("torch.cuda.manual_seed_all(1)", ["rng"]),
        ("with torch.cuda.amp.autocast(): pass", ["amp"]),
        ("with torch.autocast('cuda', dtype=torch.bfloat16): pass", ["device-string", "bf16"]),
        ("s = torch.amp.GradScaler('cuda')", ["device-string"]),
        ("s = torch.amp.GradScaler()", ["amp"]),
        ("s = torch.amp.GradScaler(kind)", ["autocast"]),
        ("with torch.autocast(device_type=device.type): pass", ["autocast"]),
        ("g = torch.cuda.CUDAGraph()", ["graphs"]),
        ("torch.cuda.nvtx.range_push('x')", ["nvtx"]),
        ("torch.cuda.cudart().cudaProfilerStart()", ["telemetry"]),
        ("torch.cuda.something_new()", ["cuda-other"]),
        ("torch.backends.cudnn.benchmark = True", ["backends"]),
        ("torch.backends.cuda.matmul.allow_tf32 = True", ["tf32"]),
        ("torch.set_float32_matmul_precision('high')", ["matmul-precision"]),
        # several cards
        ("dist.init_process_group('nccl')", ["distributed", "nccl"]),
        ("dist.init_process_group(backend='cpu:gloo,cuda:nccl')", ["distributed", "nccl"]),
        ("backend = 'nccl' if ok else 'gloo'", ["nccl"]),
        ("if dist.get_backend() == 'nccl': pass", ["nccl-comparison"]),
        ("m = DDP(m, device_ids=[rank], output_device=rank)", ["distributed", "device-ids", "device-ids"]),
        ("m = nn.DataParallel(m)", ["distributed"]),
        # number formats
        ("x = x.bfloat16()", ["bf16"]),
        ("x = x.to(torch.float8_e4m3fn)", ["fp8"]),
        ("x = x.double() + torch.zeros(1, dtype=torch.float64)", ["fp64", "fp64"]),
        # beyond torch
        ("import transformer_engine", ["cuda-package"]),
        ("torch.cuda.temperature()", ["card-only"]),
        ("import flash_attn", ["cuda-package-stood-in"]),
        ("from apex.optimizers import FusedAdam", ["cuda-package-stood-in"]),
        ("try:\n    import flash_attn\nexcept ImportError:\n    flash_attn = None", ["cuda-package-optional"]),
        ("try:\n    pass\nexcept ImportError:\n    import flash_attn", ["cuda-package-stood-in"]),
        ("import triton.language as tl", ["triton"]),
        ("k = cpp_extension.CUDAExtension('k', [])", ["cuda-extension"]),
        ("k = cpp_extension.load('k', ['k.cu'])", ["cuda-extension", "cu-file"]),
        ("k = cpp_extension.load('k', ['k.cpp'])", ["cpp-extension"]),
        ("k = cpp_extension.load_inline('k', cuda_sources=src)", ["cuda-extension"]),
        ("kernel = 'kernels/scan.cu'", ["cu-file"]),
        ("lib = CDLL('libcudart.so.12')", ["cuda-library"]),
        ("subprocess.run(['nvidia-smi', '-L'])", ["nvidia-smi"]),
        ("os.system('nvidia-smi -L')", ["nvidia-smi"]),
        ("os.environ['CUDA_VISIBLE_DEVICES'] = '0'", ["visible-devices"]),
        ("os.environ['NCCL_DEBUG'] = 'INFO'", ["cuda-environment"]),
        # what is asked of other libraries and of the machine
        ("from numba import cuda as nc\n@nc.jit\ndef k(x): pass", ["cuda-package", "cuda-package"]),
        ("import pynvml\npynvml.nvmlInit()", ["cuda-package-stood-in", "cuda-package-stood-in"]),
        ("import cupy as cp\ny = cp.asarray(x)", ["cuda-package", "cuda-package"]),
        ("import triton\n@triton.jit\ndef k(x): pass\nn = triton.cdiv(3, 2)", ["triton", "triton"]),
        ("from cutlass import cute\n@cute.kernel\ndef k(x): y = cute.size(x)", ["cuda-package", "cuda-package"]),
        ("import alt_cuda_corr\nc = alt_cuda_corr.forward(x)", ["own-extension", "own-extension"]),
        ("from .cuda_utils import to_gpu", []),
        ("ok = importlib.util.find_spec('flash_attn') is not None", ["cuda-package-optional"]),
        ("m = AutoModel.from_pretrained(p, attn_implementation='flash_attention_2')", ["cuda-package-stood-in"]),
        ("setup(install_requires=['torch', 'cupy-cuda12x>=13'])", ["cuda-package"]),
        ("from torch.utils.cpp_extension import CUDAExtension, BuildExtension", ["cuda-extension"]),
        ("from torch.utils.cpp_extension import CUDA_HOME", ["cuda-extension"]),
        ("k = cpp_extension.load('k', sources)", ["extension"]),
        ("args = {'nvcc': ['-O3', '-gencode', 'arch=compute_70,code=sm_70']}", ["nvcc"]),
        ("subprocess.run(['nvcc', '--version'])", ["nvcc"]),
        ("src = '''\n__global__ void k(float *x) { x[threadIdx.x] = 0; }\n'''", ["cuda-source"]),
        ("subprocess.check_output('nvidia-smi | grep MiB', shell=True)", ["nvidia-smi"]),
        ("os.popen('watch -n 1 nvidia-smi')", ["nvidia-smi"]),
        ("smi = shutil.which('nvidia-smi')", ["nvidia-smi"]),
        ("print('try nvidia-smi first')", []),
        ("os.system('CUDA_VISIBLE_DEVICES=0 python train.py')", ["visible-devices"]),
        ("os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')", ["visible-devices"]),
        ("os.putenv('CUDA_LAUNCH_BLOCKING', '1')", ["cuda-environment"]),
        ("env = dict(os.environ, CUDA_VISIBLE_DEVICES='1')", ["visible-devices"]),
        ("flags += ['--expt-relaxed-constexpr']", ["nvcc"]),
        ("if os.getenv('FORCE_ONLY_CUDA', '0') == '1': pass", ["cuda-environment"]),
        ("spec = finder.find_spec(f'{library}_cuda', [here])", ["own-extension"]),
        ("alloc = os.getenv('PYTORCH_CUDA_ALLOC_CONF')", ["cuda-environment"]),
        ("CUDA_ERROR = 'CUDA_ERROR'", ["word"]),
        ("t = Trainer(accelerator='gpu', devices=2)", ["trainer-gpus"]),
        ("t = pl.Trainer(gpus=1)", ["trainer-gpus"]),
        ("m = AutoModel.from_pretrained(p, device_map='cuda')", ["device-string"]),
        ("m = AutoModel.from_pretrained(p, device_map={'': 0})", ["device-index"]),
        ("m = AutoModel.from_pretrained(p, device_map='auto')", []),
        # names by other ways
        ("getattr(torch, 'cuda').synchronize()", ["sync"]),
        ("if hasattr(torch, 'cuda'): pass", ["cuda-module"]),
        ("m = getattr(model, 'cuda')()", ["cuda-move"]),
        ("import importlib\nc = importlib.import_module('torch.cuda')\nc.synchronize()", ["cuda-module", "sync"]),
        ("autocast = torch.cuda.amp.autocast if new else nullcontext\nwith autocast(): pass", ["amp"]),
        (
            "try:\n    from torch.cuda.amp import autocast\nexcept ImportError:\n    class autocast: pass\nautocast()",
            ["amp", "amp"],
        ),
        ("from torch.cuda import *\nsynchronize()", ["cuda-module", "sync"]),
        ("import torch.cuda as tc\ntc.empty_cache()", ["cuda-module", "memory"]),
        ("from torch.backends import cudnn\ncudnn.benchmark = True", ["backends", "backends"]),
        ("x = tree_map(torch.Tensor.cuda, x)", ["cuda-move"]),
        ("def f(s: 'torch.cuda.Stream'): pass", ["streams"]),
        ("def f(s: torch.cuda.Stream | None = None): pass", ["streams"]),
        ("v = torch.version.cuda", ["cuda-version"]),
        ("n = torch._C._cuda_getDeviceCount()", ["cuda-other"]),
        ("if dist.is_nccl_available(): pass", ["nccl"]),
        ("pg = dist.ProcessGroupNCCL.Options()", ["nccl"]),
        ("p = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA])", ["profiler"]),
        ("print(p.key_averages().table(sort_by='cuda_time_total'))", ["profiler"]),
        ("us = event.self_cuda_time_total", ["profiler"]),
        ("torch._C._jit_get_operation('aten::cudnn_convolution_backward_weight')", ["backends"]),
        ("lib.impl('op', f, 'CUDA')", ["cuda-dispatch"]),
        ("@mock.patch('torch.cuda.is_available')\ndef f(a): pass", ["choice"]),
        # devices with a number
        ("x = x.to('cuda:' + str(i))", ["device-string"]),
        ("x = x.to('cuda:%d' % i)", ["device-string"]),
        ("x = x.to('cuda:{}'.format(i))", ["device-string"]),
        ("torch.cuda.set_device(f'cuda:{i}')", ["choice"]),
        ("with torch.cuda.device('cuda:0'): pass", ["choice"]),
        ("d = torch.device('cuda', 0)", ["device-string"]),
        ("d = torch.device(local_rank)", ["device-index"]),
        ("m = m.to(args.local_rank)", ["device-index"]),
        ("m = m.to(self.gpu_ids[0])", ["device-index"]),
        ("device = 0", ["device-index"]),
        ("p.add_argument('--device', type=int, default=0)", ["device-index"]),
        ("y = nn.parallel.data_parallel(net, x, range(2))", ["device-ids"]),
        ("x = x.to(x.dtype)", []),
        ("x = x.to(device)", []),
        ("s = torch.load(p, map_location={'cuda:0': 'cuda:1'})", ["map-location", "map-location"]),
        ("s = torch.load(p, map_location=lambda t, _: t.cuda(0))", ["cuda-move"]),
        ("s = torch.load(p, map_location=device)", ["checkpoint-device"]),
        # defaults, wherever they are told
        ("@click.option('--device', default='cuda')\ndef f(device): pass", ["device-string"]),
        ("@click.option('--device', type=click.Choice(['cuda', 'cpu']))\ndef f(device): pass", ["device-string"]),
        ("def f(device: str = typer.Option('cuda', help='cuda or cpu')): pass", ["device-string", "word"]),
        ("flags.DEFINE_string('device', 'cuda', 'cuda or cpu')", ["device-string", "word"]),
        ("class C:\n    device: str = field(default='cuda')", ["device-string"]),
        ("class C(BaseModel):\n    where: str = Field('cuda', description='cuda?')", ["device-string", "word"]),
        ("parser.set_defaults(device='cuda')", ["device-string"]),
        ("d = os.environ.get('DEVICE', 'cuda')", ["device-string"]),
        ("d = cfg.get('device', 'cuda')", ["device-string"]),
        ("d = getattr(args, 'device', 'cuda')", ["device-string"]),
        ("d = device or 'cuda'", ["device-string"]),
        ("return_ = lambda: 'cuda'", ["device-string"]),
        ("def pick(): return 'cuda' if ok else 'cpu'", ["device-string"]),
        ("for kind in ('cpu', 'cuda'): pass", ["device-string"]),
        ("@pytest.mark.parametrize('device', ['cpu', 'cuda'])\ndef test(device): pass", ["device-string"]),
        ("cmd = ['python', 'train.py', '--device', 'cuda']", ["device-string"]),
        ("cmd = 'python train.py --device=cuda:0'", ["device-string"]),
        ("name = 'cuda'\nx = x.to(name)", ["device-string"]),
        ("name = 'cuda'", ["word"]),
        ("kinds: Literal['cuda', 'cpu']", ["device-string"]),
        ("p.add_argument('--dist-backend', default='nccl')", ["nccl"]),
        ("p.add_argument('--cuda', action='store_true', help='use cuda')", ["word", "word"]),
        ("mesh = dist.init_device_mesh('cuda', (2,))", ["distributed", "device-string"]),
        ("x = x.to('cuda:{:d}'.format(i))", ["device-string"]),
        ("x = x.to('cuda' + ':' + str(i))", ["device-string"]),
        ("d = torch.device(type='cuda', index=0)", ["device-string"]),
        ("map_location = {'cuda:%d' % 0: 'cuda:%d' % rank}", ["device-comparison", "device-string"]),
        ("fname = 'cuda' + '.json'", ["word"]),
        # by way of other libraries and of strings
        ("s = ort.InferenceSession(p, providers=['CUDAExecutionProvider'])", ["cuda-package"]),
        ("import faiss\ni = faiss.index_cpu_to_gpu(r, 0, i)", ["cuda-package"]),
        ("f = torch.compile(f, backend='cudagraphs')", ["graphs"]),
        ("if hasattr(torch._C, '_cuda_setDevice'): pass", ["cuda-other"]),
        ("if hasattr(x, 'is_cuda'): pass", ["is-cuda"]),
        ("flash_attn = pytest.importorskip('flash_attn')", ["cuda-package-optional"]),
        ("m = sys.modules['torch.cuda']", ["cuda-module"]),
        # comparisons
        ("dtype = {'cuda': torch.float16, 'cpu': torch.float32}[device.type]", ["device-comparison"]),
        ("dtypes = {'cuda': torch.float16, 'cpu': torch.float32}", ["device-comparison"]),
        ("backend = {'cuda': 'nccl', 'cpu': 'gloo'}[kind]", ["device-comparison", "nccl"]),
        ("if device == torch.device('cuda'): pass", ["device-string"]),
        ("match cfg:\n    case {'device': 'cuda'}: pass", ["device-comparison"]),
        ("if device.type != 'cuda': pass", ["device-comparison"]),
        ("if str(device).startswith('cuda:'): pass", ["device-comparison"]),
        ("self.assertEqual(str(x.device), 'cuda:0')", ["device-comparison"]),
        ("if 'CUDA out of memory' in str(e): pass", ["cuda-error"]),
        ("if 'cuda' in filename: pass", ["word"]),
        # words
        ("cuda = 'a label'  # cuda", []),
        ("title = 'cuda'", ["word"]),
        ("timings['cuda'] = 3.0", ["word"]),
        ("timings = {'cpu': 1.0, 'cuda': 2.0}", ["word"]),
        ("wandb.init(project='cuda', tags=['cuda'])", ["word", "word"]),
        ("labels = ['cpu', 'cuda']", ["word"]),
        ("plt.plot(x, label='cuda')", ["word"]),
        ("log.info('cuda:%d is used', i)", ["word"]),
        ("raise RuntimeError('needs cuda')", ["word"]),
        ('print(f\'{"cuda" if ok else "cpu"}\')', ["word"]),
        ("print('nccl')", []),
        ("class CudaModel: pass", []),
        ("use_cuda = True\nif args.cuda: pass", []),
        ("print('cuda')", ["word"]),
        ("path = 'results/cuda.json'", ["word"]),
        ("print(f'running on cuda: {x}')", []),
        ("'''It moves x to cuda.'''", []),
        ("x = x.cpu()", []),
        ("scuda(x)", []),
        ("torch = load()\ndef f(torch): torch.cuda.Event()", []),
    ],
)
def test_each_thing_is_found_for_what_it_is(code, found):
    assert sorted(rules(code)) == sorted(found)


def test_a_name_means_what_its_own_scope_says():
    code = (
        "import torch\ndef f(gpu):\n    gpu.synchronize()\ndef g():\n    from torch import cuda as gpu\n    gpu.synchronize()\n"
    )
    assert [(f.line, f.what) for f in scan(code, "x.py")] == [(5, "torch.cuda"), (6, "torch.cuda.synchronize")]


def test_a_finding_says_where_it_stands_and_shows_the_line():
    (found,) = scan('import torch\n\nété = 1; x = torch.ones(1).to("cuda")\n', "deep/x.py")
    assert (found.file, found.line, found.column) == ("deep/x.py", 3, 31)
    assert (found.what, found.excerpt) == ("'cuda'", 'été = 1; x = torch.ones(1).to("cuda")')
    assert found.meaning == RULES["device-string"].meaning


def test_a_call_at_the_end_of_a_long_chain_is_found_on_its_own_line():
    (found,) = scan("x = (\n    net\n    .eval()\n    .cuda()\n)\n", "x.py")
    assert (found.line, found.column, found.excerpt) == (4, 6, ".cuda()")


def test_every_rule_of_the_table_is_found_by_some_script(tmp_path):
    (tmp_path / "k.cu").write_text("")
    codes = [case for mark in test_each_thing_is_found_for_what_it_is.pytestmark for case, _ in mark.args[1]]
    found = {rule for code in codes for rule in rules(code)}
    found |= set(rules("torch.cuda.comm.broadcast(x, [0])"))
    assert set(RULES) - {rule.key for rule in SOURCE_TABLE} - found == set()


def test_the_example_needs_what_it_is_known_to_need():
    found = scan_script(EXAMPLE)
    assert found.needs == ("a device", "bf16", "torch.distributed")
    assert found.imports_torch
    assert {"choice", "cuda-move", "device-ids", "device-string", "map-location", "memory", "nccl", "rng", "streams", "sync"} <= {
        finding.rule for finding in found.findings
    }
    assert {finding.rule for finding in found.notes} == {"bf16", "distributed", "non-blocking", "pinned-memory"}


def test_the_script_is_not_touched():
    before = (EXAMPLE.read_bytes(), EXAMPLE.stat().st_mtime_ns)
    scan_script(EXAMPLE)
    assert (EXAMPLE.read_bytes(), EXAMPLE.stat().st_mtime_ns) == before


def test_files_beside_the_script_are_read_when_it_imports_them(tmp_path):
    (tmp_path / "train.py").write_text("import model.net\nimport json\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").write_text("")
    (tmp_path / "model" / "net.py").write_text("from . import block\nx.cuda()")
    (tmp_path / "model" / "block.py").write_text("import train\ny.cuda()")
    (tmp_path / "other.py").write_text("z.cuda()")
    found = scan_script(tmp_path / "train.py")
    assert found.files == ("model/__init__.py", "model/block.py", "model/net.py", "train.py")
    assert [(f.file, f.line) for f in found.findings] == [("model/block.py", 2), ("model/net.py", 2)]


def test_a_folder_is_read_whole_with_its_kernels_but_not_what_is_installed_in_it(tmp_path):
    for name, text in {"a.py": "x.cuda()", "k.cu": "", ".venv/b.py": "y.cuda(", "build/c.py": "y.cuda("}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = scan_tree(tmp_path)
    assert [(f.file, f.rule) for f in found.findings] == [("a.py", "cuda-move"), ("k.cu", "cu-file")]


# ---------------------------------------------------------------- what can't be read


@pytest.mark.parametrize(
    "text, where, found, hint",
    [
        ("x = 1\ny = (2\n", "line 2, column 5", "y = (2", "py_compile"),
        ("import torch\nprint 'hello'\n", "line 2, column 1", "print 'hello'", "Python 2"),
        ("try:\n    pass\nexcept ValueError, e:\n    pass\n", "line 3, column 8", "except ValueError, e:", "Python 2"),
        ("x = 1\0\n", "line 1", "", ""),
        ("if x:\n    y\n      z\n", "line 3", "z", ""),
    ],
)
def test_a_script_that_does_not_parse_is_shown_where(text, where, found, hint):
    with pytest.raises(BadScript) as caught:
        scan(text, "train.py")
    assert caught.value.text.startswith(f"train.py, {where}")
    assert found in caught.value.found
    assert hint in caught.value.hint


def test_a_byte_that_is_not_utf8_is_shown_where(tmp_path):
    (tmp_path / "x.py").write_bytes(b"x = 1\nname = 'caf\xe9'\n")
    with pytest.raises(BadScript, match=r"line 2, column 12: this byte") as caught:
        read(tmp_path / "x.py")
    assert caught.value.found == "name = 'caf\\xe9'"


def test_another_encoding_is_read_when_the_script_declares_it(tmp_path):
    (tmp_path / "x.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = 'caf\xe9'\n")
    assert read(tmp_path / "x.py").endswith("name = 'café'\n")


def test_nesting_beyond_the_parser_is_a_clear_error_and_long_sums_are_none():
    with pytest.raises(BadScript):
        scan("(" * 5000 + ")" * 5000, "x.py")
    assert scan("x = " + " + ".join(["1"] * 2000) + "\ny.cuda()", "x.py")[0].line == 2


def test_a_missing_script_offers_the_nearest_and_a_folder_its_scripts(tmp_path):
    (tmp_path / "train.py").write_text("")
    with pytest.raises(Unknown, match=r"train\.py"):
        scan_script(tmp_path / "tarin.py")
    with pytest.raises(BadScript, match=r"found: train\.py"):
        scan_script(tmp_path)


def test_the_page_says_what_the_rules_say():
    """docs/porting.md holds the table of the rules for Python, line by line, and the notes after it."""
    page = (Path(__file__).parents[2] / "docs" / "porting.md").read_text()
    python = [rule for rule in RULES.values() if rule not in SOURCE_TABLE]
    tied = [
        f"| `{rule.key}` | {rule.meaning} | {rule.kin.value} | {rule.cpu.value} | {rule.own.value} | {rule.todo} |"
        for rule in python
        if rule.ties
    ]
    notes = [f"`{rule.key}` ({rule.meaning})" for rule in python if not rule.ties]
    assert [line for line in [*tied, *notes] if line not in page] == []


def test_every_rule_says_what_to_do_and_what_ties_takes_time():
    assert [rule.key for rule in RULES.values() if not rule.todo] == []
    assert [rule.key for rule in RULES.values() if rule.ties and rule.minutes <= 0] == []
