/* The keyboard, printing; and the beginning. */

/* ---- keyboard ---- */

function inGrid(event) {
  const grid = event.target.closest(".grid");
  if (!grid || !event.target.classList.contains("tile")) return false;
  const isAll = grid.dataset.grid === "all";
  let tiles = [...grid.children];
  const here = tiles.indexOf(event.target);
  const columns = Math.max(1, tiles.findIndex((node) => node.offsetTop > tiles[0].offsetTop));
  const moves = { ArrowLeft: here - 1, ArrowRight: here + 1, ArrowUp: here - columns, ArrowDown: here + columns, Home: 0, End: (isAll ? shown : tiles).length - 1 };
  if (!(event.key in moves)) return false;
  let there = moves[event.key];
  if (isAll) gallery.upTo(there + BATCH);
  tiles = [...grid.children];
  there = Math.min(Math.max(there, 0), tiles.length - 1);
  goOn(tiles, there);
  return true;
}

// one tile of a grid is reached with the tabulator, the others with the arrows
function goOn(tiles, there) {
  for (const tile of tiles) tile.tabIndex = -1;
  tiles[there].tabIndex = 0;
  tiles[there].focus();
  tiles[there].scrollIntoView({ block: "nearest", behavior: "instant" });
}

const inDialog = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), e: toggleEvidence, o: () => $("original").click() };
const anywhere = {
  "/": find, "?": () => $("help").showModal(), d: nextTheme, s: nextOrder, r: turn, p: contactSheet,
  ...Object.fromEntries(["picks", "scores", "weak", "groups", "all"].map((id, i) => [String(i + 1), () => goTo(id)])),
};

// what is found is below the field, so the section goes to the top of the window
function find() {
  $("all").scrollIntoView({ behavior: "instant" });
  $("find").focus({ preventScroll: true });
}

function goTo(id) {
  $(id).scrollIntoView();
  const first = $(id).querySelector(".tile") || $(id).querySelector("button, select");
  if (first) first.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if ($("help").open) return;
  const act = (dialog.open ? inDialog : anywhere)[event.key];
  if (act) act();
  if (act || (!dialog.open && inGrid(event))) event.preventDefault();
});

/* ---- print ---- */

async function contactSheet() {
  gallery.all();
  await decoded([...document.querySelectorAll('[data-grid="all"] img')]);
  window.print();
}
window.addEventListener("beforeprint", () => gallery.all());

/* ---- begin ---- */

const dates = photos.map((photo) => photo.taken_at).filter(Boolean).map((date) => date.slice(0, 10)).sort();
const span = dates.length ? [...new Set([dates[0], dates.at(-1)])].join(" to ") : "";
const kinds = new Set(photos.map((photo) => photo.camera).filter(Boolean));
$("summary").textContent = [count(photos.length, "photo"), span, kinds.size && count(kinds.size, "camera"), count(data.groups.length, "group")].filter(Boolean).join(" \u00b7 ");
$("made").textContent = `Made by cgiaa on ${data.made} with the model ${data.bundle}. Scores are predictions of what people like on average, not verdicts.`;
document.querySelector('[data-grid="picks"]').append(...data.picks.map((index, i) => {
  const made = tile(index, () => data.picks, "score");
  made.tabIndex = i === 0 ? 0 : -1;
  return made;
}));
$("picks").hidden = !data.picks.length;
$("failed").hidden = !listFailed();
prepareFilters();
weakTables(data.weak, photos.length, (name, value) => { only(name, value); $("all").scrollIntoView(); });
prepareGroups();
update();
