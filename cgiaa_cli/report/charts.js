/* The plots of the scores, and the tables of weak attributes. */

/* ---- plots ---- */

const medianOf = (values) => (values.length ? values[values.length >> 1] : null);

// `values` has of each score those of all photos; the plots are of all photos and of those that are shown
function makePlots(values) {
  const sorted = {};
  for (const name of Object.keys(SCORES)) sorted[name] = values[name].filter((value) => value !== null).sort((a, b) => a - b);
  const tenths = ["score", ...ATTRIBUTES, "technical"];
  const ends = tenths.filter((name) => sorted[name].length).flatMap((name) => [sorted[name][0], sorted[name].at(-1)]);
  const common = [Math.floor(Math.min(...ends)), Math.ceil(Math.max(...ends) + 1e-9)];
  const box = document.querySelector(".plots");
  return {
    sorted,
    show() {
      box.replaceChildren(...Object.keys(SCORES).filter((name) => sorted[name].length).map((name) => {
        const own = name === "complexity" ? [0, 100] : [Math.floor(sorted[name][0] * 2) / 2, Math.ceil(sorted[name].at(-1) * 2 + 1e-9) / 2];
        const some = shown.map((i) => values[name][i]).filter((value) => value !== null).sort((a, b) => a - b);
        return plot(name, tenths.includes(name) ? common : own, sorted[name], some);
      }));
    },
  };
}

function plot(name, [low, high], all, some) {
  const bins = 24;
  const [width, height, base] = [240, 96, 80];
  const fill = (values) => {
    const bars = new Array(bins).fill(0);
    for (const value of values) bars[Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))]++;
    return bars;
  };
  const [every, part] = [fill(all), fill(some)];
  const most = Math.max(...every);
  const middle = medianOf(some);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", `${SCORES[name]}: ${count(some.length, "photo")}` +
    (some.length ? `, from ${fixed(some[0])} to ${fixed(some.at(-1))}, median ${fixed(middle)}` : ""));
  for (const [kind, bars] of [["every", every], ["some", part]]) {
    bars.forEach((n, i) => {
      if (!n) return;
      const tall = (n / most) * (base - 6);
      const bar = draw("rect", { class: kind, x: (i * width) / bins + 0.5, width: width / bins - 1, y: base - tall, height: tall });
      const from = low + (i * (high - low)) / bins;
      bar.append(draw("title", {}, `${fixed(from)} to ${fixed(from + (high - low) / bins)}: ${part[i]} of ${every[i]}`));
      svg.append(bar);
    });
  }
  if (middle !== null) {
    const x = ((middle - low) / (high - low)) * width;
    svg.append(draw("line", { class: "median", x1: x, x2: x, y1: 0, y2: base }));
  }
  svg.append(draw("text", { x: 0, y: height - 4 }, low), draw("text", { x: width, y: height - 4, "text-anchor": "end" }, high));
  return make("figure", { className: "plot" },
    make("figcaption", {}, SCORES[name], make("span", { title: "median" }, middle === null ? "" : fixed(middle))), svg);
}

/* ---- weak spots ---- */

// `chosen` is called with what a row is about
function weakTables(weak, total, chosen) {
  const titles = { lens: "Lens", focal: "Focal length", month: "Month" };
  const tables = Object.entries(weak).filter(([, rows]) => rows.length).map(([kind, rows]) => {
    const known = rows.reduce((sum, row) => sum + row.photos, 0);
    const missing = total - known;
    const table = make("table", {},
      make("caption", {}, `${titles[kind]} `, make("span", {}, missing ? `not known of ${count(missing, "photo")}` : "")),
      make("thead", {}, make("tr", {}, ...["", "Photos", ...Object.values(data.attributes), "Weakest"].map((text) => make("th", { scope: "col" }, text)))),
      make("tbody", {}, ...rows.map((row) => weakRow(row, () => chosen(kind, row.name)))));
    return make("div", { className: "table", tabIndex: 0, role: "region", "aria-label": titles[kind] }, table);
  });
  document.querySelector(".tables").append(...tables);
  if (!tables.length) document.querySelector(".tables").append(make("p", { className: "about" }, "No photo says with which lens or when it was taken."));
}

function weakRow(row, chosen) {
  const name = make("button", { type: "button", title: "Its photos" }, row.name);
  name.addEventListener("click", chosen);
  const cells = row.means.map((mean, i) => {
    const stand = row.stands[i];
    const cell = make("td", { title: `${stand >= 0 ? "+" : ""}${stand.toFixed(2)} standard deviations` }, fixed(mean));
    // the mean of one or two photos is far from any mean
    const strength = row.photos < 3 ? 0 : Math.round(Math.min(Math.abs(stand), 1) * 55);
    cell.style.backgroundColor = `color-mix(in srgb, var(${stand < 0 ? "--low" : "--high"}) ${strength}%, transparent)`;
    return cell;
  });
  const weak = row.weakest ? data.attributes[row.weakest] : "-";
  return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, row.photos.toLocaleString("en")), ...cells,
    make("td", { className: row.sure ? "" : "chance", title: row.sure || !row.weakest ? "" : "may be chance" }, weak));
}
