// The observability switches. They apply until the service restarts.

import { get, post } from "./api.js";
import { $, empty, h } from "./dom.js";
import { clock, fileSize } from "./format.js";

const SWITCHES = [
  ["metrics", "Metrics", "Counts and latencies of every request, for the statistics here and for /metrics."],
  ["access_log", "Access log", "One JSON line per request, one file per day."],
  ["payload", "Payload capture", "Saves requests and responses as files, to investigate a problem. They contain what users said."],
];
let there = false;

export function startSettings() {
  document.addEventListener("state", ({ detail: { parts } }) => {
    if (there === parts.includes("observability") && $("observability").childElementCount) return;
    there = parts.includes("observability");
    show();
  });
  document.addEventListener("view", ({ detail }) => detail === "settings" && show());
}

async function show() {
  const box = $("observability");
  if (!there) {
    box.replaceChildren(empty("Nothing to switch.", "This service runs without metrics, access log and payload capture. The log is under Logs."));
    return;
  }
  try {
    draw(box, await get("/admin/api/observability"));
  } catch (error) {
    say(error.message, true);
  }
}

function draw(box, state) {
  box.replaceChildren(
    h("div", { class: "switches" }, SWITCHES.map(([key, name, words]) => h("div", { class: "switch" },
      h("label", { for: `switch-${key}` }, h("strong", {}, name), h("p", {}, words)),
      h("input", { type: "checkbox", role: "switch", id: `switch-${key}`, checked: state[key], onchange: (event) => toggle(key, event.target.checked) })))),
    usage(state));
}

function usage({ payload_usage: used, log_dir: folder }) {
  const rows = [];
  if (folder) rows.push(h("p", {}, "The access log is in ", h("code", {}, folder), "."));
  if (used) {
    const since = used.earliest ? `, the oldest from ${when(used.earliest)}` : "";
    rows.push(h("p", {}, `${used.count === 1 ? "1 capture" : `${used.count} captures`}, ${fileSize(used.bytes)} of ${fileSize(used.cap_bytes)}${since}; kept for at most ${used.max_age_days} days.`));
    rows.push(h("p", { class: "actions" }, h("button", { type: "button", class: "button small", disabled: !used.count, onclick: clear }, "Delete all captures")));
  }
  rows.push(h("p", { class: "hint" }, "Switches apply until the service restarts; the configuration sets their initial state."));
  return h("div", { class: "usage" }, rows);
}

const when = (value) => (typeof value === "number" ? `${new Date(value * 1000).toLocaleDateString()} ${clock(value)}` : value);

async function toggle(key, value) {
  await act(() => post("/admin/api/observability/toggle", { key, value: value ? "on" : "off" }), `${SWITCHES.find(([each]) => each === key)[1]} is ${value ? "on" : "off"}.`);
  $(`switch-${key}`)?.focus();
}

const clear = () => act(() => post("/admin/api/observability/clear-payload"), "All captures are deleted.");

async function act(work, words) {
  try {
    await work();
    say(words, false);
  } catch (error) {
    say(error.message, true);
  }
  await show();
}

function say(words, bad) {
  $("settings-note").textContent = words;
  $("settings-note").classList.toggle("bad", bad);
}
