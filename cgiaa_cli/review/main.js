/* One photo or some side by side, the keyboard, sidecars; and the beginning. */

/* ---- look ---- */

const dialog = $("photo");
const stage = makeStage($("photo-stage"));
let among = []; // the photos that the arrows lead through
let here = 0;
let beside = []; // those side by side; empty: one alone
let active = 0; // which of them the keys are about
let evidence = false;

const current = () => (beside.length ? beside[active] : among[here]);

const look = trying(async (number, numbers) => {
  among = numbers;
  here = Math.max(0, numbers.indexOf(number));
  beside = [];
  await openLook();
});

const lookAt = trying(async (numbers) => {
  if (numbers.length < 2) return look(numbers[0], numbers);
  beside = numbers;
  active = 0;
  return openLook();
});

async function openLook() {
  hideEvidence();
  await fetchRows(beside.length ? beside : [among[here]]);
  if (!dialog.open) {
    dialog.showModal();
    dialog.focus(); // and not its first button: the keys are for the photo
  }
  showLook();
}

function caption(photo) {
  const at = beside.indexOf(photo.number);
  const name = make("button", { type: "button", className: "name", title: photo.path }, photo.name);
  name.addEventListener("click", () => { active = at; dressLook(); });
  return make("figcaption", {}, make("span", { className: "sign" }), name, make("span", { className: "number" }, fixed(photo.score)));
}

function showLook() {
  const photo = rows.get(current());
  dialog.classList.toggle("several", beside.length > 0);
  stage.show(beside.length ? beside : [photo.number], beside.length ? caption : null);
  $("place").textContent = beside.length ? `${beside.length} side by side` : `${(here + 1).toLocaleString("en")} of ${among.length.toLocaleString("en")}`;
  $("before").disabled = !beside.length && here === 0;
  $("after").disabled = !beside.length && here === among.length - 1;
  $("evidence").disabled = beside.length > 0;
  dialog.querySelector(".words").scrollTop = 0;
  dressLook();
  showWords(photo);
  if (!beside.length && here + 1 < among.length) fetchRows(among.slice(here, here + 3)).catch(() => {});
}

// what may change while they are looked at
function dressLook() {
  if (!dialog.open) return;
  const number = current();
  for (const verdict of ["pick", "reject"]) $(verdict).setAttribute("aria-pressed", String(verdictOf(number) === verdict));
  stage.figures().forEach((figure, at) => {
    const shown = beside.length ? beside[at] : number;
    const verdict = verdictOf(shown);
    figure.classList.toggle("picked", verdict === "pick");
    figure.classList.toggle("rejected", verdict === "reject");
    figure.classList.toggle("active", beside.length > 0 && at === active);
    const sign = figure.querySelector(".sign");
    if (sign) sign.textContent = SIGNS[verdict] || "";
    const image = figure.querySelector("img");
    if (image) image.alt = altOf(shown);
  });
  $("original").href = `original/${number}`;
  const verdict = verdictOf(number);
  $("photo-title").textContent = `${verdict ? `${SIGNS[verdict]} ` : ""}${rows.get(number).path}`;
}
watchers.push(dressLook);

const COPIES = 5; // places of a photo that are named
const showWords = trying(async (photo) => {
  const more = photo.copies.length > COPIES ? ` and ${count(photo.copies.length - COPIES, "other place")}` : "";
  const also = photo.copies.length ? ` \u00b7 also at ${photo.copies.slice(0, COPIES).join(", ")}${more}` : "";
  dialog.querySelector(".facts").textContent = settings(photo) + also;
  const said = dialog.querySelector(".said");
  said.replaceChildren(...["score", ...ATTRIBUTES, "technical"].map((name) => scoreLine(name, photo[name], (photo[name] - 1) / 9)));
  if (beside.length) return;
  const button = make("button", { type: "button", title: "What is good and bad about it (k)", id: "critique" }, "Critique");
  button.addEventListener("click", critique);
  const found = await groupOf(photo);
  if (photo.number !== current()) return; // gone on meanwhile
  said.append(...found, make("p", { className: "bar" }, button));
});

async function groupOf(photo) {
  if (photo.group === null) return [];
  const { groups } = await ask(`groups?start=${photo.group}&count=1`);
  const [group] = groups;
  const numbers = photosOf(group);
  const button = make("button", { type: "button" }, "Side by side");
  button.addEventListener("click", () => lookAt([photo.number, ...numbers.filter((other) => other !== photo.number)].slice(0, 4)));
  return [...groupSaid(group, photo.number), ...(numbers.length > 1 ? [make("p", { className: "bar" }, button)] : [])];
}

const critique = trying(async () => {
  const number = current();
  const button = $("critique");
  if (!button || button.disabled) return;
  button.disabled = true;
  button.textContent = "Critique ...";
  const found = await ask(`critique/${number}`);
  refresh(); // its tile has a badge now
  if (number !== current() || !dialog.open) return;
  button.parentElement.replaceWith(...critiqueOf(found, (part, said) => framing(part, said.region, stage.frame)));
});

function hideEvidence() {
  evidence = false;
  $("evidence").setAttribute("aria-pressed", "false");
  dialog.querySelector(".pane .evidence")?.remove();
}

function toggleEvidence() {
  if (beside.length) return;
  if (evidence) { hideEvidence(); return; }
  evidence = true;
  $("evidence").setAttribute("aria-pressed", "true");
  dialog.querySelector(".pane").append(make("img", { className: "evidence", alt: `Evidence drawn on ${altOf(current())}`, src: picture("evidence", current()), onload: () => refresh() }));
}

function step(by) {
  if (beside.length) {
    active = (active + by + beside.length) % beside.length;
    dressLook();
    showWords(rows.get(current()));
    return;
  }
  if (here + by < 0 || here + by >= among.length) return;
  here += by;
  hideEvidence();
  trying(async () => { await fetchRows([among[here]]); showLook(); })();
}

function judge(verdict, goes) {
  const number = dialog.open ? current() : section === "all" ? shown[at] : Number(document.activeElement.dataset.number || NaN);
  if (number === undefined || Number.isNaN(number)) return;
  if (goes) decide({ [number]: verdict });
  else give(number, verdict);
  if (goes && dialog.open) step(1);
  else if (goes && section === "all") goTo(at + 1);
}

dialog.addEventListener("close", () => {
  stage.clear();
  if (section === "all" && among === shown) goTo(here);
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
$("before").addEventListener("click", () => step(-1));
$("after").addEventListener("click", () => step(1));
$("pick").addEventListener("click", () => judge("pick"));
$("reject").addEventListener("click", () => judge("reject"));
$("evidence").addEventListener("click", toggleEvidence);
$("close").addEventListener("click", () => dialog.close());

function showBeside() {
  if (marked.length > 1) return lookAt(marked);
  const first = section === "all" ? shown.slice(at, at + 2) : [];
  return first.length > 1 ? lookAt(first) : null;
}
$("beside").addEventListener("click", showBeside);

for (const [one, box] of [[stage, dialog], [pairStage, $("pair")]]) {
  const button = box.querySelector(".zoom");
  button.addEventListener("click", one.toggle);
  one.onChange((zoomed) => button.setAttribute("aria-pressed", String(zoomed)));
}

/* ---- undo ---- */

const undo = trying(async () => {
  const state = await tell("undo", {});
  hear(state);
  const undone = state.undone;
  if (!undone) return say("nothing to undo");
  if (undone.pair && section === "pair") {
    await fetchRows(undone.pair);
    showPair(undone.pair.map((number) => rows.get(number)));
  }
  if (undone.group !== undefined && section === "groups") await showGroups();
  const place = undone.photos ? shown.indexOf(undone.photos[0]) : -1;
  if (place >= 0 && section === "all" && !dialog.open) goTo(place); // to where it happened
  return say("undone");
});
$("undo").addEventListener("click", undo);

/* ---- sidecars ---- */

const ACTIONS = { create: "to make", update: "to add to", remove: "to take it out of", delete: "to delete", same: "as they should be", failed: "failed" };
const DONE = { ...ACTIONS, create: "made", update: "added to", remove: "taken out of", delete: "deleted" };

function showSidecars(found) {
  const names = found.written ? DONE : ACTIONS;
  const counts = Object.entries(found.counts).map(([action, n]) => `${n.toLocaleString("en")} ${names[action]}`).join(", ");
  const todo = ["create", "update", "remove", "delete"].some((action) => found.counts[action]);
  const how = found.written ? "" : data.write ? " Nothing is written yet." : " Nothing is written: start cgiaa review with --write to be able to.";
  $("sidecars-about").textContent = (counts ? `${counts}.` : "Nothing is decided yet.") + (todo ? how : "");
  $("sidecars-write").hidden = !data.write || !todo || found.written;
  $("sidecars").querySelector("tbody").replaceChildren(...found.files.map((file) => make("tr", {},
    make("td", {}, names[file.action]), make("th", { scope: "row" }, file.target), make("td", {}, file.verdict || ""),
    make("td", {}, file.error || (file.kept && `stays: ${file.kept}`) || ""))),
  ...(found.more ? [make("tr", {}, make("td", {}, `and ${count(found.more, "other")}`))] : []));
}

const openSidecars = trying(async () => {
  const found = await ask("sidecars");
  showSidecars(found);
  if (!$("sidecars").open) $("sidecars").showModal();
});
$("sidecars-open").addEventListener("click", openSidecars);
$("sidecars-close").addEventListener("click", () => $("sidecars").close());
$("sidecars-write").addEventListener("click", trying(async () => {
  $("sidecars-write").disabled = true;
  try {
    showSidecars(await tell("sidecars", {}));
  } finally {
    $("sidecars-write").disabled = false;
  }
}));

/* ---- sections and keyboard ---- */

const SECTIONS = ["all", "groups", "pair", "scores", "weak"];
const unreadable = listFailed();
if (unreadable) {
  SECTIONS.push("failed");
  const button = document.querySelector('[data-section="failed"]');
  button.textContent = `Unreadable (${unreadable.toLocaleString("en")})`;
  button.hidden = false;
}
let section = "";

function open(name) {
  section = name;
  for (const other of SECTIONS) $(other).hidden = other !== name;
  for (const button of document.querySelectorAll("[data-section]")) button.setAttribute("aria-current", String(button.dataset.section === name));
  if (name === "all") goTo(at);
  if (name === "groups" && !drawn) showGroups();
  if (name === "pair") nextPair();
  if (name === "scores") showScores();
  if (name === "weak" && !document.querySelector(".tables").children.length) showWeak();
}
for (const button of document.querySelectorAll("[data-section]")) button.addEventListener("click", () => open(button.dataset.section));

const PAN = 120; // pixels
const decisions = { p: () => judge("pick"), x: () => judge("reject"), P: () => judge("pick", true), X: () => judge("reject", true), u: undo };
const zooming = (one) => ({
  z: one.toggle, "+": () => one.by(1.5), "=": () => one.by(1.5), "-": () => one.by(1 / 1.5),
  "Shift+ArrowLeft": () => one.move(PAN, 0), "Shift+ArrowRight": () => one.move(-PAN, 0),
  "Shift+ArrowUp": () => one.move(0, PAN), "Shift+ArrowDown": () => one.move(0, -PAN),
});
const inLook = {
  ...decisions, ...zooming(stage), ArrowLeft: () => step(-1), ArrowRight: () => step(1), e: toggleEvidence, k: critique, o: () => $("original").click(),
  c: () => mark(current()), " ": () => dialog.close(), Enter: () => dialog.close(),
};
const inPair = { ...zooming(pairStage), ...Object.fromEntries(Object.entries(answers).map(([key, side]) => [key, () => answer(side)])) };
const anywhere = {
  ...decisions, "?": () => $("help").showModal(), d: nextTheme, w: openSidecars, s: showBeside, a: () => open("pair"),
  "/": () => { open("all"); $("find").focus(); }, r: turn, c: () => mark(section === "all" ? shown[at] : Number(document.activeElement.dataset.number)),
  z: () => { if (section === "all" && shown.length) look(shown[at], shown).then(stage.toggle); },
  ...Object.fromEntries(SECTIONS.map((name, i) => [String(i + 1), () => open(name)])),
};

function actOf(event) {
  const key = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
  if (dialog.open) {
    if (event.key === "Tab" && beside.length) return () => step(event.shiftKey ? -1 : 1);
    if (event.target.closest("button, a") && [" ", "Enter"].includes(key)) return null;
    return inLook[key];
  }
  if (section === "pair" && key in inPair) return inPair[key];
  if (section === "all" && key in { ...answers, ArrowUp: 0, Home: 0, End: 0, PageUp: 0, PageDown: 0 }) return () => moved(key);
  return anywhere[key];
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !event.shiftKey && !typing) {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing) {
    if (event.key === "Escape") {
      event.preventDefault(); // which would empty the field
      event.target.blur();
      goTo(at);
    }
    return;
  }
  if ($("help").open || $("sidecars").open) return;
  const act = actOf(event);
  if (!act) return;
  event.preventDefault();
  act();
});

/* ---- scores and weak spots: of all photos, once they are looked at ---- */

let charts = null;
const showScores = trying(async () => {
  if (!charts) charts = makePlots(await ask("scores"));
  charts.show();
});

const showWeak = trying(async () => {
  weakTables(await ask("weak"), data.count, trying(async (name, value) => {
    await only(name, value);
    open("all");
  }));
});

/* ---- contact sheet ---- */

const SHEET = 60; // pictures that are asked for at once: whoever stops it does not wait for more
const paper = document.querySelector('[data-grid="all"]');
let making = false;

const contactSheet = trying(async () => {
  making = !making; // pressed once more it stops
  if (!making) return;
  dialog.close();
  open("all");
  const numbers = shown;
  paper.replaceChildren();
  try {
    for (let start = 0; start < numbers.length && making; start += SHEET) {
      $("print").textContent = `Stop (${start.toLocaleString("en")} of ${numbers.length.toLocaleString("en")})`;
      const part = numbers.slice(start, start + SHEET);
      await fetchRows(part);
      const made = part.map((number) => tile(number));
      paper.append(...made);
      await decoded(made.map((node) => node.querySelector("img")));
    }
    if (making) window.print();
  } finally {
    making = false;
    $("print").textContent = "Contact sheet";
  }
});
// who prints with the browser's own menu
window.addEventListener("beforeprint", () => {
  if (!paper.children.length) paper.append(make("p", { className: "none" }, "The button Contact sheet prints the photos: it waits for their pictures."));
});
window.addEventListener("afterprint", () => paper.replaceChildren());

/* ---- begin ---- */

const begin = trying(async () => {
  hear(await ask("state"));
  await update();
  open("all");
  fillFilters(await ask("kinds"));
});
begin();
// another page, or another cgiaa, may have decided something meanwhile
window.addEventListener("focus", () => refresh());
