// The parity plot: predicted against measured time, coloured by operator or by bottleneck.
"use strict";
(() => {
  const { points } = report.data;
  const chosen = () => document.querySelector("input[name=colour]:checked").value;
  const byId = (codes) => {
    const rows = new Map();
    codes.forEach((code, row) => (rows.has(code) ? rows.get(code).push(row) : rows.set(code, [row])));
    return [...rows].sort((a, b) => a[0] - b[0]);
  };
  const pick = (values, rows) => rows.map((row) => values[row]);
  let [low, high] = [Infinity, 0];
  for (const time of points.measured.concat(points.predicted)) [low, high] = [Math.min(low, time), Math.max(high, time)];
  [low, high] = [low / 1.4, high * 1.4];
  const line = (factor, dash, name) => ({ type: "scatter", mode: "lines", x: [low, high], y: [low * factor, high * factor],
    hoverinfo: "skip", name, line: { color: "@faint", width: 1, dash } , showlegend: false });

  // Bottlenecks have the same colours on every page; operators have the most different ones.
  const tint = (code) => (chosen() === "bound" ? code % 9 : report.DISTINCT[code % 9]);

  function spec() {
    const by = points[chosen()];
    const traces = byId(by.codes).map(([code, rows]) => ({
      type: "scatter", mode: "markers", name: report.plain(by.names[code]), x: pick(points.measured, rows), y: pick(points.predicted, rows),
      text: rows.map((row) => `${report.plain(points.text[row])}<br>error ${report.percent(points.predicted[row] / points.measured[row] - 1)}` +
        `, bound by ${report.plain(points.bound.names[points.bound.codes[row]])}`),
      hovertemplate: "measured %{x:.4~g} µs<br>predicted %{y:.4~g} µs<br>%{text}<extra></extra>",
      marker: { size: 4.5, opacity: points.measured.length > 1500 ? 0.55 : 0.85, color: "@c" + tint(code),
        symbol: report.SYMBOLS[code % 9], line: { width: 0 } },
    }));
    const range = [Math.log10(low), Math.log10(high)];
    const ticks = { type: "log", range, dtick: 1, exponentformat: "none", separatethousands: true, minor: { showgrid: false } };
    return {
      data: [line(1, "solid", "equal"), line(1.25, "dot", "+25 %"), line(0.8, "dot", "−20 %"), ...traces],
      layout: { height: 600, xaxis: { ...ticks, title: { text: "measured time (µs)" } },
        yaxis: { ...ticks, title: { text: "predicted time (µs)" } } },
    };
  }
  const element = report.figure("parity", spec);
  const said = (point) => element.data[point.curveNumber].text[point.pointNumber].replace(/<br>/g, ", ");
  report.walk(element, said);
  for (const radio of document.querySelectorAll("input[name=colour]")) radio.addEventListener("change", () => report.render("parity"));
})();
