// Parallel coordinates on a canvas: a line a point, an axis a parameter or objective. A range of an axis is chosen by
// dragging along it, or with the arrow keys on its two handles. Hovering a point of the scatter lifts its line.
"use strict";
(() => {
  const root = document.getElementById("parallel");
  if (!root) return;
  const canvas = root.querySelector("canvas");
  const pen = canvas.getContext("2d");
  const shown = sweep.of("axis", "derived", "objective").concat(sweep.of("bound").slice(0, 1));
  const TOP = 72;
  const BOTTOM = 30;
  const HEIGHT = 394;
  let lifted = -1;

  const axes = shown.map((column) => {
    if (column.kind === "text") {
      const words = sweep.palette(column).words.filter((word) => column.values.includes(word));
      const last = Math.max(1, words.length - 1);
      const places = new Map(words.map((word, i) => [word, i / last]));
      return { column, words, steps: words.map((_, i) => i / last), at: (row) => places.get(column.values[row]), low: 0, high: 1,
        text: (t) => words[Math.round(t * last)] };
    }
    const log = sweep.isLog(column);
    const scale = log ? Math.log : (value) => value;
    const levels = [...new Set(column.values.filter((value) => value !== null))].sort((a, b) => a - b);
    const [low, high] = [scale(levels[0]), scale(levels[levels.length - 1])];
    const part = (value) => (high > low ? (scale(value) - low) / (high - low) : 0.5);
    const even = Array.from({ length: 41 }, (_, i) => i / 40);
    const back = (t) => (log ? Math.exp(low + t * (high - low)) : low + t * (high - low));
    return { column, steps: levels.length <= 40 ? levels.map(part) : even, low: 0, high: 1,
      at: (row) => (column.values[row] === null ? -1 : part(column.values[row])),
      text: (t) => report.number(back(t) / column.factor, 3) };
  });
  const brushed = (axis) => axis.low > 0 || axis.high < 1;
  const within = (axis, t) => !brushed(axis) || (t >= axis.low - 1e-9 && t <= axis.high + 1e-9);

  let width = 0;
  const left = (index) => 64 + (index * (width - 128)) / Math.max(1, axes.length - 1);
  const height = (t) => TOP + (1 - t) * (HEIGHT - TOP - BOTTOM);

  function line(row) {
    pen.beginPath();
    axes.forEach((axis, index) => {
      const t = axis.at(row);
      if (t >= 0) pen[index ? "lineTo" : "moveTo"](left(index), height(t));
    });
    pen.stroke();
  }
  function stroke(rows, alpha, weight, colour) {
    pen.lineWidth = weight;
    pen.globalAlpha = alpha;
    const seen = new Map();
    for (const row of rows) {
      const name = colour || sweep.colour(row);
      if (!seen.has(name)) seen.set(name, report.css(name));
      pen.strokeStyle = seen.get(name);
      line(row);
    }
    pen.globalAlpha = 1;
  }
  // A name that is too long for its place is set on two lines, broken behind a dot, a blank or an underscore.
  function lines(words, room) {
    if (pen.measureText(words).width <= room) return [words];
    const breaks = [...words.matchAll(/[._ -]/g)].map((found) => found.index + 1);
    const middle = breaks.sort((a, b) => Math.abs(a - words.length / 2) - Math.abs(b - words.length / 2))[0];
    return middle ? [words.slice(0, middle), words.slice(middle)] : [words];
  }
  // What is still too long is set smaller, and never cut.
  function fitted(text, x, y, room, size, weight, draw) {
    const family = report.css("--body");
    pen.font = `${weight} ${size}px ${family}`;
    const wide = pen.measureText(text).width;
    if (wide > room) pen.font = `${weight} ${Math.max(7, (size * room) / wide)}px ${family}`;
    draw(text, x, y);
    pen.font = `${weight} ${size}px ${family}`;
  }
  function haloed(text, x, y) {
    pen.strokeStyle = report.css("--paper");
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }
  function frame() {
    const family = report.css("--body");
    const room = Math.max(60, (width - 128) / Math.max(1, axes.length - 1) - 8);
    axes.forEach((axis, index) => {
      const x = left(index);
      pen.strokeStyle = report.css("--muted");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, height(1));
      pen.lineTo(x, height(0));
      pen.stroke();
      if (brushed(axis)) {
        pen.strokeStyle = report.css("--accent");
        pen.lineWidth = 5;
        pen.beginPath();
        pen.moveTo(x, height(axis.high) - 2);
        pen.lineTo(x, height(axis.low) + 2);
        pen.stroke();
      }
      pen.strokeStyle = report.css(brushed(axis) ? "--accent" : "--muted");
      pen.lineWidth = 3;
      for (const end of [axis.low, axis.high]) {
        pen.beginPath();
        pen.moveTo(x - 7, height(end));
        pen.lineTo(x + 7, height(end));
        pen.stroke();
      }
      pen.fillStyle = report.css("--ink");
      pen.font = `600 12px ${family}`;
      pen.textAlign = "center";
      const name = lines(axis.column.name, room);
      const plain = (text, at, down) => pen.fillText(text, at, down);
      name.forEach((text, i) => fitted(text, x, 14 + 14 * i, room, 12, 600, plain));
      pen.fillStyle = report.css("--muted");
      pen.font = `11px ${family}`;
      if (axis.column.shown) pen.fillText(axis.column.shown, x, 15 + 14 * name.length);
      if (axis.words) axis.words.forEach((word, i) => fitted(word, x, height(axis.steps[i]) - 5, room, 11, 400, haloed));
      else {
        pen.fillText(axis.text(1), x, height(1) - 7);
        pen.fillText(axis.text(0), x, height(0) + 16);
      }
    });
  }
  function draw() {
    const box = root.clientWidth;
    width = report.printing() ? 672 : Math.max(box, 128 + 88 * (axes.length - 1));
    const sharp = report.printing() ? 2 : window.devicePixelRatio || 1;
    canvas.style.width = width + "px";
    canvas.style.height = HEIGHT + "px";
    canvas.width = width * sharp;
    canvas.height = HEIGHT * sharp;
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    const chosen = sweep.chosen();
    const rows = sweep.chosenRows();
    const others = [];
    for (let row = 0; row < sweep.count; row++) if (!chosen[row]) others.push(row);
    if (others.length) stroke(sweep.few(others, 0.3), 0.08, 1, "--faint");
    const common = rows.filter((row) => !sweep.front[row]);
    stroke(common, Math.min(0.7, Math.max(0.045, 90 / (common.length + 1))), 1);
    const best = rows.filter((row) => sweep.front[row]);
    stroke(best, Math.min(0.95, Math.max(0.25, 40 / (best.length + 1))), 1.8, "--front");
    if (lifted >= 0) stroke([lifted], 1, 3.5, "--ink");
    frame();
    place();
  }
  let waiting = false;
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  function place() {
    axes.forEach((axis, index) => {
      for (const end of ["low", "high"]) {
        const handle = axis[end + "Handle"];
        handle.style.left = left(index) + "px";
        handle.style.top = (end === "low" ? height(axis.low) : height(axis.high) - 14) + "px";
        handle.setAttribute("aria-valuenow", axis[end].toFixed(3));
        handle.setAttribute("aria-valuetext", axis.text(axis[end]));
      }
    });
  }
  function apply() {
    const active = axes.filter(brushed);
    const mask = new Array(sweep.count);
    for (let row = 0; row < sweep.count; row++) mask[row] = active.every((axis) => within(axis, axis.at(row)));
    clear.disabled = !active.length;
    sweep.table.allow(active.length ? mask : null);
  }
  let settle = 0;
  function soon() {
    later();
    clearTimeout(settle);
    settle = setTimeout(apply, 150);
  }
  function step(axis, end, direction) {
    const steps = axis.steps;
    let nearest = 0;
    steps.forEach((t, i) => { if (Math.abs(t - axis[end]) < Math.abs(steps[nearest] - axis[end])) nearest = i; });
    const next = steps[Math.min(steps.length - 1, Math.max(0, nearest + direction))];
    axis[end] = end === "low" ? Math.min(next, axis.high) : Math.max(next, axis.low);
    soon();
  }
  for (const axis of axes) {
    for (const end of ["low", "high"]) {
      const handle = document.createElement("button");
      handle.type = "button";
      handle.className = "handle";
      handle.style.height = "14px";
      handle.setAttribute("role", "slider");
      handle.setAttribute("aria-orientation", "vertical");
      handle.setAttribute("aria-valuemin", "0");
      handle.setAttribute("aria-valuemax", "1");
      handle.setAttribute("aria-label", `${axis.column.name}: ${end === "low" ? "at least" : "at most"}`);
      handle.addEventListener("keydown", (event) => {
        const direction = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
        if (direction) { event.preventDefault(); step(axis, end, direction); }
      });
      axis[end + "Handle"] = handle;
      root.append(handle);
    }
  }
  const clear = document.getElementById("parallel-clear");
  clear.addEventListener("click", () => { for (const axis of axes) [axis.low, axis.high] = [0, 1]; later(); apply(); });

  // Dragging along an axis chooses a range; a click without a drag lets go of it.
  let drag = null;
  const along = (event) => {
    const box = canvas.getBoundingClientRect();
    const t = 1 - (event.clientY - box.top - TOP) / (HEIGHT - TOP - BOTTOM);
    return { x: event.clientX - box.left, t: Math.min(1, Math.max(0, t)) };
  };
  root.addEventListener("pointerdown", (event) => {
    const { x, t } = along(event);
    const index = axes.findIndex((_, i) => Math.abs(left(i) - x) < 16);
    if (index < 0 || (event.pointerType === "touch" && !event.target.classList.contains("handle"))) return;
    const axis = axes[index];
    const end = axis.lowHandle === event.target ? "low" : axis.highHandle === event.target ? "high" : null;
    drag = { axis, from: end === "low" ? axis.high : end === "high" ? axis.low : t, moved: false };
    root.setPointerCapture(event.pointerId);
  });
  root.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const { t } = along(event);
    drag.moved = drag.moved || Math.abs(t - drag.from) > 0.01;
    if (!drag.moved) return;
    [drag.axis.low, drag.axis.high] = [Math.min(t, drag.from), Math.max(t, drag.from)];
    soon();
  });
  root.addEventListener("pointerup", () => {
    if (drag && !drag.moved) { [drag.axis.low, drag.axis.high] = [0, 1]; soon(); }
    drag = null;
  });

  const scatter = document.getElementById("scatter");
  const lift = (row) => { lifted = row; later(); };
  scatter.on("plotly_hover", (event) => lift(event.points[0].customdata));
  scatter.on("plotly_unhover", () => lift(-1));
  sweep.listeners.push(later);
  window.addEventListener("resize", later);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
  window.addEventListener("beforeprint", draw);
  window.addEventListener("afterprint", draw);
  draw();
})();
