/* What the gallery and the page of `cgiaa review` share, with words.js, charts.js and filters.js. All that comes from
   photos is set as text or as an attribute, never as HTML. page.py puts the files of a page into one function. */

const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const ATTRIBUTES = Object.keys(data.attributes);
const SCORES = { score: "Overall", ...data.attributes, technical: "Technical quality", spread: "Disagreement", complexity: "Complexity" };
const ORDERS = { value: "Rank", ...SCORES, taken_at: "Capture time", path: "Name" };

function make(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
const fixed = (value, digits = 2) => (value === null ? "-" : value.toFixed(value >= 10.5 ? 0 : digits));
const spoken = (kind) => kind.replace("_", "-");
const when = (photo) => (photo.taken_at ? photo.taken_at.replace("T", " ") : "");

/* ---- theme ---- */

const THEMES = ["auto", "light", "dark"];
function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  try { localStorage.setItem("cgiaa-theme", theme); } catch { /* a page from a stick may not keep anything */ }
}
function nextTheme() {
  const now = document.documentElement.dataset.theme || "auto";
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
}
let kept = "auto";
try { kept = localStorage.getItem("cgiaa-theme") || "auto"; } catch { /* the same */ }
setTheme(THEMES.includes(kept) ? kept : "auto");
$("theme").addEventListener("click", nextTheme);
$("keys").addEventListener("click", () => $("help").showModal());
