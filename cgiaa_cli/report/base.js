/* What all parts of the gallery share. Tiles are made when they come near the window, so that a gallery of thousands opens,
   filters and sorts at once. */

const photos = data.photos;
const BATCH = 120;

/* ---- what is said of a photo ---- */

function altOf(photo) {
  const critique = photo.critique;
  const kinds = critique && critique.kinds.length ? `${critique.kinds.join(", ")}, ` : "";
  const weak = photo.weakest ? `, weakest in ${data.attributes[photo.weakest].toLowerCase()}` : "";
  const taken = photo.taken_at ? `, taken ${photo.taken_at.slice(0, 10)}` : "";
  return `${kinds}${photo.name}: overall score ${fixed(photo.score)}${weak}${taken}`;
}

function frameOf(photo, source, alt) {
  if (!source) return make("span", { className: "frame" }, "no longer readable");
  return make("span", { className: "frame" }, make("img", { alt, loading: "lazy", decoding: "async", src: source }));
}

function tile(index, list, key, extra) {
  const photo = photos[index];
  const shown = key in SCORES ? key : "score";
  const button = make("button", { type: "button", className: `tile ${extra || ""}`, title: photo.path },
    frameOf(photo, photo.thumb, altOf(photo)),
    make("span", { className: "line" }, make("span", { className: "name" }, photo.name), photo.critique && !extra ? badge() : null,
      make("span", { className: "number", title: SCORES[shown] }, fixed(photo[shown]))));
  button.addEventListener("click", () => look(index, list()));
  return button;
}

/* ---- a list that grows as it is scrolled ---- */

function growing(box, sentinel, batch, build) {
  let items = [];
  let made = 0;
  function grow(end) {
    const part = document.createDocumentFragment();
    for (; made < Math.min(end, items.length); made++) part.append(build(items[made], made));
    box.append(part);
  }
  // near the end a batch is added, which pushes the sentinel out of sight until it is reached again
  const seen = new IntersectionObserver((entries) => {
    if (!entries[entries.length - 1].isIntersecting || made >= items.length) return;
    grow(made + batch);
    seen.unobserve(sentinel);
    seen.observe(sentinel);
  }, { rootMargin: "1200px" });
  seen.observe(sentinel);
  return {
    show(list) {
      items = list;
      made = 0;
      box.replaceChildren();
      grow(batch);
      seen.unobserve(sentinel);
      seen.observe(sentinel);
    },
    all() { grow(items.length); },
    upTo(end) { grow(end); },
  };
}
