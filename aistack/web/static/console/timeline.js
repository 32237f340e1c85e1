// The Gantt chart of recent jobs: a row per capability, with several lanes where jobs overlap.

import { now } from "./api.js";
import { $, empty, h, redraw, s } from "./dom.js";
import { CAPABILITIES, OPS, PHASES, clock, seconds } from "./format.js";

const SPANS = [["1 min", 60], ["5 min", 300], ["15 min", 900], ["1 h", 3600]];
const LANE = 16;
const GAP = 3;
const LEFT = 112;
const AXIS = 22;
const TICKS = [5, 10, 15, 30, 60, 120, 300, 600, 900];
const CHOICE = "aistack.span";
let span = SPANS.map(([, length]) => length).find((length) => length === Number(localStorage.getItem(CHOICE))) ?? 300;
let shown = new Map();

// As many jobs as the time shown may contain; the request of every second should stay small.
export const jobsWanted = () => (span > 300 ? 200 : 60);

export function startTimeline(again) {
  for (const [name, length] of SPANS) {
    const input = h("input", { type: "radio", name: "span", value: length, checked: length === span });
    input.addEventListener("change", () => { span = length; localStorage.setItem(CHOICE, length); again(); });
    $("spans").append(h("label", {}, input, name));
  }
  $("legend").append(...Object.entries(PHASES).map(([phase, words]) =>
    h("li", {}, h("i", { style: { "--tint": `var(--p-${phase})` } }), words)));
  const box = $("timeline");
  box.addEventListener("pointermove", (event) => tip(box, event));
  box.addEventListener("pointerleave", () => box.querySelector(".tip")?.remove());
}

export const phaseName = (phase) => (phase.phase === "preparing" && phase.step === "evict" ? "evict" : phase.phase);

export function drawTimeline({ jobs, refused }) {
  const end = now();
  const begin = end - span;
  const seen = jobs.filter((job) => job.phases.length && (job.ended ?? end) >= begin);
  const away = refused.filter((call) => call.at >= begin);
  const box = $("timeline");
  drawTable(jobs);
  shown = new Map(seen.map((job) => [job.job_id, job]));
  if (!seen.length && !away.length) {
    const name = SPANS.find(([, length]) => length === span)[0];
    box.replaceChildren(empty(`Nothing has run in the last ${name}.`, "Send a request, or try a file in the ", h("a", { href: "#playground" }, "playground"), "."));
    return;
  }
  const picture = draw(box.clientWidth, begin, end, seen, away);
  const old = box.querySelector("svg");
  if (old) old.replaceWith(picture);
  else box.replaceChildren(picture);
}

// Generation counts as `llm`, and has a row of its own where it is used.
const rowOf = ({ op, capability }) => (op === "generate" ? op : capability);

function draw(width, begin, end, jobs, refused) {
  const right = width - 6;
  const x = (unix) => LEFT + ((Math.min(Math.max(unix, begin), end) - begin) / span) * (right - LEFT);
  const parts = [];
  let y = 4;
  for (const [row, name] of Object.entries(CAPABILITIES)) {
    const mine = jobs.filter((job) => rowOf(job) === row);
    const turned = refused.filter((call) => rowOf(call) === row);
    if (row === "generate" && !mine.length && !turned.length) continue;
    const lanes = pack(mine, x, end);
    const height = Math.max(lanes.length, 1) * (LANE + GAP) - GAP;
    parts.push(s("rect", { class: "lane", x: LEFT, y, width: right - LEFT, height, rx: 4 }));
    parts.push(s("text", { class: "label", x: 0, y: y + LANE - 4 }, name));
    lanes.forEach((lane, index) => lane.forEach((job) => parts.push(bar(job, x, y + index * (LANE + GAP), end, begin))));
    turned.forEach((call) => parts.push(s("line", { class: "refused", x1: x(call.at), x2: x(call.at), y1: y, y2: y + height },
      s("title", {}, `${OPS[call.op]} refused at ${clock(call.at)}: ${call.code ?? ""}`))));
    y += height + 10;
  }
  const step = TICKS.find((each) => span / each <= Math.max(width / 90, 3)) ?? 900;
  for (let at = Math.ceil(begin / step) * step; at <= end; at += step) {
    if (x(at) > right - 52) continue;
    parts.unshift(s("line", { class: "grid-line", x1: x(at), x2: x(at), y1: 0, y2: y }));
    const words = step < 60 ? clock(at) : clock(at).slice(0, 5);
    parts.push(s("text", { x: x(at), y: y + 12, "text-anchor": "middle" }, words));
  }
  parts.push(s("line", { class: "now", x1: right, x2: right, y1: 0, y2: y }), s("text", { x: right, y: y + 12, "text-anchor": "end" }, "now"));
  const words = `${jobs.length} jobs and ${refused.length} refused calls. The table below has their times.`;
  return s("svg", { viewBox: `0 0 ${width} ${y + AXIS}`, height: y + AXIS, role: "img", "aria-label": `Timeline: ${words}` }, parts);
}

// Jobs in as few lanes as possible without overlaps; a job too short to see is drawn 3 wide.
function pack(jobs, x, end) {
  const lanes = [];
  for (const job of [...jobs].sort((a, b) => a.phases[0].start - b.phases[0].start)) {
    const lane = lanes.find((each) => Math.max(x(each.at(-1).ended ?? end), x(each.at(-1).phases[0].start) + 3) <= x(job.phases[0].start));
    if (lane) lane.push(job);
    else lanes.push([job]);
  }
  return lanes;
}

function bar(job, x, y, end, begin) {
  const phases = job.phases.filter((phase) => (phase.end ?? end) >= begin);
  const group = s("g", { class: "job", data: { job: job.job_id } });
  let from = x(phases[0]?.start ?? begin);
  const start = from;
  phases.forEach((phase, index) => {
    const least = index === phases.length - 1 && from === start ? 3 : 0.75;
    const to = Math.max(x(phase.end ?? end), from + least);
    group.append(s("rect", { class: phaseName(phase), x: from, y, width: to - from, height: LANE, rx: phases.length === 1 ? 2 : 0 }));
    from = to;
  });
  if (job.outcome === "failed") group.append(s("rect", { class: "failed", x: start, y: y + 1, width: Math.max(from - start, 3), height: LANE - 2 }));
  return group;
}

function tip(box, event) {
  const job = shown.get(event.target.closest?.(".job")?.dataset.job);
  const old = box.querySelector(".tip");
  if (!job) { old?.remove(); return; }
  const element = old ?? h("div", { class: "tip" });
  element.textContent = story(job);
  if (!old) box.append(element);
  const area = box.getBoundingClientRect();
  const left = Math.min(event.clientX - area.left + 12, area.width - element.offsetWidth);
  element.style.left = `${Math.max(left, 0)}px`;
  element.style.top = `${event.clientY - area.top + 16}px`;
}

function story(job) {
  const end = now();
  const lines = [`${OPS[job.op]} · ${job.model}`, `${clock(job.submitted)} · ${job.outcome ?? "running"}${job.code && job.code !== job.outcome ? ` · ${job.code}` : ""}`];
  for (const phase of job.phases) lines.push(`${PHASES[phaseName(phase)]} ${seconds((phase.end ?? end) - phase.start)}`);
  return lines.join("\n");
}

// --- the same as a table -----------------------------------------------------------------------------

const spent = (job, ...names) => job.phases.filter((phase) => names.includes(phaseName(phase)))
  .reduce((sum, phase) => sum + ((phase.end ?? now()) - phase.start), 0);

function drawTable(jobs) {
  const last = jobs.slice(-30).reverse();
  redraw($("jobs"), last.map((job) => [job.job_id, job.ended, job.phases.length]), () => {
    if (!last.length) return empty("No jobs yet.");
    const head = ["Submitted", "Job", "Model", "Outcome", "Queued", "Unloading", "Loading", "Running", "Total", "Audio"];
    return h("table", {},
      h("thead", {}, h("tr", {}, head.map((name, index) => h("th", { scope: "col", class: index > 3 ? "num" : "" }, name)))),
      h("tbody", {}, last.map((job) => {
        const times = [spent(job, "waiting"), spent(job, "evict"), spent(job, "preparing"), spent(job, "running", "streaming", "cancelled"), (job.ended ?? now()) - job.submitted];
        return h("tr", {},
          h("td", { class: "mono" }, clock(job.submitted)),
          h("td", {}, h("span", { class: "keyed", data: { cap: job.capability } }, OPS[job.op])),
          h("td", { class: "mono" }, job.model),
          h("td", {}, outcome(job)),
          times.map((time) => h("td", { class: "num" }, time ? seconds(time) : "–")),
          h("td", { class: "num" }, seconds(job.audio_s)));
      })));
  });
}

export function outcome(job) {
  const tone = { ok: "good", failed: "bad", rejected: "warn", revoked: "warn" }[job.outcome];
  const words = job.code && job.code !== job.outcome ? `${job.outcome} · ${job.code}` : (job.outcome ?? "running");
  return h("span", { class: "badge", data: { tone: job.outcome ? tone ?? "" : "accent" } }, words);
}
