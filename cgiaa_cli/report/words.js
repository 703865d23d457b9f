/* What is said of a photo, of its group, of what a critique finds and where, and of files without a photo. */

function settings(photo) {
  const shutter = photo.shutter === null ? "" : photo.shutter >= 0.4 ? `${photo.shutter} s` : `1/${Math.round(1 / photo.shutter)} s`;
  return [
    when(photo), photo.camera, photo.lens, photo.focal_length && `${photo.focal_length} mm`,
    photo.aperture && `f/${photo.aperture}`, photo.shutter && shutter, photo.iso && `ISO ${photo.iso}`,
    photo.width && `${photo.width} x ${photo.height} px`, photo.format,
  ].filter(Boolean).join(" \u00b7 ");
}

// on a tile
const badge = () => make("span", { className: "badge", title: "has a critique" }, "\u270e");

// `share` is how much of the bar is full, from 0 to 1
function scoreLine(name, value, share, title) {
  const fill = make("i");
  fill.style.width = `${Math.round(share * 100)}%`;
  return make("div", { className: "score", title },
    make("span", {}, SCORES[name]), make("span", { className: "track" }, fill), make("b", {}, fixed(value)));
}

// a place of a photo in its own pixels, framed in an <svg> that lies on it; null: nothing
function frame(mark, wide, high, place) {
  mark.replaceChildren();
  if (!place) return;
  mark.setAttribute("viewBox", `0 0 ${wide} ${high}`);
  mark.append(draw("rect", { x: place[0], y: place[1], width: place[2], height: place[3] }));
}

// what is said about a place frames it in the photo: `show` is told the place, and null when it is left
function framing(part, place, show) {
  if (!place) return;
  part.classList.add("place");
  part.tabIndex = 0;
  part.title = "framed in the photo";
  for (const event of ["pointerenter", "focus"]) part.addEventListener(event, () => show(place));
  for (const event of ["pointerleave", "blur"]) part.addEventListener(event, () => show(null));
}

// a paragraph for each attribute; `dress` is told of each and of what was found
function critiqueOf(critique, dress) {
  if (critique.notice) return [make("p", {}, critique.notice)];
  return ATTRIBUTES.filter((name) => critique.attributes[name]?.text).map((name) => {
    const found = critique.attributes[name];
    const stand = [found.percentile !== null && `better than ${Math.round(found.percentile)} % of the reference photos`,
      found.library_percentile !== null && `${Math.round(found.library_percentile)} % of your library`].filter(Boolean).join(", ");
    const measured = Object.entries(found.evidence).map(([key, value]) => `${key} ${value}`).join(", ");
    const part = make("article", {}, make("h3", {}, data.attributes[name]), make("p", {}, found.text),
      ...found.advice.map((text) => make("p", { className: "todo" }, text)),
      stand && make("p", { className: "quiet" }, stand), measured && make("p", { className: "quiet" }, `measured: ${measured}`));
    if (dress) dress(part, found);
    return part;
  });
}

// the files that could not be read; returns how many
function listFailed() {
  const failed = Object.entries(data.failed);
  $("failed").querySelector("ul").append(...failed.map(([path, error]) => make("li", {}, `${path}: ${error}`)));
  return failed.length;
}

/* ---- groups ---- */

const CARDS = 12; // groups that are made at a time
const MEMBERS = 24; // of a group; the rest at a click: a camera left running makes thousands

const photosOf = (group) => [...new Set(group.members.map((member) => member.photo))];

function groupTitle(group) {
  const whole = group.protected ? ", kept whole" : group.keep_all ? ", kept whole as was decided" : "";
  return make("h3", { title: `to keep all: cgiaa groups --keep-all ${group.id}` },
    `${spoken(group.kind)}, ${count(group.members.length, "photo")}${whole} `, make("span", {}, group.id));
}

const memberOf = (tile, member) => make("div", { className: "member" }, tile,
  make("p", { title: member.path }, member.kept ? make("b", {}, "keep: ") : null, member.reason));

function groupSaid(group, photo) {
  const own = group.members.find((member) => member.photo === photo);
  return [make("h3", {}, `Group: ${spoken(group.kind)}, ${count(group.members.length, "photo")}`),
    make("p", {}, `${own.kept ? "Keep" : "Gives way"}: ${own.reason}`)];
}
