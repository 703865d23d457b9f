/* Groups, and one photo with all that is said of it. */

/* ---- groups ---- */

const spoken = (kind) => kind.replace("_", "-");

const CARDS = 12;
const MEMBERS = 24; // of a group; the rest at a click: a camera left running makes thousands

function card(group) {
  const whole = group.protected ? ", kept whole" : group.keep_all ? ", kept whole as was decided" : "";
  const list = [...new Set(group.members.map((member) => member.photo))];
  const box = make("div", { className: "members" });
  const add = (members) => box.append(...members.map((member) => make("div", { className: "member" },
    tile(member.photo, () => list, "score", member.kept ? "keep" : "give"),
    make("p", { title: member.path }, member.kept ? make("b", {}, "keep: ") : null, member.reason))));
  add(group.members.slice(0, MEMBERS));
  const title = make("h3", { title: `to keep all: cgiaa groups --keep-all ${group.id}` },
    `${spoken(group.kind)}, ${count(group.members.length, "photo")}${whole} `, make("span", {}, group.id));
  const rest = group.members.slice(MEMBERS);
  if (!rest.length) return make("article", { className: "card" }, title, box);
  const more = make("button", { type: "button" }, `and ${count(rest.length, "other")}`);
  more.addEventListener("click", () => { add(rest); more.remove(); });
  return make("article", { className: "card" }, title, box, more);
}

function prepareGroups() {
  const box = document.querySelector(".cards");
  let left = [];
  const grow = () => {
    box.append(...left.splice(0, CARDS).map(card));
    $("more").hidden = !left.length;
    $("more").textContent = `More groups (${left.length.toLocaleString("en")})`;
  };
  const show = () => {
    left = data.groups.filter((group) => !$("kind").value || group.kind === $("kind").value);
    $("groups-count").textContent = data.groups.length ? count(left.length, "group") : "No photo belongs to another.";
    box.replaceChildren();
    grow();
  };
  const kinds = [...new Set(data.groups.map((group) => group.kind))];
  $("kind").append(...kinds.map((kind) => make("option", { value: kind }, spoken(kind))));
  $("kind").disabled = !kinds.length;
  $("kind").addEventListener("input", show);
  $("more").addEventListener("click", grow);
  show();
}

/* ---- one photo ---- */

const dialog = $("photo");
const image = dialog.querySelector("img");
const mark = dialog.querySelector("svg");
const PLAIN = ["jpeg", "png", "webp", "gif", "bmp", "avif"]; // what every browser shows
let among = [];
let at = 0;
let evidence = false;
let opener = null;

function look(index, list) {
  among = list;
  at = Math.max(list.indexOf(index), 0);
  if (!dialog.open) {
    opener = document.activeElement;
    dialog.showModal();
    dialog.focus(); // and not its first button: the keys are for the photo
  }
  showPhoto();
}

function showPhoto() {
  const photo = photos[among[at]];
  $("photo-title").textContent = photo.path;
  dialog.querySelector(".facts").textContent = settings(photo) + (photo.copies.length ? ` \u00b7 also at ${photo.copies.join(", ")}` : "");
  $("place").textContent = `${at + 1} of ${among.length}`;
  $("before").disabled = at === 0;
  $("after").disabled = at === among.length - 1;
  $("original").href = photo.link;
  $("evidence").disabled = !photo.evidence;
  dialog.querySelector(".said").replaceChildren(...said(photo));
  dialog.querySelector(".words").scrollTop = 0;
  showPicture();
}

function showPicture() {
  const photo = photos[among[at]];
  const drawn = evidence && photo.evidence;
  $("evidence").setAttribute("aria-pressed", String(Boolean(drawn)));
  mark.replaceChildren();
  image.alt = (drawn ? "Evidence drawn on " : "") + altOf(photo);
  image.onerror = () => { image.onerror = null; image.src = photo.thumb || "data:,"; };
  // without a large picture of its own, the original is tried: it may lie where the link says
  image.src = drawn ? photo.evidence : photo.large || (PLAIN.includes(photo.format) ? photo.link : photo.thumb || "data:,");
}

function region(photo, box) {
  mark.replaceChildren();
  if (!box || (evidence && photo.evidence)) return; // that picture has strips below it
  const [wide, high] = [image.clientWidth, image.clientHeight];
  const scale = Math.min(wide / photo.width, high / photo.height);
  Object.assign(mark.style, { width: `${photo.width * scale}px`, height: `${photo.height * scale}px` });
  mark.setAttribute("viewBox", `0 0 ${photo.width} ${photo.height}`);
  mark.append(draw("rect", { x: box[0], y: box[1], width: box[2], height: box[3] }));
}

function said(photo) {
  const parts = ["score", ...ATTRIBUTES, "technical"].map((name) => scoreLine(name, photo[name]));
  if (photo.critique) {
    if (photo.critique.notice) parts.push(make("p", {}, photo.critique.notice));
    else parts.push(...ATTRIBUTES.map((name) => attribute(photo, name)).filter(Boolean));
  }
  if (photo.group !== undefined) parts.push(...groupOf(photo));
  if (!photo.critique) {
    parts.push(make("h3", {}, "Critique"), make("p", { className: "quiet" }, "Only the best photos have one here; --critiques N asks for more, and cgiaa critique makes one of any photo."));
  }
  return parts;
}

function scoreLine(name, value) {
  const values = sorted[name];
  const below = values.length > 1 ? values.filter((other) => other < value).length / (values.length - 1) : 0.5;
  const fill = make("i");
  fill.style.width = `${Math.round(below * 100)}%`;
  return make("div", { className: "score", title: `better than ${Math.round(below * 100)} % of this gallery` },
    make("span", {}, SCORES[name]), make("span", { className: "track" }, fill), make("b", {}, fixed(value)));
}

function attribute(photo, name) {
  const found = photo.critique.attributes[name];
  if (!found || !found.text) return null;
  const stand = [found.percentile !== null && `better than ${Math.round(found.percentile)} % of the reference photos`,
    found.library_percentile !== null && `${Math.round(found.library_percentile)} % of your library`].filter(Boolean).join(", ");
  const measured = Object.entries(found.evidence).map(([key, value]) => `${key} ${value}`).join(", ");
  const part = make("article", {}, make("h3", {}, data.attributes[name]), make("p", {}, found.text),
    ...found.advice.map((text) => make("p", { className: "todo" }, text)),
    stand && make("p", { className: "quiet" }, stand), measured && make("p", { className: "quiet" }, `measured: ${measured}`));
  if (found.region) {
    part.classList.add("place");
    part.tabIndex = 0;
    part.title = "framed in the photo";
    for (const event of ["pointerenter", "focus"]) part.addEventListener(event, () => region(photo, found.region));
    for (const event of ["pointerleave", "blur"]) part.addEventListener(event, () => region(photo, null));
  }
  return part;
}

function groupOf(photo) {
  const group = data.groups[photo.group];
  const index = photos.indexOf(photo);
  const own = group.members.find((member) => member.photo === index);
  const list = [...new Set(group.members.map((member) => member.photo))];
  return [make("h3", {}, `Group: ${spoken(group.kind)}, ${count(group.members.length, "photo")}`),
    make("p", {}, `${own.kept ? "Keep" : "Gives way"}: ${own.reason}`),
    make("div", { className: "members" }, ...list.slice(0, 24).map((i) => tile(i, () => list, "score", i === index ? "here" : "other")))];
}

function step(by) {
  if (at + by < 0 || at + by >= among.length) return;
  at += by;
  showPhoto();
}

function toggleEvidence() {
  if (!photos[among[at]].evidence) return;
  evidence = !evidence;
  showPicture();
}

$("before").addEventListener("click", () => step(-1));
$("after").addEventListener("click", () => step(1));
$("evidence").addEventListener("click", toggleEvidence);
$("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("close", () => {
  image.removeAttribute("src");
  const grid = opener && opener.closest(".grid");
  if (grid) { // to where the arrows have led meanwhile
    if (among === shown) gallery.upTo(at + 1);
    goOn([...grid.children], at);
  } else if (opener && opener.isConnected) opener.focus();
});
