/* The wall of all photos: only the rows near the window exist, so a hundred thousand photos weigh as much as fifty. */

const wall = $("wall");
const space = wall.querySelector(".space");
const SIDE = 190; // pixels that a tile is wide at least
const GAP = 10;
const LINE = 30; // pixels of the name below a picture
let list = []; // the numbers of the photos, in order
let at = 0; // the place in it that the keys are about
let turned = false;
const tiles = new Map(); // of a place its tile
let quiet = 0;

function geometry() {
  const width = space.clientWidth;
  const columns = Math.max(1, Math.floor((width + GAP) / (SIDE + GAP)));
  const wide = (width - GAP * (columns - 1)) / columns;
  return { columns, wide, high: Math.round(wide * 0.75) + LINE + 2 };
}

function build() {
  const { columns, wide, high } = geometry();
  const step = high + GAP;
  space.style.height = `${Math.ceil(list.length / columns) * step}px`;
  const first = Math.max(0, Math.floor(wall.scrollTop / step) - 2) * columns;
  const end = Math.min(list.length, (Math.ceil((wall.scrollTop + wall.clientHeight) / step) + 2) * columns);
  const held = document.activeElement && document.activeElement.closest("#wall .tile") ? at : -1;
  for (const [place, node] of tiles) {
    if ((place < first || place >= end) && place !== held) {
      node.querySelector("img")?.removeAttribute("src"); // no longer wanted
      node.remove();
      tiles.delete(place);
    }
  }
  for (let place = first; place < end; place++) {
    if (!tiles.has(place)) {
      const node = tile(list[place], false);
      node.dataset.place = place;
      tiles.set(place, node);
      space.append(node);
    }
    const column = place % columns;
    Object.assign(tiles.get(place).style, { width: `${wide}px`, height: `${high}px`, transform: `translate(${column * (wide + GAP)}px, ${Math.floor(place / columns) * step}px)` });
  }
  for (const [place, node] of tiles) node.tabIndex = place === at ? 0 : -1;
  clearTimeout(quiet); // who drags the bar does not want what flies by
  quiet = setTimeout(load, 60);
}

const load = trying(async () => {
  for (const node of tiles.values()) {
    const image = node.querySelector("img");
    if (image && !image.getAttribute("src")) image.src = picture("thumb", Number(node.dataset.number));
  }
  const shown = [...tiles.keys()].sort((a, b) => a - b).map((place) => list[place]);
  if (shown.every((number) => rows.has(number))) return;
  await fetchRows(shown);
  dressAll();
});

function dressAll() {
  for (const node of document.querySelectorAll(".tile")) dress(node);
}
watchers.push(dressAll);

function goTo(place, focus = true) {
  if (!list.length) return;
  at = Math.min(Math.max(place, 0), list.length - 1);
  const { columns, high } = geometry();
  const top = Math.floor(at / columns) * (high + GAP);
  if (top < wall.scrollTop) wall.scrollTop = top;
  else if (top + high > wall.scrollTop + wall.clientHeight) wall.scrollTop = top + high + GAP - wall.clientHeight;
  build();
  if (focus) tiles.get(at)?.focus({ preventScroll: true });
}

function moved(key) {
  const { columns, high } = geometry();
  const page = Math.max(1, Math.floor(wall.clientHeight / (high + GAP))) * columns;
  const there = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, PageUp: at - page, PageDown: at + page, Home: 0, End: list.length - 1 }[key];
  if (there === undefined) return false;
  if (there >= 0 && there < list.length) goTo(there);
  else if (["PageUp", "PageDown"].includes(key)) goTo(there);
  return true;
}

let asked = 0;
const show = trying(async () => {
  const mine = ++asked;
  const order = $("order").value;
  const query = new URLSearchParams({ order, turned: turned ? "1" : "0", show: $("show").value, find: $("find").value });
  const found = await ask(`list?${query}`);
  if (mine !== asked) return; // something else was asked for meanwhile
  list = found.numbers;
  for (const node of tiles.values()) node.remove();
  tiles.clear();
  space.querySelector(".none")?.remove();
  at = 0;
  if (!list.length) space.append(make("p", { className: "none" }, "No photo is of this kind."));
  wall.scrollTop = 0;
  goTo(at, false);
  const names = { path: ["a to z", "z to a"], taken_at: ["oldest first", "newest first"] };
  const high = ["spread", "complexity"].includes(order) ? ["highest first", "lowest first"] : ["best first", "worst first"];
  $("turn").textContent = (names[order] || high)[Number(turned)];
  $("count").textContent = list.length === about.photos ? count(about.photos, "photo") : `${list.length.toLocaleString("en")} of ${count(about.photos, "photo")}`;
});

wall.addEventListener("scroll", build, { passive: true });
new ResizeObserver(() => { if (list.length) goTo(at, false); }).observe(wall);
wall.addEventListener("click", (event) => {
  const node = event.target.closest(".tile");
  if (!node) return;
  at = Number(node.dataset.place);
  if (event.ctrlKey || event.metaKey) mark(list[at]);
  else look(list[at], list);
});
wall.addEventListener("focusin", (event) => {
  const node = event.target.closest(".tile");
  if (node) at = Number(node.dataset.place);
});

let waiting = 0;
$("filters").addEventListener("input", (event) => {
  clearTimeout(waiting);
  if (event.target === $("order")) turned = false;
  waiting = setTimeout(show, event.target.tagName === "INPUT" ? 150 : 0);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
function turn() { turned = !turned; return show(); }
$("turn").addEventListener("click", turn);
