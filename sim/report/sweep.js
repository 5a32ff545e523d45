// The pictures of a sweep and what links them: brushes on the parallel coordinates and the table's filter choose points;
// scatter, map and table show the chosen ones. Values are SI; a column's `factor` and `shown` unit are for people.
"use strict";
const sweep = (() => {
  const { columns: given, scatter: start, map: mapStart } = report.data.sweep;
  const columns = given.map((column) => {
    const values = column.levels ? column.codes.map((code) => column.levels[code]) : column.values;
    const unit = column.shown ? ` (${column.shown})` : "";
    return { ...column, values, factor: column.factor || 1, label: column.name + unit };
  });
  const byKey = new Map(columns.map((column) => [column.key, column]));
  const count = columns[0].values.length;
  const feasible = byKey.has("feasible") ? byKey.get("feasible").values.map((word) => word === "yes") : new Array(count).fill(true);
  const front = byKey.get("pareto").values.map((word) => word === "front");
  const of = (...roles) => columns.filter((column) => roles.includes(column.role));
  const numeric = columns.filter((column) => column.kind !== "text" && column.role !== "point");
  function told(column, row) {
    const value = column.values[row];
    if (value === null) return "–";
    if (column.role === "point") return String(value);
    return column.kind === "text" ? report.plain(value) : report.number(value / column.factor) + (column.shown ? " " + column.shown : "");
  }
  const read = [...of("point", "axis", "derived", "objective"), ...of("bound").slice(0, 1), byKey.get("pareto")]
    .map((column) => [column, report.plain(column.name)]);
  const hovers = new Array(count);
  function hover(row) {
    hovers[row] = hovers[row] || read.map(([column, name]) => `${name} <b>${told(column, row)}</b>`).join("<br>");
    return hovers[row];
  }
  const shownValue = (column, row) => (column.values[row] === null ? null : column.values[row] / column.factor);
  const values = (column, rows) => rows.map((row) => shownValue(column, row));

  // A scale is logarithmic where its values are positive and span more than a factor of 30.
  function isLog(column) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of column.values) if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
    return low > 0 && high / low > 30;
  }
  const axis = (column) =>
    column.kind === "text" ? { type: "category", title: { text: report.plain(column.label) } } :
      isLog(column) ? { type: "log", title: { text: report.plain(column.label) }, tickformat: "~g" } :  // 40, not the 4 of 40
        { type: "linear", title: { text: report.plain(column.label) }, separatethousands: true };

  function fill(id, options, chosen) {
    const select = document.getElementById(id);
    if (!select) return () => null;
    for (const { key, label } of options) select.add(new Option(label, key, false, key === chosen));
    return () => byKey.get(select.value) || null;
  }
  const x = fill("scatter-x", numeric, start.x);
  const y = fill("scatter-y", numeric, start.y);
  const tones = [{ key: "", label: "front only" }, ...of("bound"), byKey.get("pareto"), ...of("axis", "derived")];
  const tone = fill("scatter-tone", tones, start.tone);
  const places = [...of("axis", "derived")];
  const down = fill("map-y", places, mapStart.y);
  const across = fill("map-x", places, mapStart.x);
  const limit = fill("map-bound", of("bound"), mapStart.bound);

  let chosen = Array.from({ length: count }, (_, row) => row);
  let isChosen = new Uint8Array(count).fill(1);

  // Colour of a row under the chosen tone: a number on the ramp, or a place in the palette.
  function palette(column) {
    const words = column.words || [...new Set(column.values)].sort();
    return { words, code: column.codes ? (row) => column.codes[row] : (row) => words.indexOf(column.values[row]) };
  }

  function groups(rows) {
    const column = tone();
    if (!column) return [{ name: "dominated", rows, marker: { color: "@c0", symbol: "circle" } }];
    if (column.kind !== "text") {
      const bar = { title: { text: report.plain(column.label), side: "right" }, thickness: 10, outlinewidth: 0, len: 0.9 };
      const color = values(column, rows);
      const marker = { color, colorscale: "@ramp", showscale: true, colorbar: bar };
      return [{ name: "dominated", rows, marker }];
    }
    const { words, code } = palette(column);
    return words.map((word, index) => ({
      name: report.plain(word), rows: rows.filter((row) => code(row) === index),
      marker: { color: "@c" + (index % 9), symbol: report.SYMBOLS[index % 9] },
    })).filter((group) => group.rows.length);
  }

  // A fair choice of rows that are too many, always the same; every second row of a grid would leave out whole levels.
  // The factor is Knuth's multiplicative hash.
  function few(rows, share = 1) {
    const part = (share * report.data.sweep.drawn) / rows.length;
    return part < 1 ? rows.filter((row) => (Math.imul(row + 1, 2654435761) >>> 0) / 2 ** 32 < part) : rows;
  }

  function points(rows, extra) {
    return { type: "scatter", mode: "markers", x: values(x(), rows), y: values(y(), rows), customdata: rows,
      text: rows.map(hover), hovertemplate: "%{text}<extra></extra>", ...extra };
  }
  function bars(column, rows) {
    const isTime = /(^|\.)time_s$/.test(column.key);
    const end = (word) => byKey.get(isTime ? column.key.replace(/_s$/, `_${word}_s`) : `${column.key}_${word}`);
    const [low, high] = [end("low"), end("high")];
    if (!low || !high) return undefined;
    const apart = (one, other) => rows.map((row) => (one.values[row] - other.values[row]) / column.factor);  // each has its own unit
    return { type: "data", symmetric: false, thickness: 1, width: 0, color: "@faint",
      array: apart(high, column), arrayminus: apart(column, low) };
  }

  // Room for one line of legend and for the axes: Plotly draws everything twice where it finds too little.
  const fixed = { margin: { l: 68, r: 16, t: 40, b: 52 } };

  function scatter() {
    const out = [];
    const behind = [];
    for (let row = 0; row < count; row++) if (!isChosen[row]) behind.push(row);
    if (behind.length) {
      out.push(points(few(behind, 0.2), { name: "not chosen", hoverinfo: "skip", hovertemplate: null, text: null, meta: "behind",
        showlegend: false, marker: { size: 3, color: "@faint", opacity: 0.25 } }));
    }
    const faint = chosen.length > 2000 ? 0.5 : 0.75;
    for (const { name, rows, marker } of groups(few(chosen.filter((row) => feasible[row] && !front[row])))) {
      out.push(points(rows, { name, marker: { size: 5, opacity: faint, ...marker } }));
    }
    const broken = few(chosen.filter((row) => !feasible[row]), 0.2);
    if (broken.length) {
      out.push(points(broken, { name: "infeasible", marker: { size: 4, opacity: 0.35, color: "@muted", symbol: "x-thin-open" } }));
    }
    const best = chosen.filter((row) => front[row]).sort((a, b) => shownValue(x(), a) - shownValue(x(), b));
    if (best.length) {
      const objectives = of("objective").map((column) => column.key);
      const flat = objectives.length === 2 && objectives.includes(x().key) && objectives.includes(y().key);
      out.push(points(best, { name: "Pareto front", mode: flat && best.length < 400 ? "lines+markers" : "markers",
        line: { color: "@ink", width: 1 }, error_x: bars(x(), best), error_y: bars(y(), best),
        marker: { size: 8, color: "@front", symbol: "circle", line: { color: "@paper", width: 1.2 } } }));
    }
    return { data: out, layout: { height: 560, ...fixed, xaxis: { ...axis(x()), automargin: false }, yaxis: { ...axis(y()), automargin: false } } };
  }

  // Which bound most of the points of a cell have; cells are levels of the two axes, or twelve parts of a range.
  function cells(column) {
    if (column.kind === "text") return { labels: palette(column).words.map(report.plain), place: palette(column).code };
    const levels = [...new Set(column.values)].sort((a, b) => a - b);
    const label = (value) => report.number(value / column.factor, 3);
    if (levels.length <= 24) {
      const index = new Map(levels.map((level, i) => [level, i]));
      return { labels: levels.map(label), place: (row) => index.get(column.values[row]) };
    }
    const scale = isLog(column) ? Math.log : (value) => value;
    const [low, high] = [scale(levels[0]), scale(levels[levels.length - 1])];
    const back = isLog(column) ? Math.exp : (value) => value;
    const labels = Array.from({ length: 12 }, (_, i) => "from " + label(back(low + (i / 12) * (high - low))));
    return { labels, place: (row) => Math.min(11, Math.floor(((scale(column.values[row]) - low) / (high - low)) * 12)) };
  }

  function map() {
    const [xs, ys] = [cells(across()), cells(down())];
    const { words, code } = palette(limit());
    const shape = ys.labels.map(() => xs.labels.map(() => new Map()));
    for (const row of chosen) {
      const cell = shape[ys.place(row)][xs.place(row)];
      cell.set(code(row), (cell.get(code(row)) || 0) + 1);
    }
    const sorted = (cell) => [...cell].sort((a, b) => b[1] - a[1]);
    const total = (cell) => [...cell.values()].reduce((a, b) => a + b, 0);
    const z = shape.map((line) => line.map((cell) => (cell.size ? sorted(cell)[0][0] : null)));
    const name = (cell) => (cell.size ? report.plain(words[sorted(cell)[0][0]]) : "");
    const shares = (cell) => sorted(cell).map(([bound, n]) => `${report.plain(words[bound])} ${report.percent(n / total(cell))}`).join("<br>");
    const few = xs.labels.length <= 12;
    const scale = words.flatMap((_, i) => [[i / words.length, "@c" + (i % 9)], [(i + 1) / words.length, "@c" + (i % 9)]]);
    const trace = {
      type: "heatmap", x: xs.labels, y: ys.labels, z, zmin: -0.5, zmax: words.length - 0.5, colorscale: scale, showscale: false,
      text: shape.map((line) => line.map(name)), customdata: shape.map((line) => line.map((cell) => cell.size ? `${total(cell)} points<br>${shares(cell)}` : "")),
      hovertemplate: `${report.plain(across().name)} %{x}, ${report.plain(down().name)} %{y}<br>%{customdata}<extra></extra>`,
      texttemplate: few ? "%{text}" : undefined, textfont: { size: 10, color: "@paper" }, xgap: 2, ygap: 2,
    };
    const seen = [...new Set(z.flat())].filter((bound) => bound !== null).sort((a, b) => a - b);
    const keys = seen.map((bound) => ({ type: "scatter", mode: "markers", x: [null], y: [null], name: report.plain(words[bound]),
      hoverinfo: "skip", marker: { symbol: "square", size: 10, color: "@c" + (bound % 9) } }));
    const category = (column, labels) => ({ ...axis(column), type: "category", categoryorder: "array", categoryarray: labels, tickvals: labels,
      ticktext: labels.map(report.short), showgrid: false });
    return { data: [trace, ...keys], layout: { height: 130 + (report.narrow() ? 18 : 30) * Math.max(5, ys.labels.length), xaxis: category(across(), xs.labels),
      yaxis: category(down(), ys.labels) } };
  }

  const listeners = [];
  function choose(rows) {
    chosen = rows.slice().sort((a, b) => a - b);
    isChosen = new Uint8Array(count);
    for (const row of rows) isChosen[row] = 1;
    views.forEach((id) => report.render(id));
    listeners.forEach((listen) => listen());
  }

  const views = [];
  function show(id, build) {
    if (!report.figure(id, build)) return null;
    views.push(id);
    return document.getElementById(id);
  }
  const colour = (row) => {
    const column = tone();
    if (front[row]) return "--front";
    return column && column.kind === "text" ? "--c" + (palette(column).code(row) % 9) : "--c0";
  };
  return { columns, byKey, count, of, feasible, front, told, hover, isLog, palette, tone, colour, scatter, map, choose, show,
    few, listeners, chosen: () => isChosen, chosenRows: () => chosen };
})();

(() => {
  const shownColumns = sweep.columns.filter((column) => column.role !== "interval" || column.key.startsWith("time"));
  const scatter = sweep.show("scatter", sweep.scatter);
  report.walk(scatter, ({ curveNumber, pointNumber }) =>
    scatter.data[curveNumber].text[pointNumber].replace(/<br>/g, ", ").replace(/<\/?b>/g, ""));
  if (document.getElementById("map")) sweep.show("map", sweep.map);
  for (const id of ["scatter-x", "scatter-y", "scatter-tone", "map-x", "map-y", "map-bound"]) {
    const select = document.getElementById(id);
    if (select) select.addEventListener("change", () => {
      report.render(id.split("-")[0]);
      sweep.listeners.forEach((listen) => listen());
    });
  }
  let first = true;
  sweep.table = report.table("points", shownColumns, { name: report.data.sweep.name, size: 20, ...report.data.sweep.order,
    late: sweep.feasible.map((holds) => (holds ? 0 : 1)), onchange: (rows) => {
    if (!first) sweep.choose(rows);
    first = false;
  } });
})();
