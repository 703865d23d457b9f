/* A or B: two photos that rank close to each other. Their scores are not shown, and which is on the left is chance: the
   answer should be yours. */

const pairStage = makeStage($("pair-stage"));
const LEARNS = 100; // choices from which on taste can learn
let pair = null;

function ready(is) {
  for (const button of document.querySelectorAll("[data-answer]")) button.disabled = !is;
}

function showPair(found, group = false) {
  pair = found;
  for (const row of pair || []) rows.set(row.number, row);
  ready(pair !== null);
  const made = `${count(decided.choices, "choice")} so far`;
  const goal = decided.choices < LEARNS ? `; from ${LEARNS} on they can teach a taste` : "; learn from them with: cgiaa taste learn NAME --choices";
  $("pair-about").textContent = made + goal + (group ? ". These two are of one group" : "");
  $("question").hidden = !pair;
  if (pair) pairStage.show(pair.map((row) => row.number), (photo) => make("figcaption", {}, make("span", { className: "name", title: photo.path }, photo.name)));
  else {
    pairStage.clear();
    $("pair-stage").append(make("p", { className: "none" }, data.count < 2 ? "It takes two photos to choose between." : "There is no pair left to ask about."));
  }
}

const nextPair = trying(async () => {
  const found = await ask("pair");
  showPair(found.pair, found.group);
});

const answer = trying(async (side) => {
  if (!pair) return;
  const [left, right] = pair.map((row) => row.number);
  pair = null; // a second key press is not an answer to the next question
  ready(false);
  try {
    hear(await tell("choose", { left, right, answer: side }));
  } finally {
    await nextPair();
  }
});

const answers = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "skip" };
for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
