// Latency, throughput and the statistics table: from the metrics if the service keeps them, else from
// the jobs of the timeline.

import { now } from "./api.js";
import { $, empty, h, redraw, s } from "./dom.js";
import { CAPABILITIES, clock, seconds } from "./format.js";
import { label, scale } from "./scale.js";

const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 20;
const MINUTES = 15;
const KINDS = ["asr", "tts", "llm"];

export function drawFigures(timeline, metrics) {
  const points = metrics ? fromMetrics(metrics) : fromJobs(timeline);
  drawLatency($("latency"), points);
  drawRate($("rate"), timeline.minutes);
  drawTable(metrics, points);
}

// { at, ms, capability, bad }, oldest first.
function fromMetrics({ categories }) {
  const points = Object.entries(categories).flatMap(([capability, each]) => each.recent.map((call) => ({
    at: call.ts, seconds: call.latency_ms / 1000, capability, kind: call.class,
  })));
  return points.sort((a, b) => a.at - b.at);
}

function fromJobs({ jobs, refused }) {
  const done = jobs.filter((job) => job.ended !== undefined && job.capability !== "models").map((job) => ({
    at: job.ended, seconds: job.ended - job.submitted, capability: job.capability,
    kind: job.outcome === "ok" ? "2xx" : job.outcome === "cancelled" ? "client-disconnect" : job.outcome === "failed" ? "5xx" : "503-busy",
  }));
  const away = refused.map((call) => ({ at: call.at, seconds: 0, capability: call.capability, kind: call.code === "slot_busy" ? "503-busy" : "5xx" }));
  return [...done, ...away].sort((a, b) => a.at - b.at);
}

const failed = (point) => point.kind === "5xx" || point.kind === "4xx";

function drawLatency(box, points) {
  const seen = points.filter((point) => point.kind !== "503-busy").slice(-100);
  if (!seen.length) {
    box.replaceChildren(empty("No requests yet.", "Each dot is a request: the time from its arrival to its last byte."));
    return;
  }
  const width = box.clientWidth;
  const right = width - 8;
  const values = seen.map((point) => Math.max(point.seconds, 0.001));
  const { marks, share } = scale(values);
  const y = (value) => 8 + (HEIGHT - BOTTOM - 8) * (1 - share(value));
  const x = (index) => LEFT + 6 + (index * (right - LEFT - 12)) / Math.max(seen.length - 1, 1);
  const parts = marks.flatMap((mark) => [
    s("line", { class: "grid-line", x1: LEFT, x2: right, y1: y(mark), y2: y(mark) }),
    s("text", { x: LEFT - 8, y: y(mark) + 4, "text-anchor": "end" }, label(mark)),
  ]);
  seen.forEach((point, index) => parts.push(s("circle", {
    class: failed(point) ? "cancelled" : `c-${point.capability}`, cx: seen.length === 1 ? (LEFT + right) / 2 : x(index), cy: y(point.seconds), r: 4,
  }, s("title", {}, `${CAPABILITIES[point.capability]} · ${seconds(point.seconds)} · ${clock(point.at)} · ${point.kind}`))));
  parts.push(s("text", { x: LEFT, y: HEIGHT - 4 }, clock(seen[0].at)), s("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" }, clock(seen.at(-1).at)));
  const sorted = [...values].sort((a, b) => a - b);
  const words = `Latency of the last ${seen.length} requests: from ${seconds(sorted[0])} to ${seconds(sorted.at(-1))}, median ${seconds(sorted[Math.floor((sorted.length - 1) / 2)])}.`;
  put(box, KINDS.filter((kind) => seen.some((point) => point.capability === kind)), s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": words }, parts));
}

function drawRate(box, minutes) {
  const begin = Math.ceil(now() / 60) - MINUTES;
  const counts = Array.from({ length: MINUTES }, () => ({ asr: 0, tts: 0, llm: 0, all: 0 }));
  for (const { at, asr, tts, llm } of minutes) {
    const place = Math.round(at / 60) - begin;
    if (place in counts) counts[place] = { asr, tts, llm, all: asr + tts + llm };
  }
  const most = Math.max(...counts.map((each) => each.all));
  if (!most) {
    box.replaceChildren(empty(`No requests in the last ${MINUTES} minutes.`, "Each bar is one minute, coloured by capability."));
    return;
  }
  const width = box.clientWidth;
  const right = width - 8;
  const top = most <= 4 ? most : Math.ceil(most / 2) * 2;
  const unit = (HEIGHT - BOTTOM - 8) / top;
  const pitch = (right - LEFT) / MINUTES;
  const parts = [0, top / 2, top].filter(Number.isInteger).flatMap((mark) => [
    s("line", { class: "grid-line", x1: LEFT, x2: right, y1: HEIGHT - BOTTOM - mark * unit, y2: HEIGHT - BOTTOM - mark * unit }),
    s("text", { x: LEFT - 8, y: HEIGHT - BOTTOM - mark * unit + 4, "text-anchor": "end" }, mark),
  ]);
  counts.forEach((each, index) => {
    let floor = HEIGHT - BOTTOM;
    for (const capability of KINDS) {
      const height = each[capability] * unit;
      if (!height) continue;
      floor -= height;
      parts.push(s("rect", { class: `c-${capability}`, x: LEFT + index * pitch + 2, y: floor, width: Math.max(pitch - 4, 2), height, rx: 2 },
        s("title", {}, `${each[capability]} × ${CAPABILITIES[capability]} · ${clock((begin + index) * 60).slice(0, 5)}`)));
    }
  });
  parts.push(s("text", { x: LEFT, y: HEIGHT - 4 }, clock(begin * 60).slice(0, 5)), s("text", { x: right, y: HEIGHT - 4, "text-anchor": "end" }, "now"));
  const all = counts.reduce((sum, each) => sum + each.all, 0);
  put(box, KINDS.filter((kind) => counts.some((each) => each[kind])), s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": `${all} requests in the last ${MINUTES} minutes, at most ${most} in one.` }, parts));
}

function put(box, there, picture) {
  const legend = h("ul", { class: "legend", "aria-hidden": "true" }, there.map((capability) => h("li", {}, h("span", { class: "keyed", data: { cap: capability } }, CAPABILITIES[capability]))));
  box.replaceChildren(picture, legend);
}

function drawTable(metrics, points) {
  const rows = metrics ? Object.entries(metrics.categories).map(fromCategory) : fromPoints(points);
  $("figures-window").textContent = metrics ? `of the last ${seconds(metrics.window_sec)}` : "of the jobs above";
  redraw($("figures"), rows, () => {
    if (!rows.length) return empty("No statistics yet.", "They start with the first request.");
    const head = ["", "Requests", "Errors", "Busy", "Disconnected", "p50", "p95", "p99", "Max", "Queue p95", "Per minute"];
    return h("table", {},
      h("thead", {}, h("tr", {}, head.map((name, index) => index ? h("th", { scope: "col", class: "num" }, name) : h("td")))),
      h("tbody", {}, rows.map(([capability, ...figures]) => h("tr", {},
        h("th", { scope: "row" }, h("span", { class: "keyed", data: { cap: capability } }, CAPABILITIES[capability])),
        figures.map((figure) => h("td", { class: "num" }, figure))))));
  });
}

const ms = (value) => (value === undefined || value === null ? "–" : seconds(value / 1000));

function fromCategory([capability, each]) {
  const { latency_ms: latency, slot_wait_ms: wait } = each;
  const errors = each.error_count ? `${each.error_count} (${(100 * each.error_rate).toFixed(1)} %)` : "0";
  return [capability, `${each.total}`, errors, `${each.slot_503}`, `${each.disconnected}`, ms(latency.p50), ms(latency.p95), ms(latency.p99), ms(latency.max), ms(wait.p95), each.throughput_per_min.toFixed(1)];
}

function fromPoints(points) {
  return KINDS.flatMap((capability) => {
    const mine = points.filter((point) => point.capability === capability);
    if (!mine.length) return [];
    const times = mine.filter((point) => point.kind !== "503-busy").map((point) => point.seconds).sort((a, b) => a - b);
    const rank = (share) => (times.length ? seconds(times[Math.max(Math.ceil(share * times.length) - 1, 0)]) : "–");
    const count = (kind) => `${mine.filter((point) => point.kind === kind).length}`;
    const minute = mine.filter((point) => point.at > now() - 60).length;
    return [[capability, `${mine.length}`, `${mine.filter(failed).length}`, count("503-busy"), count("client-disconnect"), rank(0.5), rank(0.95), rank(0.99), rank(1), "–", `${minute}`]];
  });
}
