/* Which of the photos are shown, and in which order. */

let shown = photos.map((_, i) => i);
let turned = false;
const bestFirst = (key) => !["path", "taken_at"].includes(key);
const words = photos.map(() => null); // made at the first search

function textOf(i) {
  if (words[i] === null) {
    const photo = photos[i];
    const said = photo.critique ? Object.values(photo.critique.attributes).map((a) => a.text).concat(photo.critique.kinds) : [];
    words[i] = [photo.path, ...photo.copies, photo.camera, photo.lens, when(photo), ...said].join("\n").toLowerCase();
  }
  return words[i];
}

function conditions() {
  const tests = [];
  const find = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (find.length) tests.push((photo, i) => find.every((word) => textOf(i).includes(word)));
  const key = $("order").value in SCORES ? $("order").value : "score";
  const [least, most] = [$("least").valueAsNumber, $("most").valueAsNumber];
  const asShown = (photo) => Number(fixed(photo[key])); // who types what a tile says means that photo, too
  if (!Number.isNaN(least)) tests.push((photo) => asShown(photo) >= least);
  if (!Number.isNaN(most)) tests.push((photo) => asShown(photo) <= most);
  for (const name of ["camera", "lens", "focal", "weakest"]) {
    const wanted = $(name).value;
    if (wanted) tests.push((photo) => photo[name] === wanted.slice(1));
  }
  const month = $("month").value;
  if (month) tests.push((photo) => photo.taken_at !== null && photo.taken_at.startsWith(month.slice(1)));
  if ($("one").checked) tests.push((photo) => photo.best);
  if ($("critiqued").checked) tests.push((photo) => photo.critique);
  return tests;
}

function compare(key) {
  const sign = bestFirst(key) !== turned ? -1 : 1;
  return (a, b) => {
    const [left, right] = [photos[a][key], photos[b][key]];
    if (left === right) return a - b;
    if (left === null || right === null) return left === null ? 1 : -1;
    return left < right ? -sign : sign;
  };
}

const gallery = growing(document.querySelector('[data-grid="all"]'), document.querySelector("#all .sentinel"), BATCH,
  (index, at) => {
    const made = tile(index, () => shown, $("order").value);
    made.tabIndex = at === 0 ? 0 : -1;
    return made;
  });

function update() {
  const key = $("order").value;
  const tests = conditions();
  shown = photos.map((_, i) => i).filter((i) => tests.every((test) => test(photos[i], i)));
  // the rows come in the order of the ranking
  if (key === "value") { if (turned) shown.reverse(); } else shown.sort(compare(key));
  gallery.show(shown);
  if (!shown.length) document.querySelector('[data-grid="all"]').append(make("p", { className: "none" }, "No photo meets all of these conditions."));
  const names = { path: ["a to z", "z to a"], taken_at: ["oldest first", "newest first"] };
  const high = ["spread", "complexity"].includes(key) ? ["highest first", "lowest first"] : ["best first", "worst first"];
  const direction = (names[key] || high)[Number(turned)];
  $("turn").textContent = direction;
  $("which").textContent = SCORES[key] || SCORES.score;
  $("count").textContent = shown.length === photos.length ? count(photos.length, "photo") : `${shown.length.toLocaleString("en")} of ${count(photos.length, "photo")}`;
  $("paper").textContent = `${$("count").textContent}, by ${ORDERS[key].toLowerCase()}, ${direction}`;
  plots();
}

function choices(id, values, label = (value) => value) {
  const counts = new Map();
  for (const value of values) if (value) counts.set(value, (counts.get(value) || 0) + 1);
  // a sign before the value: a camera may have an empty name's look
  const options = [...counts].map(([value, n]) => make("option", { value: `=${value}` }, `${label(value)} (${n})`));
  $(id).replaceChildren(make("option", { value: "" }, "any"), ...options.sort((a, b) => (a.textContent < b.textContent ? -1 : 1)));
  $(id).disabled = !options.length;
}

function only(name, value) {
  $("filters").reset();
  turned = false;
  $(name).value = `=${value}`;
  update();
  $("all").scrollIntoView();
}

function prepareFilters() {
  $("order").append(...Object.entries(ORDERS).map(([value, name]) => make("option", { value }, value === "value" ? "Rank" : name)));
  for (const name of ["camera", "lens", "focal"]) choices(name, photos.map((photo) => photo[name]));
  choices("month", photos.map((photo) => photo.taken_at && photo.taken_at.slice(0, 7)));
  choices("weakest", photos.map((photo) => photo.weakest), (name) => data.attributes[name]);
  $("one").disabled = !data.groups.length;
  $("critiqued").disabled = !photos.some((photo) => photo.critique);
  let waiting = 0;
  $("filters").addEventListener("input", (event) => {
    clearTimeout(waiting);
    if (event.target === $("order")) turned = false;
    waiting = setTimeout(update, event.target.tagName === "INPUT" ? 80 : 0);
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => { turned = false; setTimeout(update, 0); });
  $("turn").addEventListener("click", turn);
  $("print").addEventListener("click", contactSheet);
}

function turn() { turned = !turned; update(); }

function nextOrder() {
  const select = $("order");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  turned = false;
  update();
}
