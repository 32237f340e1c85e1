// The job of each slot with its progress, and the queue.

import { now } from "./api.js";
import { $, empty, h } from "./dom.js";
import { OPS, PHASES, counting, percent, seconds } from "./format.js";

const TONES = { preparing: "warn", running: "accent", streaming: "good", cancelled: "bad" };

export function drawSlots({ slots }) {
  $("slots").replaceChildren(...slots.map(slotCard));
}

function slotCard(slot) {
  const { holder, resident } = slot;
  const idle = h("span", { class: "badge" }, "idle");
  const head = h("p", { class: "slot-head" },
    holder ? h("span", { class: "badge", data: { tone: TONES[slot.state] } }, phase(slot)) : idle,
    h("span", { class: "device" }, slot.device),
    h("span", { class: "since" }, `for ${counting(now() - slot.since)}`));
  if (!holder) {
    return h("div", { class: "slot", data: { state: "idle" } }, head,
      h("p", { class: "slot-what" }, resident ? resident.model : "No model in memory"),
      h("p", { class: "slot-note" }, resident
        ? "In memory: the next request for it starts at once."
        : "The first request loads its model. You can load one in advance under Models."));
  }
  return h("div", { class: "slot", data: { state: slot.state } }, head,
    h("p", { class: "slot-what" }, OPS[holder.op], " ", h("small", {}, holder.model)),
    progress(holder),
    h("p", { class: "slot-note" }, `Request ${holder.request_id}`, resident ? ` · in memory: ${resident.model}` : ""));
}

function phase({ state, holder }) {
  return state === "preparing" ? PHASES[holder.step === "evict" ? "evict" : "preparing"] : PHASES[state];
}

function progress({ progress: work, model }) {
  if (!work) return null;
  if (work.share === undefined) return h("p", { class: "slot-note" }, `${Math.round(work.done)} ${work.unit}`);
  const bar = h("div", {
    class: "bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.round(work.share * 100), "aria-label": `Progress of ${model}`,
  }, h("i", { style: { width: `${work.share * 100}%` } }));
  const left = work.eta_s === undefined ? "" : ` · about ${seconds(work.eta_s)} left`;
  const of = work.unit === "s" ? ` · ${seconds(work.done)} of ${seconds(work.total)} of audio` : "";
  return h("div", {}, bar, h("p", { class: "slot-note" }, percent(work.share) + of + left));
}

export function drawLine({ line: { line, places } }) {
  $("line-count").textContent = line.length || "";
  const list = $("line");
  if (!line.length) {
    list.replaceChildren(empty("The queue is empty.", "While the slot is in use, other requests get 503 at once, unless they send ", h("code", {}, "Prefer: wait=30"), "."));
    return;
  }
  list.replaceChildren(
    h("ol", { class: "queue" }, line.map((job, index) => h("li", {},
      h("span", { class: "place" }, `${index + 1}`),
      h("span", { class: "what keyed", data: { cap: job.capability }, title: `${job.model} · request ${job.request_id}` }, `${OPS[job.op]} · ${job.model}`),
      h("span", { class: "time" }, job.patience_s ? `${counting(now() - job.since)} of ${seconds(job.patience_s)}` : counting(now() - job.since))))),
    h("p", { class: "hint" }, `${line.length} of ${places} places in use`));
}
