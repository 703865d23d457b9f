/* Groups: the keeper of each and why the others give way, and deciding on a whole group at once. */

const cards = document.querySelector(".cards");
let drawn = 0;

function card(group) {
  const node = make("article", { className: "card" });
  const numbers = photosOf(group);
  const kept = new Set(group.members.filter((member) => member.kept).map((member) => member.photo));
  const act = (text, title, done) => {
    const button = make("button", { type: "button", title }, text);
    button.addEventListener("click", done);
    return button;
  };
  const verdicts = () => Object.fromEntries(numbers.map((number) => [number, kept.has(number) ? "pick" : "reject"]));
  const box = make("div", { className: "members" });
  const add = (members) => box.append(...members.map((member) => {
    const one = tile(member.photo);
    if (member.kept) one.classList.add("keep");
    one.addEventListener("click", (event) => (event.ctrlKey || event.metaKey ? mark(member.photo) : look(member.photo, numbers)));
    return memberOf(one, member);
  }));
  add(group.members.slice(0, MEMBERS));
  node.append(
    groupTitle(group),
    make("p", { className: "bar" },
      act(kept.size === numbers.length ? "Pick all" : "Pick the keeper, reject the others", "One step to undo", () => decide(verdicts())),
      numbers.length > 1 ? act("Side by side", "The first of them, up to four", () => lookAt(numbers.slice(0, 4))) : null,
      group.protected ? null : act(group.keep_all ? "No longer keep all" : "Keep all", "Remember that every photo of it is wanted", () => keep(group, node))),
    box);
  let rest = group.members.slice(MEMBERS);
  if (rest.length) {
    const more = make("button", { type: "button" }, `and ${count(rest.length, "other")}`);
    more.addEventListener("click", trying(async () => {
      await fetchRows(rest.slice(0, CHUNK).map((member) => member.photo));
      add(rest.slice(0, CHUNK));
      rest = rest.slice(CHUNK);
      more.textContent = `and ${count(rest.length, "other")}`;
      if (!rest.length) more.remove();
    }));
    node.append(more);
  }
  return node;
}

const keep = trying(async (group, node) => {
  const state = await tell("keep", { at: group.at, keep: !group.keep_all });
  hear(state);
  node.replaceWith(card(state.group));
});

let opened = 0;
async function grow() {
  const mine = opened;
  const found = await ask(`groups?start=${drawn}&count=${CARDS}&kind=${$("kind").value}`);
  if (mine !== opened) return null; // another kind was asked for meanwhile
  if (!found.ready) {
    $("groups-count").textContent = "Looking for groups ...";
    return setTimeout(trying(async () => { if (!$("groups").hidden && mine === opened) await grow(); }), 700);
  }
  const first = (group) => group.members.slice(0, MEMBERS).map((member) => member.photo);
  await fetchRows([...new Set(found.groups.flatMap(first))]);
  if (mine !== opened) return null;
  cards.append(...found.groups.map(card));
  drawn += found.groups.length;
  const options = Object.entries(found.kinds).map(([kind, n]) => make("option", { value: kind, selected: kind === $("kind").value }, `${spoken(kind)} (${n})`));
  $("kind").replaceChildren(make("option", { value: "" }, "all"), ...options);
  const none = found.error || "No photo belongs to another.";
  $("groups-count").textContent = found.total ? count(found.total, "group") : none;
  $("more").hidden = drawn >= found.total;
  $("more").textContent = `More groups (${(found.total - drawn).toLocaleString("en")})`;
  return null;
}

const showGroups = trying(async () => {
  opened++;
  drawn = 0;
  cards.replaceChildren();
  await grow();
});
$("kind").addEventListener("input", showGroups);
$("more").addEventListener("click", trying(grow));
