/* Groups, and one photo with all that is said of it. */

/* ---- groups ---- */

function card(group) {
  const list = photosOf(group);
  const box = make("div", { className: "members" });
  const add = (members) => box.append(...members.map((member) => memberOf(tile(member.photo, () => list, "score", member.kept ? "keep" : "give"), member)));
  add(group.members.slice(0, MEMBERS));
  const rest = group.members.slice(MEMBERS);
  if (!rest.length) return make("article", { className: "card" }, groupTitle(group), box);
  const more = make("button", { type: "button" }, `and ${count(rest.length, "other")}`);
  more.addEventListener("click", () => { add(rest); more.remove(); });
  return make("article", { className: "card" }, groupTitle(group), box, more);
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
  image.src = drawn ? photo.evidence : photo.large || (data.plain.includes(photo.format) ? photo.link : photo.thumb || "data:,");
}

function region(photo, place) {
  const [wide, high] = [image.clientWidth, image.clientHeight];
  const scale = Math.min(wide / photo.width, high / photo.height);
  Object.assign(mark.style, { width: `${photo.width * scale}px`, height: `${photo.height * scale}px` });
  frame(mark, photo.width, photo.height, evidence && photo.evidence ? null : place); // that picture has strips below it
}

function said(photo) {
  const parts = ["score", ...ATTRIBUTES, "technical"].map((name) => standing(name, photo[name]));
  if (photo.critique) parts.push(...critiqueOf(photo.critique, (part, found) => framing(part, found.region, (place) => region(photo, place))));
  if (photo.group !== undefined) parts.push(...groupOf(photo));
  if (!photo.critique) {
    parts.push(make("h3", {}, "Critique"), make("p", { className: "quiet" }, "Only the best photos have one here; --critiques N asks for more, and cgiaa critique makes one of any photo."));
  }
  return parts;
}

function standing(name, value) {
  const values = charts.sorted[name];
  const below = values.length > 1 ? values.filter((other) => other < value).length / (values.length - 1) : 0.5;
  return scoreLine(name, value, below, `better than ${Math.round(below * 100)} % of this gallery`);
}

function groupOf(photo) {
  const group = data.groups[photo.group];
  const index = photos.indexOf(photo);
  const list = photosOf(group);
  return [...groupSaid(group, index),
    make("div", { className: "members" }, ...list.slice(0, MEMBERS).map((i) => tile(i, () => list, "score", i === index ? "here" : "other")))];
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
