// What both reports share: figures that follow the colour scheme, the window and the printer; tables that filter, sort
// and download; nothing here asks the network for anything.
"use strict";
const report = (() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const narrow = () => window.innerWidth < 640;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "cross", "x", "triangle-down", "star", "pentagon"];
  const SCALES = {
    light: {
      "@sequential": [[0, "#f3f6f9"], [0.25, "#b9d3e8"], [0.5, "#6fa8d0"], [0.75, "#2b78ad"], [1, "#0a3d66"]],
      "@ramp": [[0, "#00224e"], [0.3, "#3f5f8a"], [0.6, "#8f8f6a"], [0.85, "#d3a92a"], [1, "#e8b800"]],
    },
    dark: {
      "@sequential": [[0, "#1c2630"], [0.25, "#23496a"], [0.5, "#2f78ad"], [0.75, "#6db3e2"], [1, "#d5ecfb"]],
      "@ramp": [[0, "#4a76b8"], [0.3, "#6f93b5"], [0.6, "#a8a582"], [0.85, "#dcc35a"], [1, "#ffe14d"]],
    },
  };
  const DISTINCT = [0, 5, 4, 8, 3, 6, 1, 2, 7];
  let printing = false;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // A text that starts with "@" is a colour of the page ("@c0", "@ink") or a colour scale ("@sequential").
  function resolve(value) {
    if (typeof value === "string" && value.startsWith("@")) {
      const scales = dark.matches && !printing ? SCALES.dark : SCALES.light;
      return scales[value] || css("--" + value.slice(1)) || value;
    }
    if (Array.isArray(value)) return typeof value[0] === "number" && typeof value[1] !== "string" ? value : value.map(resolve);
    if (value && typeof value === "object" && !ArrayBuffer.isView(value)) {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
    }
    return value;
  }

  // Plotly reads a little HTML in its texts; names of users are not HTML.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // Of a name that a phone, or half a window, has no room for, the beginning.
  function short(name) {
    const most = narrow() ? 24 : 72;
    return name.length <= most ? name : name.slice(0, most - 1).replace(/&[a-z]*$/, "") + "…";
  }

  function axis(own) {
    const base = { gridcolor: "@grid", linecolor: "@rule", zerolinecolor: "@rule", zeroline: false, ticks: "outside",
      tickcolor: "@rule", ticklen: 4, automargin: true, title: { standoff: 8 } };
    return { ...base, ...own, title: { ...base.title, ...(own || {}).title } };
  }

  // `halved`: the figure has another at its side. Paper is some 680 px wide, whatever the window was.
  function layout(own, halved, legendLines) {
    const small = narrow() && !printing;
    const full = {
      font: { family: css("--body"), size: small ? 11 : 12, color: "@muted" }, paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)", margin: { l: small ? 48 : 60, r: small ? 8 : 16, t: 12, b: 44 },
      hoverlabel: { bgcolor: "@paper", bordercolor: "@rule", align: "left", namelength: -1,
        font: { family: css("--body"), size: 13, color: "@ink" } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "@faint", activecolor: "@ink" },
      dragmode: small ? false : "zoom", hovermode: "closest", ...own,
    };
    full.legend = { orientation: "h", x: 0, xanchor: "left", y: 1.01, yanchor: "bottom", itemsizing: "constant",
      bgcolor: "rgba(0,0,0,0)", ...full.legend };
    for (const key of new Set(["xaxis", "yaxis", ...Object.keys(full).filter((name) => /^[xy]axis\d+$/.test(name))])) full[key] = axis(full[key]);
    if (small) full.legend.maxheight = 1;  // all of it stands above the figure, none is behind a bar to scroll
    if (small && full.height) full.height = Math.round(full.height * 0.85) + 14 * legendLines;
    if (printing) Object.assign(full, { autosize: false, width: halved ? 322 : 672, height: Math.round(0.8 * full.height) });
    return full;
  }

  const figures = new Map();
  function figure(id, build) {
    const element = document.getElementById(id);
    if (!element) return null;
    figures.set(id, build);
    render(id);
    return element;
  }
  function render(id) {
    const element = document.getElementById(id);
    const spec = figures.get(id)();
    const halved = element.closest(".pair") !== null;
    const traces = resolve(spec.data).map((trace) => {
      if (trace.texttemplate && narrow() && !printing) delete trace.texttemplate;
      if (trace.texttemplate && printing && halved) trace.textfont = { size: 7 };
      if (trace.name) trace.name = short(trace.name);
      return trace;
    });
    const entries = traces.filter((trace) => trace.name && trace.showlegend !== false).length;
    const own = layout(spec.layout, halved, entries > 1 ? entries : 0);
    const options = { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover",
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], toImageButtonOptions: { filename: id } };
    return Plotly.react(element, traces, resolve(own), options);
  }
  const redraws = [];
  const renderAll = () => { figures.forEach((_, id) => render(id)); redraws.forEach((draw) => draw()); };

  // Arrow keys walk through the points of a scatter from left to right, as the pointer would.
  function walk(element, describe) {
    let at = -1;
    element.tabIndex = 0;
    element.setAttribute("role", "application");
    element.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const points = [];
      element.data.forEach((trace, curveNumber) => {
        if (trace.hoverinfo === "skip" || trace.visible === "legendonly" || trace.meta === "behind") return;
        Array.from(trace.x).forEach((x, pointNumber) => points.push({ x, curveNumber, pointNumber }));
      });
      if (!points.length) return;
      points.sort((a, b) => a.x - b.x);
      at = (at + step + points.length) % points.length;
      Plotly.Fx.hover(element, [points[at]]);
      const told = document.getElementById("told");
      if (told && describe) told.textContent = describe(points[at]);
    });
    element.addEventListener("blur", () => Plotly.Fx.unhover(element));
  }

  function number(value, digits = 4) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    const whole = Number.isInteger(value);
    if (size < 1e-3 || size >= (whole ? 1e9 : 1e6)) return value.toExponential(digits - 1).replace("e+", "e");
    const text = whole ? String(value) : String(Number(value.toPrecision(digits)));
    return size < 1000 ? text : text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  }
  const percent = (share) => (share === null ? "–" : (share * 100).toFixed(1).replace("-", "−") + "\u00a0%");
  const shown = (column, value) =>
    value === null ? "–" : column.kind === "text" || column.role === "point" ? String(value) : column.kind === "share" ? percent(value) :
      number(value / (column.factor || 1));

  // A long operator may be broken behind its commas.
  const breakable = (text, code) =>
    code ? text.split(/(?<=[,(])/).flatMap((part, i) => (i ? [document.createElement("wbr"), part] : [part])) : [text];

  // "fp8 error>50%": words that a row must hold, and comparisons with a column's value in the unit shown.
  function matcher(query, columns) {
    const tests = query.trim().toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
      const parts = word.match(/^(.+?)(<=|>=|<|>|=)(.+)$/);
      const column = parts && columns.find((c) => [c.key, c.name, c.label].some((name) => name && name.toLowerCase() === parts[1]));
      if (!column) return (row) => columns.some((c) => c.kind === "text" && String(c.values[row]).toLowerCase().includes(word));
      const bound = Number(parts[3].replace("%", "")) / (parts[3].endsWith("%") ? 100 : 1);
      const scale = column.factor || 1;
      const value = (row) => (column.values[row] === null || scale === 1 ? column.values[row] : column.values[row] / scale);
      if (column.kind === "text" || Number.isNaN(bound)) return (row) => String(value(row)).toLowerCase() === parts[3];
      const compare = { "<": (v) => v < bound, ">": (v) => v > bound, "<=": (v) => v <= bound, ">=": (v) => v >= bound,
        "=": (v) => Math.abs(v - bound) <= 1e-5 * Math.abs(bound) }[parts[2]];
      return (row) => value(row) !== null && compare(value(row));
    });
    return (row) => tests.every((test) => test(row));
  }

  // Why nothing is found: comparisons with what is no column's name, and words that are nowhere.
  function unknown(query, columns) {
    const names = columns.flatMap((c) => [c.key, c.name, c.label]).filter(Boolean).map((name) => name.toLowerCase());
    const rows = columns.length ? columns[0].values.length : 0;
    return query.trim().toLowerCase().split(/\s+/).filter(Boolean).flatMap((word) => {
      const parts = word.match(/^(.+?)(<=|>=|<|>|=)(.+)$/);
      if (parts && names.includes(parts[1])) return [];
      const match = matcher(word, columns);
      for (let row = 0; row < rows; row++) if (match(row)) return [];
      return [parts ? `no column is called ${parts[1]}` : `${word} is in no row`];
    });
  }

  function csv(columns, rows) {
    const cell = (value) => {
      const written = value === null || value === undefined ? "" : String(value);
      // A quote before what a spreadsheet would take for a formula; numbers stay numbers.
      const text = typeof value === "string" && /^[=+\-@\t\r]/.test(written) ? "'" + written : written;
      return /[",\n\r]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
    };
    return [columns.map((c) => cell(c.key)), ...rows.map((row) => columns.map((c) => cell(c.values[row])))]
      .map((line) => line.join(",")).join("\r\n") + "\r\n";
  }
  function download(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // A table over columns [{key, label, kind: text|number|share, values, code}]; `allowed` narrows its rows from outside.
  function table(id, columns, options = {}) {
    const root = document.getElementById(id);
    if (!root) return null;
    const part = (role) => root.querySelector(`[data-role=${role}]`);
    // A phone shows the first columns of a few rows, but none that is the same in all; the CSV has all of both.
    const size = () => (narrow() && !printing ? 8 : options.size || 25);
    const same = (column) => column.values.length > 1 && column.values.every((value) => value === column.values[0]);
    const telling = new Set(columns.filter((column) => !same(column)).slice(0, options.phone || 8));
    const rare = (column) => (telling.has(column) ? "" : " few");
    const count = columns.length ? columns[0].values.length : 0;
    const first = columns.findIndex((column) => column.key === options.sort);
    const state = { query: "", sort: first < 0 ? null : first, descending: options.descending || false, page: 0, allowed: null, rows: [] };
    const head = part("head").insertRow();
    const headers = columns.map((column, index) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.className = (column.kind === "text" ? "" : "num") + rare(column);
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = column.label;
      button.addEventListener("click", () => {
        state.descending = state.sort === index ? !state.descending : column.kind !== "text";
        state.sort = index;
        state.touched = true;
        update();
      });
      cell.append(button);
      head.append(cell);
      return cell;
    });
    function choose() {
      const match = matcher(state.query, columns);
      state.rows = [];
      for (let row = 0; row < count; row++) if ((!state.allowed || state.allowed[row]) && match(row)) state.rows.push(row);
      if (state.sort === null) return;
      const { values } = columns[state.sort];
      const sign = state.descending ? -1 : 1;
      const late = state.touched ? null : options.late;
      const order = (a, b) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (a < b ? -1 : 1));
      state.rows.sort((a, b) => (late && late[a] - late[b]) || order(values[a], values[b]));
    }
    function update(keepPage) {
      choose();
      if (!keepPage) state.page = 0;
      draw();
      if (options.onchange) options.onchange(state.rows);
    }
    function draw() {
      const pages = Math.max(1, Math.ceil(state.rows.length / size()));
      state.page = Math.min(Math.max(state.page, 0), pages - 1);
      const page = state.rows.slice(state.page * size(), (state.page + 1) * size());
      part("body").replaceChildren(...page.map((row) => {
        const line = document.createElement("tr");
        for (const column of columns) {
          const cell = line.insertCell();
          cell.append(...breakable(shown(column, column.values[row]), column.code));
          cell.className = (column.kind === "text" ? (column.code ? "code" : "word") : "num") + rare(column);
          cell.dataset.label = column.label;
        }
        return line;
      }));
      headers.forEach((cell, index) =>
        cell.setAttribute("aria-sort", state.sort === index ? (state.descending ? "descending" : "ascending") : "none"));
      const why = state.rows.length ? [] : unknown(state.query, columns);
      const said = state.rows.length || !state.query.trim() ? "" : `: ${why.join(", ") || "no row meets all of it"}`;
      part("count").textContent = `${state.rows.length.toLocaleString("en-GB")} of ${count.toLocaleString("en-GB")} rows${said}`;
      part("page").textContent = `page ${state.page + 1} of ${pages}`;
      part("previous").disabled = state.page === 0;
      part("next").disabled = state.page === pages - 1;
    }
    let waiting = 0;
    part("filter").addEventListener("input", (event) => {
      clearTimeout(waiting);
      state.query = event.target.value;
      waiting = setTimeout(update, 120);
    });
    part("previous").addEventListener("click", () => { state.page -= 1; draw(); });
    part("next").addEventListener("click", () => { state.page += 1; draw(); });
    part("download").addEventListener("click", () => download(`${options.name || id}.csv`, csv(columns, state.rows)));
    update();
    redraws.push(draw);
    return { allow(mask) { state.allowed = mask; update(); }, rows: () => state.rows };
  }

  let width = window.innerWidth < 640;
  window.addEventListener("resize", () => {
    if (narrow() === width) return;
    width = narrow();
    renderAll();
  });
  dark.addEventListener("change", renderAll);
  window.addEventListener("beforeprint", () => { printing = true; renderAll(); });
  window.addEventListener("afterprint", () => { printing = false; renderAll(); });
  return { data, figure, render, renderAll, table, walk, plain, short, number, percent, css, SYMBOLS, DISTINCT, narrow,
    printing: () => printing, resolve };
})();

for (const [id, spec] of Object.entries(report.data.figures || {})) report.figure(id, () => spec);
for (const [id, spec] of Object.entries(report.data.tables || {})) report.table(id, spec.columns, spec);
