"""The words of a scorecard's page, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    "kicker": ("what a chip runs, how exactly, how fast", "芯片能运行什么、多准、多快"),
    "measured": ("measured", "实测"),
    "simulated": ("simulated: stood in for by processor cores", "模拟：由处理器核心代替"),
    "smoke": ("one sample each", "每项一个样本"),
    "part": ("a part only", "仅一部分"),
    "index": ("inclusiveness", "包容度"),
    "unweighted": ("unweighted", "未加权"),
    "band": ("with the untested", "含未测项的范围"),
    "operators": ("operators", "算子"),
    "usable": ("usable everywhere", "全部可用"),
    "effective": ("effective compute", "有效算力"),
    "nothing": ("No operator was asked for.", "未测试任何算子。"),
    "no speed": ("no speed is told of a chip that cores stand in for", "由处理器核心代替的芯片不给出速度"),
    "strict": ("strict", "严格"),
    "basic": ("basic", "基本"),
    "nondeterministic": ("nondeterministic", "不确定"),
    "host fallback": ("host fallback", "回退到主机"),
    "wrong": ("wrong", "错误结果"),
    "error": ("error", "报错"),
    "timeout": ("timeout", "超时"),
    "crash": ("crash", "崩溃"),
    "untested": ("untested", "未测"),
    "map": ("Every operator", "全部算子"),
    "map note": (
        "A tile is an operator of torch's own database; a tile of one colour did the same everywhere, else its columns are number "
        "formats and its rows forward and backward. Point at a tile for its name.",
        "每格是 torch 算子库中的一个算子；单色表示各处一致，否则列为数值格式，行为前向与反向。指向一格可见名称。",
    ),
    "differ": ("Where they differ", "差异"),
    "no difference": ("Nowhere.", "没有差异。"),
    "accuracy": ("How far from the truth", "与真值的距离"),
    "accuracy note": (
        "Largest error against float64, as a multiple of the reference chip's own on the same samples. Left of 1 is nearer to the truth. Heights are logarithmic.",
        "相对 float64 的最大误差，除以参考芯片在相同样本上的误差。小于 1 即更接近真值。高度为对数刻度。",
    ),
    "no accuracy": ("No errors could be compared.", "没有可比较的误差。"),
    "none farther": ("No operator is farther from the truth than on the reference chip.", "没有算子比参考芯片离真值更远。"),
    "ratio": ("ratio", "倍数"),
    "where": ("format, direction", "格式与方向"),
    "median": ("median", "中位数"),
    "ceilings": ("How fast at best", "速度上限"),
    "bars": (
        "Bars are medians of what was measured. | the vendor's sheet, ◆ the reference chip; a bar may pass either.",
        "条形为实测中位数。| 为厂商标称值，◆ 为参考芯片，实测可高于二者。",
    ),
    "no ceilings": ("None was measured.", "未测量。"),
    "matmul": ("Matrix products", "矩阵乘"),
    "attention": ("Attention", "注意力"),
    "copy": ("Copies", "拷贝"),
    "collective": ("Collectives", "集合通信"),
    "absent": ("Absent", "缺失"),
    "work": ("What is left to do", "待办"),
    "work note": (
        "Operators that aren't usable everywhere, by what is lost: how many public projects call one, times how much of it fails.",
        "并非处处可用的算子，按损失排序：调用它的公开项目数乘以失败的比例。",
    ),
    "no work": ("Nothing: every operator that was tested is usable everywhere.", "无：所有已测算子处处可用。"),
    "operator": ("operator", "算子"),
    "verdict": ("at worst", "最差结果"),
    "projects": ("projects", "项目数"),
    "why": ("why", "原因"),
    "made": ("How this was made", "如何测得"),
    "against": ("Compared with", "参考："),
    "formula": (
        "Index = 100 × Σ w·c / Σ w over the operators; c is the mean credit over formats and directions (strict 1, basic 0.9, "
        "nondeterministic 0.5, host fallback 0.25, else 0; untested counts 0), w is 1 plus the number of public projects that call "
        "the operator. Effective compute = measured matrix product rate × the share of public files whose operators are all usable.",
        "指数 = 100 × Σ w·c / Σ w；c 为各格式与方向得分的均值（严格 1，基本 0.9，不确定 0.5，回退到主机 0.25，其余 0；未测计 0），"
        "w 为 1 加调用该算子的公开项目数。有效算力 = 实测矩阵乘速度 × 所有算子均可用的公开文件所占比例。",
    ),
}


def both(name: str, tag: str = "span", kind: str = "") -> str:
    """An element with the words in both languages, of which the page shows one."""
    english, chinese = WORDS[name]
    said = f'<span lang="en">{english}</span><span lang="zh">{chinese}</span>'
    return f'<{tag} class="{kind}">{said}</{tag}>' if kind else f"<{tag}>{said}</{tag}>"
