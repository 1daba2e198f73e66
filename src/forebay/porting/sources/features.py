"""What a line of C++ or CUDA is looked for, hardest first: a line is told by the hardest thing in it.

Asked:  which words of a line say that it uses shared memory, counts on 32 lanes, or calls cuBLAS?
Answer: HEADERS for what is included, CARD for what only stands in sources for a card, HOST for what any C++ may hold. They
        are tried in this order on text whose comments and strings were blanked out.
Limits: words, not types: `half` alone is a name that people give to numbers, and isn't looked for.
"""

from __future__ import annotations

import re

# What is included -> rule. First match wins.
HEADERS = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("cu-cutlass", r"cutlass[/_]|cute/|cutlass\.h"),
        ("cu-cub", r"cub/|cub\.cuh$|ATen/cuda/cub"),
        ("cu-thrust", r"thrust/(?!complex\.h)|cuda/std/|cuda/(?:atomic|functional|ptx)$"),
        ("cu-curand", r"curand_kernel\.h|curand_(?:philox|mtgp32|xorwow|normal|uniform)\w*\.h"),
        ("cu-library", r"cu(?:blas|dnn|sparse|fft|solver|tensor|dss)\w*\.h|curand\.h|nccl\w*\.h|npp\w*\.h|nvjpeg\w*\.h"
         r"|cudnn_frontend|NvInfer\w*\.h|torch/csrc/cuda/nccl\.h"),
        ("cu-tensor-core", r"(?:crt/)?mma\.h$"),
        ("cu-async", r"cuda_pipeline\w*\.h|cuda/(?:pipeline|barrier)$|cuda_awbarrier\w*\.h|cooperative_groups/memcpy_async\.h"),
        ("cu-driver", r"nvrtc\w*\.h|cudaTypedefs\.h|nvml\.h|cuda_etbl"),
        ("cu-fp8", r"cuda_fp[468]\.h\w*"),
        ("cu-warp", r"cooperative_groups(?:\.h|/\w+\.h)"),
        ("cu-fp16", r"cuda_(?:fp16|bf16)\.h\w*"),
        ("cu-torch", r"(?:ATen|c10|torch)/(?:native/|csrc/)?cuda/|THC/|torch/csrc/cuda|ATen/native/cuda|ATen/CUDA\w+"),
        ("cu-runtime", r"cuda(?:_runtime\w*|_profiler_api|_gl_interop|_device_runtime_api)?\.h\w*$|cuda\.hpp$"
                       r"|device_launch_parameters\.h"
         r"|device_functions\.h|driver_(?:types|functions)\.h|vector_(?:types|functions)\.h|helper_cuda\.h|host_defines\.h"
         r"|sm_\d\d_\w+\.h|nvtx3/|nvToolsExt\w*\.h|math_constants\.h|thrust/complex\.h|device_atomic_functions\.h"
         r"|texture_types\.h|surface_types\.h|builtin_types\.h|cuComplex\.h"),
    )
)  # fmt: skip

_ATOMICS = (
    r"\b(?:gpu|unsafe|fast)?[aA]tomic(?:Add|Sub|Exch|Min|Max|Inc|Dec|CAS|And|Or|Xor)(?:64|_system|_block"
    r"|NoReturn|NoRet)?\s*(?=[(<])"
)
_WARP = (
    r"\b(?:__shfl\w*|__ballot\w*|__any(?:_sync)?|__all(?:_sync)?|__activemask|__match_\w+|__reduce_\w+_sync|__syncwarp)\b"
    r"|\b(?:WARP_SHFL\w*|WARP_BALLOT)(?=\s*\()|\bwarpSize\b|\bC10_WARP_SIZE\b|\b(?:tiled_partition|coalesced_threads"
    r"|thread_block_tile|coalesced_group)\b"
    r"|\bcg\s*::\s*(?:reduce|inclusive_scan|exclusive_scan)\b|\bcooperative_groups\b"
)
# The number of lanes, in words that speak of threads: these tell it from other things that are 32.
_THREAD = r"(?:threadIdx\.[xyz]|\w*(?:tid|lane|warp|thread)\w*)"
_LANES = (
    r"(?i:\b\w*warp_?(?:size|width|len|threads)\w*\b\s*[=(]?\s*32[uU]?\b)"  # #define WARP_SIZE 32, kWarpSize = 32
    r"|\b(?:threads?_?per_?warp|lanes?_?(?:per|in)_?warp|num_?lanes|warp_?lanes|wsz|WARP)\w*\b\s*=?\s*32[uU]?\b"
    rf"|\b{_THREAD}\b\)?\s*(?:%|/|&|>>)\s*(?:32|31|0x1[fF]|5)\b(?!\s*\.)"  # threadIdx.x & 31
    r"|\b(?:blockDim\.x|(?i:block_?(?:size|dim)))\)?\s*(?:/\s*32|>>\s*5)\b"  # how many warps a block has
    r"|(?i:\bgrid\w{0,20}\b[^;]{0,20}=[^;]{0,60}\*\s*32\b[^;]{0,60}block)"  # a warp for each row: ceil_div(N * 32, block_size)
    r"|\b(?:__shfl\w*|__ballot\w*|__any_sync|__all_sync|__match_\w+|__reduce_\w+_sync|__syncwarp|WARP_SHFL\w*)\s*\([^;]*"
    r"(?:0[xX][fF]{8}[uU]?[lL]*|~0[uU]?|\bUINT_MAX\b|\(unsigned\)\s*-1|,\s*32\s*\))"
    r"|\b\w*(?:mask|MASK)\w*\b\s*=?\s*0[xX][fF]{8}[uU]?[lL]*(?![\w])"
    r"|\bfor\s*\(\s*\w[\w\s]*=\s*(?:16|32\s*/\s*2|32\s*>>\s*1)\s*;\s*\w+\s*(?:>\s*0|>=\s*1"
    r"|!=\s*0)?\s*;\s*\w+\s*(?:>>=\s*1|/=\s*2|=\s*\w+\s*(?:/\s*2|>>\s*1))"
    r"|\btiled_partition\s*<\s*32\s*>|\bthread_block_tile\s*<\s*32\b"
)
# One step of a reduction in shared memory: s[t] += s[t + 16].
STEP = re.compile(r"\b(\w+)\s*\[\s*(\w+)\s*\]\s*(?:\+=|=[^=;]*)[^;]*\b\1\s*\[\s*\2\s*\+\s*(?:32|16|8|4|2|1)\s*\]")
# The last steps of a reduction, `if (tid < 32)` and `s[tid + 32]`: lanes, unless a barrier follows, which is right for any width.
LAST_WARP = re.compile(rf"\b{_THREAD}\b\)?\s*(?:(?:<=?|==|!=|>=?)\s*(?:32|31)\b|\+\s*32\s*\])")
_RUNTIME = (
    r"\bcuda(?:Malloc|Free|Mem|Stream|Event|Device|Get|Set|Func|Occupancy|Error|Success|Host|Peer|Ipc|Pointer|Array|Pitched"
    r"|Extent|Make|Pos|Channel|Runtime|Driver|Profiler|DataType|Launch|Limit|Pool|UUID|Thread|CpuDeviceId|Invalid|Shared|Kernel"
    r"|Dev|ReadMode|FilterMode|Access|External|Import|Wait|Signal|User|Choose|Enable|Register|Attr)(?!\w*Check\b)\w*"
    r"|\bcuda_?(?:Stream|Error|Event|Device)_t\b|\bnvtx(?:Range|Mark|Name)\w+"
    r"|\bmake_(?:u?(?:char|short|int|long|longlong)|float|double)[234]\s*(?=\()"
)

# rule -> what only stands in sources for a card.
CARD = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("cu-hopper", r"\bwgmma\w*|\bwarpgroup_(?:arrive|wait|commit_batch|fence_operand|reg_alloc|reg_dealloc)\b"
                      r"|\bcp_async_bulk\w*"
         r"|\bSM(?:90|100|120)_\w+|\b__cluster_dims__|\bcluster_(?:arrive|wait|sync|group)\w*|\bthis_cluster\b|\bcuTensorMap\w+"
         r"|\bCUtensorMap\w*|\btma_(?:partition|store_arrive|store_wait|store_fence)\w*|\bmake_tma_\w+|\b__grid_constant__"
         r"|\bcudaLaunchAttribute(?:Cluster|Programmatic)\w*"
         r"|\bcudaGridDependencySynchronize\b|\bcudaTriggerProgrammaticLaunchCompletion\b"
         r"|\bfence_barrier_init\b"
         r"|\bClusterTransactionBarrier\b|\bClusterBarrier\b"),
        ("cu-cutlass", r"\bcutlass(?:::|\b)|\bcute(?=\s*::|\s*;)|\bCUTE_\w+|\bCUTLASS_\w+"),
        ("cu-asm", r"\b(?:asm|__asm__|__asm)\b(?=\s*(?:volatile|__volatile__|\(|$))"),
        ("cu-tensor-core", r"\bwmma\b|\b(?:mma|load_matrix|store_matrix)_sync\b|\bnvcuda\b"),
        ("cu-grid", r"\bcudaLaunchCooperativeKernel\w*|\bcudaLaunchAttribute\w*|\bcudaLaunchKernelEx\w*"
         r"|\bthis_grid\b|\bgrid_group\b|\bgrid\s*\.\s*sync\s*\("),
        ("cu-async", r"\b__pipeline_\w+|\bmemcpy_async\b|\bcp_async\w*|\bcuda\s*::\s*(?:pipeline|barrier|memcpy_async)\b"),
        ("cu-texture", r"\btex(?:1D|2D|3D|Cubemap)\w*\s*(?=[(<])|\btexture\s*<|\bsurf[123]D\w*\s*(?=[(<])"
                       r"|\bcuda(?:Texture|Surface|Resource)\w+"
         r"|\bcuda(?:Create|Destroy)(?:Texture|Surface)Object\b|\bcuda(?:Bind|Unbind)Texture\w*"),
        ("cu-graph", r"\bcudaGraph\w*|\bcudaStream(?:Begin|End)Capture\b|\bcudaStreamIsCapturing\b|\bCUDAGraph\b"),
        ("cu-driver", r"\bcu(?:Init|Ctx|Device|Module|Launch|Mem|Stream|Event|Func|Link|Get|Occupancy|Library"
                      r"|Kernel)(?:[A-Z]\w*)?\s*(?=\()"
         r"|\bCU(?:deviceptr|context|module|function|result|stream|event|device|memGenericAllocationHandle)\b"
         r"|\bCUDA_SUCCESS\b|\bnvrtc\w+"),
        ("cu-cub", r"\bcub\s*::|\bcub_def\b|\bnamespace\s+cub\b|\bcub(?=\s*;)"),
        ("cu-thrust", r"\bthrust\s*::\s*(?!complex\b)\w*|\bcuda\s*::\s*(?:std|atomic|atomic_ref)\b|\bThrustAllocator\b"),
        ("cu-curand", r"\bcurand(?:_\w+|State\w*|_init)\b|\bcurandStatePhilox\w*"),
    )
)  # fmt: skip

# The same, for what is less hard than a library's call.
CARD_PLAIN = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("cu-fp8", r"\b__nv_(?:cvt_)?fp[468]\w*|\b__nv_cvt_\w*fp8\w*"),
        ("cu-lanes", _LANES),
        ("cu-warp", _WARP),
        ("cu-atomic", _ATOMICS),
        ("cu-shared", r"\b__shared__\b"),
        ("cu-barrier", r"\bthis_thread_block\b|\b__syncthreads\w*|\b__threadfence\w*|\b(?:block|cta|tb)\s*\.\s*sync\s*\("),
        ("cu-launch", r"(?<!<)<<<(?!<)|\bcudaLaunchKernel\b"),
        ("cu-kernel", r"\b__global__\b"),
        ("cu-device", r"\b__device__\b|\b__constant__\b|\b__managed__\b|\bC10_(?:HOST_)?DEVICE\b|\bC10_HOST_DEVICE\b"),
        ("cu-fp16", r"\b__half2?\b|\bhalf2\b|\b(?:__)?nv_bfloat16\w*|\bsizeof\s*\(\s*half\s*\)|\btypedef\s+half\b"
         r"|\bhalf\s*\*\s*\w+\s*\)\s*\{"
         r"|\b__\w*2(?:half|bfloat16)\w*|\b__(?:half"
                    r"|bfloat16)\w*2\w+|\b__(?:low|high)2\w+"
         r"|\b__h(?:add|sub|mul|fma|div|max|min|lt|gt|le|ge|eq|ne|neg)2?\w*(?=\s*\()"),
    )
)  # fmt: skip

# rule -> what any C++ may hold.
HOST = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("cu-library", r"\b(?:cublas(?:Lt|Xt)?|cudnn|cusparse|cusolver(?:Dn|Sp)?|cufft|curand|nccl|cutensor)(?:[A-Z]\w*|_\w+)"
         r"|\b(?:CUBLAS|CUDNN|CUSPARSE|CUSOLVER|CUFFT|CURAND|NCCL|CUBLASLT)_[A-Z]\w+|\bncclUniqueId\b"
         r"|\bgetCurrentCUDA(?:Blas|BlasLt|Sparse|Solver\w*)\w*|\bgetCudnnHandle\b|\bTORCH_CUDABLAS_CHECK\b"
         r"|\bnvinfer\d?\s*::|\bProcessGroupNCCL\b"),
        ("cpp-dispatch", r"\bTORCH_LIBRARY_IMPL\s*\([^,]*,\s*\w*CUDA\b|\bDispatchKey\s*::\s*\w*CUDA\b"
                         r"|\b[A-Z][A-Z0-9_]*(?:REGISTER|DISPATCH|IMPL)[A-Z0-9_]*"
         r"\s*\([^;]*[,(]\s*k?CUDA\s*[,)]|\.impl\s*\([^;]*\bkCUDA\b"),
        ("cu-torch", r"\b(?:at|c10|torch)\s*::\s*cuda\b|\bgetCurrentCUDAStream\w*|\b(?:Optional)?CUDA(?:Stream"
                     r"|Multi\w*)?Guard\w*|\bCUDAStream\b|\bCUDAEvent\b"
         r"|\bC10_CUDA_\w+|\bAT_CUDA_\w+|\bTHC[A-Z_]?\w+|\bPhiloxCudaState\b|\bCUDAGeneratorImpl\b|\bCUDACachingAllocator\b"),
        ("cpp-device", r"\.\s*is_cuda\s*\(|->\s*is_cuda\s*\(|\bkCUDA\b|\bDeviceType\s*::\s*CUDA\b"
                       r"|\bBackend\s*::\s*CUDA\b|(?:\.|->)\s*cuda\s*\(\s*\)"
         r"|\bget_device_type\s*\(\s*\)\s*==\s*\w*CUDA\b"),
        ("cu-runtime", _RUNTIME),
        ("cu-switch", r"\b(?:CUDA_VERSION|CUDART_VERSION|__CUDACC_VER_\w+__|__CUDA_ARCH__|__CUDACC__)\b"),
    )
)  # fmt: skip

# A line is worth trying all patterns on when one of its words may be CUDA's, or a number in it may be a warp's.
SPEAKS = re.compile(
    r"__|^cu|cu[A-Z_]|CU|cuda|tomic|[wW]arp|WARP|half|float16|asm|mma|^tex|^surf|cute|cutlass|^SM\d|tma|pipeline|async|grid"
    r"|^cg$|thrust|nccl|NCCL|^nv|luster|THC|Philox|^make_|volatile|^tiled|coalesced|thread_block|sync|fence|nvcuda|cublas"
)
NUMBERS = re.compile(r"\b(?:32[uU]?|31|16|5|0[xX]1[fF]|0[xX][fF]{8}\w*)\b|~0|UINT_MAX|<<<")

# Words that make a C++ file one for a card, and the least that a file must hold to be worth more than a first look.
IS_FOR_CARD = re.compile(
    r"\b(?:__global__|__device__|__shared__|threadIdx|__syncthreads|__CUDA_ARCH__|__forceinline__)\b|<<<\s*\w|\bcute\b"
    r"|\bcutlass\b"
)
WORTH_READING = re.compile(r"cuda|CUDA|__global__|__device__|nccl|NCCL|cublas|cudnn|cutlass|cute|THC|thrust|cub::|nvtx|nvinfer")
SWITCH = re.compile(r"^[ \t]*#[ \t]*(?:if|ifdef|ifndef|elif)\b[^\n]*?\b(\w*(?:CUDA|CUDNN|NVCC|CUDART|__NV_)\w*)")
