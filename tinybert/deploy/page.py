"""The web page of a service: a form to try the model, without external resources."""

from __future__ import annotations

import html

from tinybert import language
from tinybert.deploy.predictor import Predictor
from tinybert.language import translate

_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.3rem; }}
textarea {{ width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; border: 1px solid #bbb; border-radius: 6px; }}
button {{ font: inherit; padding: .4rem 1.2rem; margin: .5rem 0; border: 0; border-radius: 6px; background: #2962a8; color: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ padding: .2rem .5rem .2rem 0; }}
.bar {{ background: #2962a8; height: .7rem; border-radius: 3px; }}
.wide {{ width: 60%; }}
#error {{ color: #a02020; }}
small {{ color: #666; }}
</style>
</head>
<body>
<h1>{title}</h1>
<form id="form">
<label for="text">{first}</label>
<textarea id="text" rows="3" required autofocus></textarea>
{second}
<button type="submit">{predict}</button>
</form>
<p id="error" role="alert"></p>
<p id="answer" aria-live="polite"></p>
<table id="shares"></table>
<p><small>{engine} · <a href="docs">API</a> · <a href="health">health</a> · <a href="metrics">metrics</a></small></p>
<script>
const by = id => document.getElementById(id);
by("form").addEventListener("submit", async event => {{
  event.preventDefault();
  by("error").textContent = by("answer").textContent = "";
  by("shares").replaceChildren();
  const request = {{ text: by("text").value, probabilities: true }};
  if (by("pair")) request.text_pair = by("pair").value;
  const begun = performance.now();
  try {{
    const response = await fetch("predict", {{
      method: "POST", headers: {{ "Content-Type": "application/json" }}, body: JSON.stringify(request) }});
    const found = await response.json();
    if (!response.ok) throw new Error(typeof found.detail === "string" ? found.detail : JSON.stringify(found.detail));
    const one = found.predictions[0];
    const time = Math.round(performance.now() - begun) + " ms";
    if ("score" in one) {{ by("answer").textContent = "score " + one.score.toFixed(3) + " (" + time + ")"; return; }}
    by("answer").textContent = one.label + " (" + (100 * one.probability).toFixed(1) + "%, " + time + ")";
    const shares = Object.entries(one.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 20);
    for (const [label, share] of shares) {{
      const row = by("shares").insertRow();
      row.insertCell().textContent = label;
      row.insertCell().textContent = (100 * share).toFixed(1) + "%";
      const cell = row.insertCell(), bar = document.createElement("div");
      cell.className = "wide"; bar.className = "bar"; bar.style.width = 100 * share + "%"; cell.append(bar);
    }}
  }} catch (problem) {{ by("error").textContent = problem.message; }}
}});
</script>
</body>
</html>
"""
_SECOND = '<label for="pair">{}</label>\n<textarea id="pair" rows="3" required></textarea>'


def page(predictor: Predictor) -> str:
    """The page for a model, in the chosen language: one text field, or two for a model for pairs."""
    pair = bool(predictor.rows.pair)
    return _PAGE.format(
        language=language.current(),
        title=html.escape(translate(f"Try the model: {predictor.rows.task}" if predictor.rows.task else "Try the model")),
        first=translate("First text" if pair else "Text"),
        second=_SECOND.format(translate("Second text")) if pair else "",
        predict=translate("Predict"),
        engine=html.escape(f"{predictor.engine.name} {predictor.engine.precision}"),
    )
