/* Which of the photos are shown, and in which order. */

const charts = makePlots(Object.fromEntries(Object.keys(SCORES).map((name) => [name, photos.map((photo) => photo[name])])));
const kindOf = (photo, name) => (name === "month" ? photo.taken_at && photo.taken_at.slice(0, 7) : photo[name]);
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
  const key = scoreShown();
  const [least, most] = [$("least").valueAsNumber, $("most").valueAsNumber];
  const asShown = (photo) => Number(fixed(photo[key])); // who types what a tile says means that photo, too
  if (!Number.isNaN(least)) tests.push((photo) => asShown(photo) >= least);
  if (!Number.isNaN(most)) tests.push((photo) => asShown(photo) <= most);
  for (const [name, value] of chosenKinds()) tests.push((photo) => kindOf(photo, name) === value);
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
  sayShown(photos.length);
  charts.show();
}

function countsOf(name) {
  const counts = new Map();
  for (const photo of photos) {
    const value = kindOf(photo, name);
    if (value) counts.set(value, (counts.get(value) || 0) + 1);
  }
  return [...counts];
}

function prepareFilters() {
  fillFilters(Object.fromEntries(KINDS.map((name) => [name, countsOf(name)])));
  $("one").disabled = !data.groups.length;
  $("critiqued").disabled = !photos.some((photo) => photo.critique);
}

function nextOrder() {
  const select = $("order");
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  turned = false;
  update();
}
