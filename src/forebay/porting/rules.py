"""What the scan looks for, what each thing means, and what becomes of it on four kinds of chips.

Asked:  a script has `torch.cuda.Event` on line 12: what does that ask of a chip?
Answer: the table below, a line a rule. The last three columns say what becomes of it on
          kin   a chip whose torch keeps the name "cuda" but which isn't NVIDIA's (AMD, Hygon, MetaX, Iluvatar, ...),
          cpu   processor cores, under the simulated cuda device of porting/shim,
          own   a chip whose torch has a device name of its own (npu, mlu, musa, ...).
        On NVIDIA's own chips all of it runs as it is.
Limits: the column `own` says what is left to do under the shim's identity layer; where it has no adapter, every device name is
        to be rewritten, which `porting.report` adds. Where a package or a kernel exists for one vendor's chip in another
        build, this table doesn't know it. What a kernel does inside isn't read: one with PTX is refused when it is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

from forebay.porting.findings import Word
from forebay.porting.rule import Rule
from forebay.porting.source_rules import SOURCE_TABLE

RUNS, EMULATED, REWRITE, BLOCKED = Word.RUNS, Word.EMULATED, Word.REWRITE, Word.BLOCKED


_TABLE = (
    # devices
    Rule("device-string", "names the device on which tensors live", RUNS, RUNS, RUNS, minutes=2,
         todo="take the device from one place: torch.accelerator.current_accelerator() if there is one, else cpu"),
    Rule("device-comparison", "asks whether the device is called cuda", RUNS, RUNS, RUNS, minutes=4,
         todo='compare with torch.accelerator.current_accelerator().type, or ask whether it is "cpu"'),
    Rule("device-index", "names a card by its bare number", RUNS, RUNS, RUNS, minutes=2,
         todo="hand over torch.device(kind, number) instead of the number"),
    Rule("cuda-move", "moves a tensor or module to the current card", RUNS, RUNS, RUNS, minutes=1,
         todo="use .to(device)"),
    Rule("is-cuda", "asks whether a tensor lives on a card", RUNS, RUNS, RUNS, minutes=2,
         todo='ask whether .device.type is the accelerator\'s, or is not "cpu"'),
    Rule("cuda-tensor-type", "a tensor type with cuda in its name", RUNS, RUNS, RUNS, minutes=3,
         todo="use dtype= and device= instead of the type: torch.zeros(n, dtype=torch.float32, device=device)"),
    Rule("map-location", "reads a checkpoint's tensors to a cuda device", RUNS, RUNS, RUNS, minutes=2,
         todo='use map_location=device, or "cpu" and move the model afterwards'),
    Rule("checkpoint-device", "says where a checkpoint's tensors go, in a name that is set elsewhere", RUNS, RUNS, RUNS,
         names_device=False, ties=False, todo="nothing, where the name holds the chip's device"),
    Rule("pinned-memory", "host memory that a card reads without a copy", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="pin only where torch.accelerator.is_available()", minutes=1),
    Rule("non-blocking", "lets a copy overlap with the work after it", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="nothing; it is ignored where it can't be done"),
    # torch.cuda, by group
    Rule("cuda-module", "torch.cuda as a whole: imported, or handed on", RUNS, RUNS, RUNS, minutes=3,
         todo="use torch.accelerator, or torch.get_device_module(device)"),
    Rule("choice", "asks for or chooses a card", RUNS, RUNS, RUNS, minutes=2,
         todo="use torch.accelerator.is_available(), .device_count(), .set_device_index(), .current_device_index()"),
    Rule("sync", "waits for the card", RUNS, RUNS, RUNS, minutes=1, todo="use torch.accelerator.synchronize()"),
    Rule("memory", "reads or manages the card's memory; the figures are those of the chip that runs it", RUNS, RUNS, RUNS,
         todo="use torch.accelerator.memory_allocated(), .max_memory_allocated(), .empty_cache()", minutes=2),
    Rule("rng", "seeds or stores a card's random numbers; another chip draws other numbers", RUNS, RUNS, RUNS, minutes=1,
         todo="use torch.manual_seed(), which seeds every device; for states torch.get_device_module().get_rng_state()"),
    Rule("streams", "streams and events: order and timing on the card", RUNS, EMULATED, RUNS, minutes=10,
         todo="use torch.Stream and torch.Event with a device; take times after torch.accelerator.synchronize()"),
    Rule("amp", "mixed precision by CUDA's rules", RUNS, RUNS, RUNS, minutes=2,
         todo="use torch.amp.autocast(device.type) and torch.amp.GradScaler(device.type)"),
    Rule("autocast", "mixed precision on a device that is named elsewhere", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="nothing, where the name holds the chip's device"),
    Rule("graphs", "records kernels once and replays them", RUNS, EMULATED, REWRITE, minutes=30,
         todo="run the same function without a graph where the device isn't cuda"),
    Rule("nvtx", "marks for NVIDIA's profiler", RUNS, EMULATED, EMULATED, minutes=2,
         todo="use torch.profiler.record_function()"),
    Rule("profiler", "asks the profiler for CUDA's part", RUNS, EMULATED, RUNS, minutes=3,
         todo="take torch.profiler.supported_activities(), and sort by device_time_total"),
    Rule("telemetry", "reads NVIDIA's own counters, or calls its runtime", REWRITE, EMULATED, REWRITE, minutes=15,
         todo="make it optional, or read the counters of the chip's own tool"),
    Rule("card-only", "a sensor, compiler or allocator that is only on NVIDIA's cards", REWRITE, REWRITE, REWRITE, minutes=30,
         todo="do without it where the device isn't cuda"),
    Rule("cuda-comm", "torch.cuda's old collectives, or NCCL called directly", RUNS, EMULATED, REWRITE, minutes=20,
         todo="use torch.distributed"),
    Rule("cuda-version", "asks with which CUDA torch was built", RUNS, RUNS, RUNS, minutes=3,
         todo="ask torch.accelerator.current_accelerator() what there is, or leave the check out where there is no CUDA"),
    Rule("cuda-other", "a part of torch for CUDA that the table doesn't sort", RUNS, EMULATED, REWRITE, minutes=10,
         todo="look for it in torch.accelerator or in torch.get_device_module(); otherwise do without it"),
    Rule("cuda-error", "knows an error by CUDA's words", RUNS, RUNS, RUNS, minutes=5,
         todo="catch torch.OutOfMemoryError or torch.AcceleratorError instead of reading the message"),
    Rule("cuda-dispatch", "registers an operator for CUDA alone", RUNS, EMULATED, REWRITE, minutes=10,
         todo='register it as "CompositeExplicitAutograd", or for the chip\'s dispatch key too'),
    Rule("backends", "switches of CUDA's libraries; without effect elsewhere", RUNS, RUNS, RUNS, minutes=1,
         todo='leave it, for it does nothing elsewhere, or set it only where device.type == "cuda"'),
    # several cards
    Rule("nccl", "collectives by NCCL", RUNS, RUNS, RUNS, minutes=2,
         todo="use torch.distributed.get_default_backend_for_device(device)"),
    Rule("nccl-comparison", "asks whether the collectives are NCCL's", RUNS, RUNS, RUNS, minutes=3,
         todo="ask for the device, or compare with torch.distributed.get_default_backend_for_device(device)"),
    Rule("distributed", "several cards work together", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="choose a backend that the chip has"),
    Rule("device-ids", "ties a rank's copy of the model to its card", RUNS, RUNS, RUNS, minutes=2,
         todo="leave it out; a module that lives on one device needs none, and on cpu it must be None"),
    Rule("trainer-gpus", "asks a trainer for gpus by that name", RUNS, RUNS, RUNS, minutes=2,
         todo='use accelerator="auto" and devices='),
    # number formats
    Rule("tf32", "allows TF32, NVIDIA's shortened fp32; elsewhere full fp32 is used", RUNS, RUNS, RUNS, names_device=False,
         todo='use torch.set_float32_matmul_precision("high")', minutes=1),
    Rule("matmul-precision", "allows shorter products than fp32, where the chip has them", RUNS, RUNS, RUNS,
         names_device=False, ties=False, todo="nothing"),
    Rule("bf16", "computes in bf16", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="have another format for chips without it", minutes=5),
    Rule("fp8", "computes in fp8", RUNS, EMULATED, RUNS, names_device=False, ties=False,
         todo="have another format for chips without it", minutes=15),
    Rule("fp64", "computes in fp64", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="compute it on the host, or in fp32, on chips without it", minutes=5),
    # what is beyond torch
    Rule("cuda-extension", "compiles CUDA kernels of its own; on cores they are compiled as C++", REWRITE, EMULATED, BLOCKED,
         todo="bring the kernel in plain torch or Triton, and build the extension only where there is CUDA", minutes=240),
    Rule("cuda-source", "CUDA C++ in a string", REWRITE, EMULATED, BLOCKED, minutes=120,
         todo="write it in plain torch or Triton for other chips"),
    Rule("own-extension", "a module with CUDA in its name, most likely compiled from kernels of its own", REWRITE, EMULATED,
         BLOCKED, todo="call plain torch where the module can't be imported", minutes=30),
    Rule("extension", "compiles sources that the call doesn't name", RUNS, EMULATED, REWRITE, names_device=False, minutes=30,
         todo="look whether CUDA is among the sources"),
    Rule("cpp-extension", "compiles C++ of its own, which isn't read", RUNS, EMULATED, REWRITE, names_device=False, ties=False,
         todo="compile it where it is to run", minutes=10),
    Rule("nvcc", "calls CUDA's compiler or another of its tools, or hands flags to it", REWRITE, EMULATED, REWRITE,
         names_device=False, todo="hand such flags over only where the extension is built for CUDA", minutes=10),
    Rule("cuda-library", "loads a CUDA library by its file name", REWRITE, BLOCKED, BLOCKED, minutes=60,
         todo="use torch for it, or the chip's own library"),
    Rule("triton", "kernels in Triton; they need a Triton for the chip, and cores interpret them", REWRITE, EMULATED, REWRITE,
         todo="bring the same in plain torch for chips without Triton", minutes=60),
    Rule("cuda-package", "a package with CUDA binaries", REWRITE, BLOCKED, BLOCKED, minutes=30,
         todo="use plain torch where the package can't be imported"),
    Rule("cuda-package-stood-in", "a CUDA package whose common parts the shim stands in for", REWRITE, EMULATED, EMULATED,
         todo="use torch's own: scaled_dot_product_attention, torch.amp, torch.optim, nn.RMSNorm", minutes=20),
    Rule("cuda-package-optional", "a package with CUDA binaries that it can do without", RUNS, RUNS, RUNS, names_device=False,
         todo="see that the way without it is taken", minutes=5),
    Rule("nvidia-smi", "asks NVIDIA's monitor, which other vendors' hosts haven't", REWRITE, EMULATED, EMULATED, minutes=10,
         todo="ask torch.accelerator, or make it optional"),
    Rule("visible-devices", "chooses cards by CUDA's variable; other chips have their own", RUNS, RUNS, RUNS, minutes=3,
         todo="set the chip's own variable too, or choose by torch.accelerator.set_device_index()"),
    Rule("cuda-environment", "tunes CUDA or NCCL by the environment; no effect elsewhere", RUNS, RUNS, RUNS, names_device=False,
         todo="leave it; set what the chip's own software has for it", minutes=2),
    # not a device at all
    Rule("word", "only a word: a label or a file name, no device", RUNS, RUNS, RUNS, names_device=False, ties=False,
         todo="nothing"),
)  # fmt: skip

RULES: Mapping[str, Rule] = {rule.key: rule for rule in (*_TABLE, *SOURCE_TABLE)}

# Sources in CUDA's language, which porting.kernels translates for some chips.
KERNELS = frozenset({"cuda-extension", "cuda-source", "own-extension", "cu-file"})
