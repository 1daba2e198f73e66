"""The looks of a scorecard's page: light and dark, and on paper."""

from __future__ import annotations

STYLE = """
:root{--ink:#1b2330;--soft:#5c6675;--line:#e3e6eb;--paper:#f6f7f9;--sheet:#fff;--blue:#2f6fde;--other:#e0863a;
--s:#2b9a72;--b:#a3d3ae;--n:#ecc94b;--h:#f0964a;--w:#d8434f;--e:#96273a;--t:#7d4fb0;--c:#2a2d3f;--u:#c9ced6}
@media (prefers-color-scheme:dark){:root:not(.day){--ink:#e7eaf0;--soft:#9aa4b3;--line:#2c333f;--paper:#12161d;--sheet:#1a2029;
--blue:#6aa2ff;--other:#f0a45e;--s:#2f9f78;--b:#7fb58d;--c:#dfe3ee;--u:#4a5261;--e:#b23a52}}
:root.night{--ink:#e7eaf0;--soft:#9aa4b3;--line:#2c333f;--paper:#12161d;--sheet:#1a2029;
--blue:#6aa2ff;--other:#f0a45e;--s:#2f9f78;--b:#7fb58d;--c:#dfe3ee;--u:#4a5261;--e:#b23a52}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","PingFang SC","Microsoft YaHei",sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 24px 60px}nav{position:fixed;top:14px;right:18px;display:flex;gap:8px}
button{font:inherit;font-size:13px;color:var(--soft);background:var(--sheet);border:1px solid var(--line);border-radius:8px;
padding:3px 10px;cursor:pointer}button:hover{color:var(--ink)}
html.en [lang=zh],html.zh [lang=en]{display:none}
.kicker{color:var(--soft);letter-spacing:.02em;margin:0 0 14px}h1{font-size:30px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:0 0 4px}h3{font-size:15px;margin:16px 0 8px}.sub,.note,.small{color:var(--soft)}.sub{margin:0 0 18px}
.note{margin:0 0 14px;max-width:78ch}.small{font-size:13px}p.small{margin:10px 0 0}
.badge{display:inline-block;vertical-align:middle;font-size:12px;font-weight:500;border-radius:99px;padding:3px 11px;margin-left:6px;
color:#fff;background:var(--s)}.badge.of-simulated{background:var(--h);color:#2b1600}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:18px}
.card,section{background:var(--sheet);border:1px solid var(--line);border-radius:14px;padding:22px 24px}
section{margin-top:18px;overflow-x:auto}.figures{display:flex;gap:30px;align-items:center;margin-bottom:18px}
dl{margin:0;flex:1;display:grid;grid-template-columns:repeat(auto-fit,minmax(118px,1fr));gap:10px 20px}
dt{font-size:12.5px;color:var(--soft)}dd{margin:0;font-size:19px;font-variant-numeric:tabular-nums}dd small{font-size:13px;color:var(--soft)}
.strip{width:100%;height:14px;border-radius:7px}svg{display:block;max-width:100%;height:auto}svg text{font-size:12px;fill:var(--ink);font-family:inherit}svg .soft{fill:var(--soft)}
svg .big{font-size:34px;font-weight:650;letter-spacing:-.02em}svg .axis{stroke:var(--line);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:5px 18px;margin-top:14px;font-size:13px;color:var(--soft)}
.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:7px}
.s{fill:var(--s);background:var(--s)}.b{fill:var(--b);background:var(--b)}.n{fill:var(--n)}.dot.n{background:var(--n)}
.h{fill:var(--h);background:var(--h)}.w{fill:var(--w);background:var(--w)}.e{fill:var(--e);background:var(--e)}
.t{fill:var(--t);background:var(--t)}.c{fill:var(--c);background:var(--c)}.u{fill:var(--u);background:var(--u)}
.none{fill:var(--line)}.one{fill:var(--blue)}.two-bar{fill:var(--other)}.mark{stroke:var(--ink);stroke-width:2}.ref{fill:var(--ink)}
.track{fill:none;stroke:var(--line);stroke-width:13}.ring{fill:none;stroke:var(--s);stroke-width:13;stroke-linecap:round}
.ring.most{stroke:var(--u)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,1fr));gap:10px 34px}
table{border-collapse:collapse;font-size:13.5px;width:100%}th{text-align:left;font-weight:500;color:var(--soft);font-size:12.5px}
th,td{padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
td:last-child{overflow-wrap:anywhere}td .dot{margin-right:6px}.wide td:nth-child(-n+3){white-space:nowrap}
code{font:12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{font:12.5px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--paper);border-radius:8px;padding:10px 14px;
white-space:pre-wrap;overflow-wrap:anywhere}
@media (max-width:560px){.cards,.two{grid-template-columns:1fr}.figures{flex-direction:column;align-items:flex-start}}
@media print{nav{display:none}body{background:#fff}main{max-width:none;padding:0}section,.card{break-inside:avoid;border-color:#ddd}
#work{break-inside:auto}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""

SCRIPT = """
const root=document.documentElement,tongue=document.getElementById("tongue");
function speak(zh){root.classList.toggle("zh",zh);root.classList.toggle("en",!zh);root.lang=zh?"zh":"en";
tongue.textContent=zh?"English":"中文"}
tongue.onclick=()=>speak(root.classList.contains("en"));speak(navigator.language.startsWith("zh"));
document.getElementById("light").onclick=()=>{const dark=root.classList.contains("night")||
(!root.classList.contains("day")&&matchMedia("(prefers-color-scheme:dark)").matches);
root.classList.toggle("night",!dark);root.classList.toggle("day",dark)};
"""
