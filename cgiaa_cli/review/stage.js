/* One to four photos beside each other, which zoom and move together: what lies at one place of the one is compared with
   what lies at that place of the others. */

function makeStage(box) {
  let panes = [];
  let scale = null; // pixels of the page for one of the photo; null: as large as it fits
  let [x, y] = [0.5, 0.5]; // what is in the middle, in shares of the photo
  const changed = [];

  const whole = () => 1 / window.devicePixelRatio;
  const fit = (pane) => Math.min(pane.node.clientWidth / pane.wide, pane.node.clientHeight / pane.high, 4);

  function place(pane) {
    const k = scale === null ? fit(pane) : scale;
    const size = [pane.wide * k, pane.high * k];
    const room = [pane.node.clientWidth, pane.node.clientHeight];
    const at = [x, y].map((share, i) => (size[i] <= room[i] ? (room[i] - size[i]) / 2
      : Math.min(0, Math.max(room[i] - size[i], room[i] / 2 - share * size[i]))));
    for (const node of [pane.image, pane.mark]) {
      Object.assign(node.style, { width: `${size[0]}px`, height: `${size[1]}px`, transform: `translate(${at[0]}px, ${at[1]}px)` });
    }
    pane.image.classList.toggle("pixels", scale !== null && scale > whole() * 1.5);
    if (scale !== null && !pane.full) loadFull(pane);
  }

  // the picture of every pixel comes in the place of the large one once it is here
  function loadFull(pane) {
    pane.full = make("img", { alt: pane.image.alt, draggable: false });
    pane.node.classList.add("loading");
    pane.full.addEventListener("load", () => {
      if (!pane.node.contains(pane.image)) return;
      pane.image.replaceWith(pane.full);
      pane.image = pane.full;
      pane.node.classList.remove("loading");
      place(pane);
    });
    pane.full.addEventListener("error", () => pane.node.classList.remove("loading"));
    pane.full.src = picture("full", pane.number);
  }

  function placeAll() {
    box.classList.toggle("zoomed", scale !== null);
    for (const pane of panes) place(pane);
    for (const told of changed) told(scale !== null);
  }

  function middle() { // where moving has no room, the middle must not run away
    x = Math.min(1, Math.max(0, x));
    y = Math.min(1, Math.max(0, y));
  }

  function zoomTo(wanted, pane, point) {
    const from = scale === null ? fit(pane) : scale;
    const to = Math.min(Math.max(wanted, Math.min(fit(pane), whole())), 8 * whole());
    if (point) { // what is under the pointer stays there
      const spot = [pane.image, pane.node].map((node) => node.getBoundingClientRect());
      const share = [(point.clientX - spot[0].left) / (pane.wide * from), (point.clientY - spot[0].top) / (pane.high * from)];
      const off = [point.clientX - spot[1].left - spot[1].width / 2, point.clientY - spot[1].top - spot[1].height / 2];
      x = share[0] - off[0] / (pane.wide * to);
      y = share[1] - off[1] / (pane.high * to);
    }
    scale = to;
    middle();
    placeAll();
  }

  function toggle(pane, point) {
    pane = pane || panes[0];
    if (!pane) return;
    if (scale !== null) { scale = null; placeAll(); } else zoomTo(whole(), pane, point);
  }

  function move(dx, dy) { // in pixels of the page
    const pane = panes[0];
    if (scale === null || !pane) return;
    x -= dx / (pane.wide * scale);
    y -= dy / (pane.high * scale);
    middle();
    placeAll();
  }

  function listen(pane) {
    let from = null;
    let moved = false;
    pane.node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest("button")) return;
      from = [event.clientX, event.clientY];
      moved = false;
      pane.node.setPointerCapture(event.pointerId);
    });
    pane.node.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = true;
      from = [event.clientX, event.clientY];
      move(dx, dy);
    });
    pane.node.addEventListener("pointerup", (event) => {
      if (from && !moved) toggle(pane, event);
      from = null;
    });
    pane.node.addEventListener("pointercancel", () => { from = null; });
    pane.node.addEventListener("wheel", (event) => {
      event.preventDefault();
      const now = scale === null ? fit(pane) : scale;
      zoomTo(now * Math.exp(-event.deltaY / 400), pane, event);
    }, { passive: false });
  }

  function paneOf(number, build) {
    const photo = rows.get(number);
    const image = make("img", { alt: altOf(number), draggable: false, src: picture("view", number) });
    const mark = draw("svg", { class: "framed", "aria-hidden": "true", preserveAspectRatio: "none" });
    const node = make("div", { className: "pane" }, image, mark);
    const pane = { number, node, image, mark, wide: photo.width || 4, high: photo.height || 3, full: null };
    image.addEventListener("error", () => image.replaceWith(make("p", { className: "gone" }, `${photo.name}: no longer readable`)));
    listen(pane);
    return { pane, figure: make("figure", {}, node, build ? build(photo, pane) : null) };
  }

  new ResizeObserver(placeAll).observe(box);
  return {
    // `build` gives what stands below each photo
    show(numbers, build) {
      const keeps = panes.length === numbers.length; // then the next photo is seen at the same place
      const made = numbers.map((number) => paneOf(number, build));
      panes = made.map((one) => one.pane);
      box.replaceChildren(...made.map((one) => one.figure));
      box.dataset.panes = panes.length;
      if (!keeps) { scale = null; [x, y] = [0.5, 0.5]; }
      placeAll();
    },
    clear() { panes = []; box.replaceChildren(); scale = null; },
    by(factor) { if (panes[0]) zoomTo((scale === null ? fit(panes[0]) : scale) * factor, panes[0]); },
    toggle: () => toggle(),
    move,
    // a place of the first photo, or null
    frame(place) { if (panes[0]) frame(panes[0].mark, panes[0].wide, panes[0].high, place); },
    onChange(told) { changed.push(told); },
    figures: () => [...box.children],
    get zoomed() { return scale !== null; },
  };
}
