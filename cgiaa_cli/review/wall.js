/* The wall of all photos: only the rows near the window exist, so a hundred thousand photos weigh as much as fifty. */

const wall = $("wall");
const space = wall.querySelector(".space");
const SIDE = 190; // pixels that a tile is wide at least
const GAP = 10;
const LINE = 30; // pixels of the name below a picture
let at = 0; // the place among those shown that the keys are about
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
  space.style.height = `${Math.ceil(shown.length / columns) * step}px`;
  const first = Math.max(0, Math.floor(wall.scrollTop / step) - 2) * columns;
  const end = Math.min(shown.length, (Math.ceil((wall.scrollTop + wall.clientHeight) / step) + 2) * columns);
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
      const node = tile(shown[place], false);
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
  const near = [...tiles.keys()].sort((a, b) => a - b).map((place) => shown[place]);
  if (near.every((number) => rows.has(number))) return;
  await fetchRows(near);
  dressAll();
});

function dressAll() {
  for (const node of document.querySelectorAll(".tile")) dress(node);
}
watchers.push(dressAll);

function goTo(place, focus = true) {
  if (!shown.length) return;
  at = Math.min(Math.max(place, 0), shown.length - 1);
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
  const there = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, PageUp: at - page, PageDown: at + page, Home: 0, End: shown.length - 1 }[key];
  if (there === undefined) return false;
  if (there >= 0 && there < shown.length) goTo(there);
  else if (["PageUp", "PageDown"].includes(key)) goTo(there);
  return true;
}

let asked = 0;
const update = trying(async () => {
  const mine = ++asked;
  const limits = ["least", "most"].map((name) => [name, $(name).value]).filter(([, value]) => value);
  const query = new URLSearchParams([["order", $("order").value], ["turned", Number(turned)], ["show", $("show").value],
    ["one", Number($("one").checked)], ["critiqued", Number($("critiqued").checked)], ["find", $("find").value], ...limits, ...chosenKinds()]);
  const found = await inOrder(`list?${query}`); // what was decided just now counts
  if (mine !== asked) return; // something else was asked for meanwhile
  if (!found.ready) {
    $("count").textContent = "Looking for groups ...";
    setTimeout(() => { if (mine === asked) update(); }, 700);
    return;
  }
  shown = found.numbers;
  for (const node of tiles.values()) node.remove();
  tiles.clear();
  space.querySelector(".none")?.remove();
  at = 0;
  if (!shown.length) space.append(make("p", { className: "none" }, "No photo meets all of these conditions."));
  wall.scrollTop = 0;
  goTo(at, false);
  sayShown(data.count);
});

wall.addEventListener("scroll", build, { passive: true });
new ResizeObserver(() => { if (shown.length) goTo(at, false); }).observe(wall);
wall.addEventListener("click", (event) => {
  const node = event.target.closest(".tile");
  if (!node) return;
  at = Number(node.dataset.place);
  if (event.ctrlKey || event.metaKey) mark(shown[at]);
  else look(shown[at], shown);
});
wall.addEventListener("focusin", (event) => {
  const node = event.target.closest(".tile");
  if (node) at = Number(node.dataset.place);
});
