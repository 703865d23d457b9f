/* Talking to the server, and what is decided. The server has the state; the page shows what it last heard of it, and asks
   anew whenever it gets the focus, because another page may have changed something. */

const CHUNK = 200; // photos that are asked for at once
const rows = new Map(); // of a photo's number what is shown of it
const decided = { picks: new Set(), rejects: new Set(), choices: 0, steps: 0 };
let critiqued = new Set(); // numbers of photos

/* ---- the server ---- */

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The review has ended. What was decided is kept: start it again with cgiaa review.");
  }
  const found = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
  if (!answer.ok) throw new Error(found.error || String(answer.status));
  return found;
}

// one after the other: an older state must not come after a newer one
let told = Promise.resolve();
function inOrder(path, options) {
  const answer = told.then(() => ask(path, options));
  told = answer.catch(() => {});
  return answer;
}

const tell = (path, body) => inOrder(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// nothing is lost silently: what fails is said, and the page shows what the server has
function trying(act) {
  return async (...given) => {
    try {
      const done = await act(...given);
      $("wrong").hidden = true;
      return done;
    } catch (error) {
      $("wrong").textContent = error.message;
      $("wrong").hidden = false;
      return null;
    }
  };
}

const say = (text) => { $("told").textContent = text; };

/* ---- photos ---- */

async function fetchRows(numbers) {
  const wanted = numbers.filter((number) => !rows.has(number));
  for (let start = 0; start < wanted.length; start += CHUNK) {
    const found = await ask(`photos?numbers=${wanted.slice(start, start + CHUNK).join(",")}`);
    for (const row of found.photos) rows.set(row.number, row);
  }
}

const picture = (kind, number) => `${kind}/${number}.jpg`;

/* ---- what is decided ---- */

const verdictOf = (number) => (decided.picks.has(number) ? "pick" : decided.rejects.has(number) ? "reject" : null);
const SIGNS = { pick: "\u2713", reject: "\u2715" };
const PAST = { pick: "picked", reject: "rejected" };
const watchers = []; // told whenever something was decided

function hear(state) {
  decided.picks = new Set(state.picks);
  decided.rejects = new Set(state.rejects);
  decided.choices = state.choices;
  decided.steps = state.steps;
  critiqued = new Set(state.critiqued);
  $("undo").disabled = !decided.steps;
  $("summary").textContent = [count(data.count, "photo"), count(decided.picks.size, "pick"),
    count(decided.rejects.size, "reject"), count(decided.choices, "choice")].join(" \u00b7 ");
  for (const watch of watchers) watch();
}

// shown at once, and again as the server has it
const decide = trying(async (verdicts) => {
  for (const [number, verdict] of Object.entries(verdicts)) {
    decided.picks.delete(Number(number));
    decided.rejects.delete(Number(number));
    if (verdict) (verdict === "pick" ? decided.picks : decided.rejects).add(Number(number));
  }
  for (const watch of watchers) watch();
  try {
    hear(await tell("decide", { verdicts }));
  } catch (error) {
    refresh();
    throw error;
  }
});

function give(number, verdict) {
  const wanted = verdictOf(number) === verdict ? null : verdict;
  say(`${(rows.get(number) || { name: "photo" }).name}: ${wanted ? PAST[wanted] : "undecided"}`);
  return decide({ [number]: wanted });
}

const refresh = trying(async () => hear(await inOrder("state")));

/* ---- one photo in little ---- */

function altOf(number) {
  const photo = rows.get(number);
  if (!photo) return "a photo";
  const verdict = verdictOf(number);
  return `${photo.name}: overall score ${fixed(photo.score)}${verdict ? `, ${PAST[verdict]}` : ""}${photo.taken_at ? `, taken ${photo.taken_at.slice(0, 10)}` : ""}`;
}

// the picture is asked for when it is near the window (lazy), or by `load` where the wall knows better
function tile(number, lazy = true) {
  const image = make("img", { alt: "", decoding: "async", loading: lazy ? "lazy" : "eager" });
  const frame = make("span", { className: "frame" }, image, make("span", { className: "sign" }), make("span", { className: "mark" }));
  image.addEventListener("error", () => { if (image.getAttribute("src")) frame.replaceChildren("no longer readable", ...frame.querySelectorAll(".sign, .mark")); });
  const node = make("button", { type: "button", className: "tile" }, frame,
    make("span", { className: "line" }, make("span", { className: "name" }), badge(), make("span", { className: "number" })));
  node.dataset.number = number;
  if (lazy) image.src = picture("thumb", number);
  dress(node);
  return node;
}

// what may change of a tile: what is known and decided of its photo
function dress(node) {
  const number = Number(node.dataset.number);
  const photo = rows.get(number);
  const verdict = verdictOf(number);
  const image = node.querySelector("img");
  if (image) image.alt = altOf(number);
  node.classList.toggle("picked", verdict === "pick");
  node.classList.toggle("rejected", verdict === "reject");
  node.querySelector(".sign").textContent = SIGNS[verdict] || "";
  const mark = marked.indexOf(number);
  node.querySelector(".mark").textContent = mark < 0 ? "" : String(mark + 1);
  node.querySelector(".badge").hidden = !critiqued.has(number);
  node.title = photo ? photo.path : "";
  node.querySelector(".name").textContent = photo ? photo.name : "";
  node.querySelector(".number").textContent = photo ? fixed(photo[scoreShown()]) : "";
}

/* ---- marks: photos to see side by side ---- */

const MOST = 4;
let marked = [];

function mark(number) {
  if (marked.includes(number)) marked = marked.filter((other) => other !== number);
  else if (marked.length < MOST) marked = [...marked, number];
  else say(`${MOST} photos are marked already`);
  $("beside").textContent = marked.length ? `Side by side (${marked.length})` : "Side by side";
  for (const watch of watchers) watch();
}
