"""The page's style sheet. Ink, muted text, grid and paper are the charts' own colours."""

from varmixup_jax.report.style import GRID, INK, MUTED, PAPER

_INK, _MUTED, _GRID, _PAPER = (f"var(--{c[1:]})" for c in (INK, MUTED, GRID, PAPER))

CSS = f"""
:root {{
  --font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  --ink: {_INK}; --muted: {_MUTED}; --line: {_GRID}; --card: {_PAPER};
  --page: #f3f5f8; --accent: #2f5fd0; --paper-tint: #eef1f6;
}}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #0f1318; --accent: #8fb0ff; --paper-tint: #1f2630; }}
}}
* {{ box-sizing: border-box; }}
html {{ scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 var(--font); }}
header, main {{ max-width: 1280px; margin: 0 auto; padding: 0 20px; }}
header {{ padding-top: 36px; }}
h1 {{ font-size: clamp(1.5rem, 1.1rem + 1.6vw, 2.1rem); line-height: 1.2; margin: 0 0 12px; }}
h1.dataset {{ margin: 40px 0 0; padding-top: 20px; border-top: 3px solid var(--accent); }}
h2 {{ font-size: 1.28rem; margin: 0 0 12px; }}
h3 {{ font-size: 1.02rem; margin: 24px 0 8px; overflow-wrap: anywhere; }}
h3 small {{ color: var(--muted); font-weight: 400; margin-left: 6px; }}
p {{ margin: 0 0 12px; max-width: 82ch; }}
p.lead {{ color: var(--muted); font-size: 1.04rem; overflow-wrap: anywhere; }}
p.note {{ color: var(--muted); font-size: .9rem; }}
nav {{ display: flex; flex-wrap: wrap; gap: 8px; margin: 16px 0 4px; }}
nav a {{ color: var(--accent); text-decoration: none; font-size: .9rem; padding: 4px 12px;
  border: 1px solid var(--line); border-radius: 999px; background: var(--card); }}
nav a:hover, nav a:focus-visible {{ border-color: var(--accent); }}
section {{ background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 22px; margin: 20px 0; scroll-margin-top: 12px; }}
.scroll {{ overflow-x: auto; max-width: 100%; border: 1px solid var(--line); border-radius: 10px; }}
table {{ border-collapse: separate; border-spacing: 0; width: 100%; font-size: .875rem;
  font-variant-numeric: tabular-nums; }}
th, td {{ padding: 8px 12px; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }}
thead th {{ color: var(--muted); font-weight: 600; font-size: .8rem; line-height: 1.3;
  vertical-align: bottom; background: var(--paper-tint); min-width: 5.4em; }}
tbody tr:last-child > * {{ border-bottom: 0; }}
tr > :first-child {{ text-align: left; position: sticky; left: 0; z-index: 1; min-width: 0;
  border-right: 1px solid var(--line); }}
tr > :first-child span {{ display: block; width: max-content; max-width: min(38vw, 20em);
  overflow-wrap: anywhere; }}
tbody tr > :first-child {{ font-weight: 600; background: var(--card); }}
tbody tr:hover > * {{ background: var(--paper-tint); }}
.numbers td {{ white-space: nowrap; }}
.numbers b {{ color: var(--accent); }}
.results {{ font-size: .8rem; }}
.results th, .results td {{ padding: 7px; }}
.results thead th {{ font-size: .74rem; min-width: 4.6em; }}
.results th:nth-child(2), .results td:nth-child(2) {{ min-width: 0; color: var(--muted); }}
th.paper, td.paper {{ color: var(--muted); background: var(--paper-tint); font-style: italic; }}
.texts th, .texts td {{ text-align: left; }}
.texts td {{ overflow-wrap: anywhere; min-width: 5.5em; max-width: 34em; }}
tbody tr > :first-child span {{ line-height: 1.4; }}
.runs td {{ white-space: nowrap; min-width: 0; }}
.runs td:nth-child(2) {{ white-space: normal; min-width: 7em; }}
.runs td:nth-last-child(-n+2) {{ white-space: normal; min-width: 22em; overflow-wrap: anywhere; }}
.runs td:last-child {{ font-family: ui-monospace, Consolas, monospace; font-size: .78rem; }}
.remarks {{ color: var(--muted); font-size: .85rem; padding-left: 1.2em; margin: 12px 0 0; }}
.remarks li {{ overflow-wrap: anywhere; }}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0;
  margin: 0 0 12px; font-size: .87rem; }}
.legend li {{ display: flex; align-items: center; gap: 7px; overflow-wrap: anywhere; }}
.legend .note {{ color: var(--muted); }}
.legend svg {{ width: 40px; height: 17px; flex: none; }}
.charts {{ display: grid; gap: 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 350px), 1fr)); }}
figure {{ margin: 0; min-width: 0; }}
.chart svg {{ display: block; width: 100%; height: auto; max-width: 560px; }}
svg * {{ stroke-linejoin: round; stroke-linecap: butt; }}
.pictures {{ display: grid; gap: 22px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }}
.picture img {{ display: block; max-width: 100%; height: auto; image-rendering: pixelated; }}
figcaption {{ color: var(--muted); font-size: .85rem; margin-top: 6px; }}
.strips {{ display: grid; gap: 16px 20px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); }}
.strips img {{ width: 100%; }}
.strips figure {{ display: flex; flex-direction: column-reverse; justify-content: flex-end; }}
.strips figcaption {{ margin: 0 0 3px; color: var(--ink); }}
details {{ margin: 12px 0 0; }}
details details {{ margin: 6px 0 0 12px; }}
summary {{ cursor: pointer; color: var(--accent); overflow-wrap: anywhere; }}
pre {{ overflow-x: auto; background: var(--paper-tint); border-radius: 8px; padding: 12px;
  font-size: .8rem; line-height: 1.45; }}
@media (max-width: 600px) {{
  header, main {{ padding: 0 10px; }}
  header {{ padding-top: 20px; }}
  section {{ padding: 14px; border-radius: 10px; margin: 12px 0; }}
  th, td {{ padding: 7px 9px; }}
}}
@media print {{
  body {{ background: none; }}
  nav {{ display: none; }}
  section {{ border: 0; padding: 0; }}
  figure {{ break-inside: avoid; }}
}}
"""
