"""How the HTML report looks, moves and speaks: its style, its few lines of script, its headings in two languages."""

from __future__ import annotations

from collections.abc import Mapping

# Colours are the four words', chosen to differ in lightness too, for print and for eyes that mix up red and green.
STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d2228; --soft: #5b6470; --line: #dcd9d1; --card: #ffffff;
  --code: #f3f1ea;
  --runs: #1f7a4d; --emulated: #2868b0; --rewrite: #b06a00; --blocked: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e8e6e0; --soft: #9aa3ad; --line: #2c3239;
  --card: #1b1f25;
  --code: #22272e; --runs: #5cc98d; --emulated: #7db4f2; --rewrite: #f0b04d; --blocked: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", "Noto Sans CJK SC", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 12px; }
p { margin: 6px 0; } .soft { color: var(--soft); }
header { display: flex; justify-content: space-between; gap: 24px; align-items: start; }
button, select, input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 7px; padding: 5px 11px; }
button { cursor: pointer; } button[aria-pressed=false] { opacity: .45; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin: 24px 0 0; }
.fact { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 13px 16px; }
.fact b { display: block; font-size: 25px; line-height: 1.25; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; background: var(--card); border: 1px solid var(--line); }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 9px 13px; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.chips { width: 24%; } td.chips span { white-space: nowrap; } td p { margin: 0 0 5px; line-height: 1.4; }
  td p .soft { font-size: 13px; overflow-wrap: anywhere; }
.word { display: inline-block; min-width: 78px; text-align: center; border-radius: 5px; padding: 1px 9px;
  font-weight: 600; font-size: 13px;
  color: var(--tone); border: 1.5px solid var(--tone); }
.runs { --tone: var(--runs); } .emulated { --tone: var(--emulated); } .rewrite { --tone: var(--rewrite); }
  .blocked { --tone: var(--blocked); }
.tools { display: flex; flex-wrap: wrap; gap: 8px; margin: 0 0 14px; align-items: center; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 0 0 10px; }
summary { cursor: pointer; padding: 10px 15px; font-weight: 600; overflow-wrap: anywhere; }
summary .soft { font-weight: 400; }
.finding { padding: 10px 15px 12px; border-top: 1px solid var(--line); border-left: 4px solid var(--tone);
  break-inside: avoid; }
.finding:target { background: var(--code); }
.finding code { display: block; background: var(--code); border-radius: 6px; padding: 5px 10px; margin: 6px 0;
  white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.finding .place { font-variant-numeric: tabular-nums; color: var(--soft); margin-right: 8px; }
.todo::before { content: "\\2192\\00a0"; color: var(--tone); font-weight: 700; }
svg text { fill: currentColor; font: 13px system-ui, "Noto Sans CJK SC", sans-serif; }
.hidden { display: none; }
html[data-language=en] [lang=zh], html[data-language=zh] [lang=en] { display: none; }
@media (max-width: 760px) { main { padding: 20px 12px 60px; } h1, td, th { overflow-wrap: anywhere; }
  table, svg { display: block; max-width: 100%; overflow-x: auto; } .tools { flex-wrap: wrap; } }
@media print { body { background: #fff; font-size: 11px; } main { max-width: none; padding: 0; }
  .tools, header button { display: none; }
  details { border-radius: 0; } h2 { break-after: avoid; } }
"""

SCRIPT = """
const all = Array.from(document.querySelectorAll('.finding'));
const rule = document.getElementById('rule'), text = document.getElementById('text');
const words = Array.from(document.querySelectorAll('button[data-word]'));
function show() {
  const on = words.filter(b => b.getAttribute('aria-pressed') === 'true').map(b => b.dataset.word);
  const wanted = text.value.toLowerCase();
  let count = 0;
  for (const one of all) {
    const seen = on.includes(one.dataset.word) && (!rule.value || one.dataset.rule === rule.value)
      && (!wanted || one.textContent.toLowerCase().includes(wanted));
    one.classList.toggle('hidden', !seen);
    count += seen;
  }
  for (const file of document.querySelectorAll('details.file'))
    file.classList.toggle('hidden', !file.querySelector('.finding:not(.hidden)'));
  document.getElementById('count').textContent = count + ' / ' + all.length;
}
for (const button of words) button.addEventListener('click', () => {
  button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') !== 'true')); show(); });
rule.addEventListener('change', show); text.addEventListener('input', show);
document.getElementById('language').addEventListener('click', () => {
  const root = document.documentElement;
  root.dataset.language = root.dataset.language === 'en' ? 'zh' : 'en'; });
window.addEventListener('beforeprint', () => document.querySelectorAll('details').forEach(d => { d.open = true; }));
show();
"""

HOW = "Hours are estimates from a table of minutes a place; each doubling of like places in a file makes a place a fifth cheaper."

# English heading -> Chinese.
HEADINGS: Mapping[str, str] = {
    "What ties it to CUDA": "与 CUDA 的绑定",
    "scanned on": "扫描日期",
    "files read": "已读文件",
    "places": "处",
    "to make it name no vendor, by hand": "手工改为不依赖厂商",
    "after forebay port --write": "自动改写之后",
    "What becomes of it, chip by chip": "各芯片上的结果",
    "verdict": "结论",
    "chips": "芯片",
    "why": "原因",
    "run by us on it": "我们是否实测",
    "effort": "工作量",
    "Effort": "工作量",
    "What was found": "发现",
    "by rule": "按规则",
    "rule": "规则",
    "meaning": "含义",
    "what to do": "怎么办",
    "all rules": "全部规则",
    "search": "搜索",
    "Good to know": "其他说明",
    "Not read": "未能读取",
    "runs": "可运行",
    "emulated": "模拟运行",
    "rewrite": "需改写",
    "blocked": "受阻",
    "Read from the text and the catalogue; nothing was run, and no file was changed.":
        "仅依据源码与芯片目录；未运行程序，未改动文件。",
    HOW:
        "工时按每处分钟数估算；同一文件内同类位置每增加一倍，单处成本降低五分之一。",
    "One word a place: the worst on the chips that were asked for.": "每处显示所问芯片中最差的结论。",
}  # fmt: skip
