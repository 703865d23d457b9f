/* The form of the filters and the order, and the contact sheet. Each page has an `update`, which shows what the form asks
   for, and a `contactSheet`. */

let shown = []; // the numbers of the photos that are shown, in order
let turned = false;
let waiting = 0;
const KINDS = ["camera", "lens", "focal", "month", "weakest"];

// the score that tiles show and limits are about
const scoreShown = () => ($("order").value in SCORES ? $("order").value : "score");

// of the form's choices those that are made
const chosenKinds = () => KINDS.filter((name) => $(name).value).map((name) => [name, $(name).value.slice(1)]);

function sayShown(total) {
  const key = $("order").value;
  const names = { path: ["a to z", "z to a"], taken_at: ["oldest first", "newest first"] };
  const high = ["spread", "complexity"].includes(key) ? ["highest first", "lowest first"] : ["best first", "worst first"];
  const direction = (names[key] || high)[Number(turned)];
  $("turn").textContent = direction;
  $("which").textContent = SCORES[scoreShown()];
  $("count").textContent = shown.length === total ? count(total, "photo") : `${shown.length.toLocaleString("en")} of ${count(total, "photo")}`;
  $("left").textContent = $("count").textContent;
  $("paper").textContent = `${$("count").textContent}, by ${ORDERS[key].toLowerCase()}, ${direction}`;
}

// `counts` has of each kind the values with how many photos have them
function fillFilters(counts) {
  for (const name of KINDS) {
    const label = name === "weakest" ? (value) => data.attributes[value] : (value) => value;
    // a sign before the value: a camera may have an empty name's look
    const options = counts[name].map(([value, n]) => make("option", { value: `=${value}` }, `${label(value)} (${n})`));
    $(name).append(...options.sort((a, b) => (a.textContent < b.textContent ? -1 : 1)));
    $(name).disabled = !options.length;
  }
}

function only(name, value) {
  $("filters").reset();
  $(name).value = `=${value}`;
  clearTimeout(waiting);
  return update();
}

function turn() { turned = !turned; return update(); }

$("order").append(...Object.entries(ORDERS).map(([value, name]) => make("option", { value }, name)));
for (const name of KINDS) $(name).append(make("option", { value: "" }, "any"));
$("filters").addEventListener("input", (event) => {
  clearTimeout(waiting);
  if (event.target === $("order")) turned = false;
  waiting = setTimeout(update, event.target.tagName === "INPUT" ? 80 : 0);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => { turned = false; waiting = setTimeout(update, 0); });
$("turn").addEventListener("click", turn);

/* ---- contact sheet ---- */

// what is not there when printing starts stays blank on the paper
function decoded(pictures) {
  for (const picture of pictures) picture.loading = "eager";
  return Promise.all(pictures.map((picture) => picture.decode().catch(() => {})));
}

$("print").addEventListener("click", () => contactSheet());
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "p" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
  event.preventDefault();
  contactSheet();
});
