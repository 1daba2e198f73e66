"""What the rewriter makes of CUDA's language: before, after, and what it leaves alone."""

import pytest

from forebay.porting.kernels.rewrite import rewrite
from forebay.porting.kernels.tokens import commas, text_of, tokenize


def carried(text):
    return " ".join(rewrite(tokenize(text, "a.cu")).split())


def launch(kernel, config, arguments=""):
    comma = ", " if arguments else ""
    body = "[&](auto&... forebay_argument) { " + kernel + "(forebay_argument...); }"
    return f'::forebay_cuda::launch("{kernel}", "a.cu", 1, ::forebay_cuda::Config({config}), {body}{comma}{arguments}) # 1 "a.cu"'


@pytest.mark.parametrize(
    "before, after",
    [
        ("add<<<1, 32>>>(x, n);", launch("add", "1, 32", "x, n") + " ;"),
        ("add<<<1, 32>>>();", launch("add", "1, 32") + " ;"),
        ("ns::add<float, 4><<<g(1, 2), dim3(8, 8), 0, s>>>(x);",
         launch("ns::add<float, 4>", "g(1, 2), dim3(8, 8), 0, s", "x") + " ;"),
        ("if (a) add<(b > c)><<<f<int>(3), 4>>>(x[i, j]);", "if (a) " + launch("add<(b > c)>", "f<int>(3), 4", "x[i, j]") + " ;"),
        ("add<<<1, 2>>>(__null, x.at<float, 2>(), [](int a, int b) { return a; });",
         launch("add", "1, 2", "nullptr, x.at<float, 2>(), [](int a, int b) { return a; }") + " ;"),
        ("{ k->run<T><<<1, 2>>>(a < b, c > d); }", "{ " + launch("k->run<T>", "1, 2", "a < b, c > d") + " ; }"),
        ("__global__ void __launch_bounds__(256, 2) f(int* __restrict__ a);", "void f(int* __restrict__ a);"),
        ("void f() { static __shared__ float a[3][4], b; }", "void f() { static thread_local float a[3][4], b; }"),
        ("void f() { extern __shared__ __align__(16) unsigned char raw[]; }",
         "void f() { unsigned char* raw = (unsigned char*)::forebay_cuda::dynamic_shared(); }"),
        ("void f() { extern volatile __shared__ float s[][32]; }",
         "void f() { volatile float (*s)[32] = (volatile float (*)[32])::forebay_cuda::dynamic_shared(); }"),
        ("__shared__ int s[9], n; if (a) s[i] = b; else s[0] += s[1]; n = s[2];",
         "static thread_local int s[9], n; if (a) ::forebay_cuda::in_step(1), s[i] = b, ::forebay_cuda::in_step(4); "
         "else ::forebay_cuda::in_step(3), s[0] += s[1], ::forebay_cuda::in_step(4); n = s[2];"),
        ("extern __shared__ float s[];", "static const ::forebay_cuda::DynamicShared<float> s;"),
        ("__constant__ float w[3]; static __constant__ int n;", "static float w[3]; static int n;"),
        ("static __forceinline__ __device__ int f() {}", "static inline int f() {}"),
    ],
)  # fmt: skip
def test_cuda_becomes_cxx(before, after):
    assert carried(before) == after


@pytest.mark.parametrize(
    "text",
    [
        'puts("a<<<1, 2>>>(b)");',
        "x = 1 << 3 < 4;",
        "std::vector<std::vector<std::vector<int>>> v(3);",
        "// __shared__",
        "a >>= 2;",
    ],
)
def test_other_text_is_left_alone(text):
    assert carried(text) == text


def test_tokens_join_to_the_text_they_were_cut_from():
    text = 'auto s = R"x(a "quoted" <<< thing)x"; // end\n# 12 "b.cu"\nchar c = \'"\'; double d = 1\'000.5e-3;'
    tokens = tokenize(text, "a.cu")
    assert text_of(tokens) == text
    assert {(token.file, token.line) for token in tokens if token.text == "double"} == {("b.cu", 12)}


def test_commas_in_brackets_and_template_arguments_divide_nothing():
    parts = commas(tokenize("f(a, b), g<int, 2>(c), a < b, c > d, {1, 2}"))
    assert [text_of(part).strip() for part in parts] == ["f(a, b)", "g<int, 2>(c)", "a < b", "c > d", "{1, 2}"]
