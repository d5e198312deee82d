# Copyright (c) 2026 The virtnet.qos authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins!

"""How the page of an audit looks: light and dark, on a screen and on paper."""

STYLE = """
:root{color-scheme:light dark;--bg:#f4f6f8;--card:#fff;--ink:#19212c;--soft:#56616f;--line:#dde2e8;--track:#e9edf1;
  --link:#1f5fae;--ok:#2e8b69;--err:#bf3529;--warn:#a9680a;--info:#3a6cae;--err-bg:#fbeae8;--warn-bg:#fbf1de;
  --info-bg:#e8f0fa;--ok-bg:#e4f3ec;--undeclared:#8a94a3;--differs:#7c5cb8;--drift:#dd8f13;--g0:#3c78b4;
  --g1:#6c9cca;--g2:#2a5a8c;--in:#3a6cae;--out:#d1853b;--on:#fff}
@media (prefers-color-scheme:dark){
:root{--bg:#0f1318;--card:#171d25;--ink:#e4e9ef;--soft:#9aa5b3;--line:#2a333f;--track:#242c37;--link:#86b4f0;
  --ok:#43ad84;--err:#f0776b;--warn:#e3b04e;--info:#7eaeec;--err-bg:#3a1f1d;--warn-bg:#352b17;--info-bg:#1b2a3f;
  --ok-bg:#16302a;--undeclared:#768191;--differs:#a98be3;--drift:#d99a35;--g0:#5a95d2;--g1:#82b0de;--g2:#3f77b0;
  --in:#6a9fe0;--out:#d9975a;--on:#0f1318}
}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 24px}
header{padding-top:36px;padding-bottom:4px}
h1{font-size:27px;line-height:1.2;letter-spacing:-.02em;margin:0}
h2{font-size:17px;letter-spacing:-.01em;margin:0 0 4px}
main>section:last-child>h2{margin:26px 0 10px}
h3{font-size:14px;margin:18px 0 6px}
p{margin:0 0 10px}
.quiet thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.soft,.note{color:var(--soft)}
.note{font-size:13px}
a{color:var(--link)}
.verdict{display:inline-block;margin:14px 0 0;padding:7px 14px;border-radius:999px;font-weight:600}
.verdict.error,.badge.error{background:var(--err-bg);color:var(--err)}
.verdict.warning,.badge.warning{background:var(--warn-bg);color:var(--warn)}
.verdict.info,.badge.info{background:var(--info-bg);color:var(--info)}
.verdict.ok,.badge.ok{background:var(--ok-bg);color:var(--ok)}
.badge{display:inline-block;padding:1px 9px;border-radius:999px;font-size:12px;font-weight:600;white-space:nowrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin:22px 0 14px}
.tile,.card,details{background:var(--card);border:1px solid var(--line);border-radius:12px}
.tile{padding:14px 18px}
.tile b{display:block;font-size:29px;line-height:1.2;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.tile.error b{color:var(--err)}
.tile.warning b{color:var(--warn)}
.tile.ok b{color:var(--ok)}
.card{padding:20px 22px;margin:0 0 14px;overflow-x:auto}
.two{columns:2 480px;column-gap:14px}
.two .card{break-inside:avoid}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:600;font-size:12.5px;padding:6px 14px 6px 0;
  border-bottom:1px solid var(--line)}
td{padding:8px 14px 8px 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.o,td.c{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:12.5px;
  overflow-wrap:anywhere}
td.o{width:32%}
td.m{overflow-wrap:anywhere}
.plot{display:block;width:100%;height:auto;margin-top:10px;font-size:12px}
.plot text{fill:var(--ink)}
.plot .muted{fill:var(--soft)}
.plot .wrong{fill:var(--err);font-weight:600}
.plot .inside,.plot .sign{fill:var(--on);font-size:11px;font-weight:600}
.plot .in-s-not_compared,.plot .in-s-undeclared{fill:var(--ink)}
.plot .track{fill:var(--track)}
.plot .unknown{fill:none;stroke:var(--line);stroke-dasharray:4 3}
.plot .limit{stroke:var(--ink);stroke-width:2}
.plot .axis{stroke:var(--line)}
.g0{fill:var(--g0)}
.g1{fill:var(--g1)}
.g2{fill:var(--g2)}
.over{fill:var(--err)}
.s-in_order,.h-ok{fill:var(--ok)}
.s-not_compared{fill:var(--card);stroke:var(--soft);stroke-dasharray:3 2}
.s-undeclared{fill:var(--track);stroke:var(--undeclared);stroke-width:1.5}
.s-differs{fill:var(--differs)}
.s-drift{fill:var(--drift)}
.s-unenforced,.h-error{fill:var(--err)}
.over-s-differs{stroke:var(--card);stroke-width:14;stroke-dasharray:3 3;stroke-dashoffset:4}
.over-s-drift{stroke:var(--card);stroke-width:4}
.over-s-unenforced{stroke:var(--card);stroke-width:6;stroke-dasharray:4 3;stroke-dashoffset:-2}
.h-warning{fill:var(--drift)}
.h-lost{fill:var(--soft)}
.d-inbound{fill:var(--in)}
.d-outbound{fill:var(--out)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:6px 0 0;padding:0;font-size:13px;
  color:var(--soft)}
.key{width:16px;height:14px;margin-right:6px;vertical-align:-2px;overflow:visible}
details{margin:0 0 8px}
summary{padding:11px 18px;cursor:pointer;display:flex;flex-wrap:wrap;gap:6px 12px;align-items:center}
summary::before{content:"\\25B8";color:var(--soft);width:12px}
details[open]>summary::before{content:"\\25BE"}
summary::-webkit-details-marker{display:none}
summary b{font-weight:600}
summary .soft{font-size:13px}
summary:focus-visible,a:focus-visible{outline:2px solid var(--link);outline-offset:2px;border-radius:8px}
.body{padding:2px 22px 16px;overflow-x:auto;scroll-margin-top:60px}
footer{padding-top:10px;padding-bottom:40px;font-size:13px;color:var(--soft)}
@media print{
:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--track:#eee}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{font-size:11px}
details::details-content{content-visibility:visible;block-size:auto}
.tile,.card,tr,.plot{break-inside:avoid}
}
"""
