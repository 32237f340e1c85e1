// Models in memory and what they use: GPUs if there are any, aistack's processes everywhere.

import { now } from "./api.js";
import { $, h } from "./dom.js";
import { memory, seconds } from "./format.js";

export function drawMemory({ memory: usage, slots, idle_unload_s: limit }) {
  const rows = [];
  for (const card of usage.cards) {
    const ours = card.ours_mb ?? 0;
    rows.push(
      pair(h("span", {}, card.name, " ", h("code", {}, card.device)), `${memory(card.used_mb)} of ${memory(card.total_mb)}`),
      h("div", { class: "bar", data: { part: "card" }, role: "meter", "aria-label": `Memory of ${card.device}`, "aria-valuemin": 0, "aria-valuemax": card.total_mb, "aria-valuenow": card.used_mb },
        h("i", { style: { width: `${(100 * ours) / card.total_mb}%` } }),
        h("i", { style: { width: `${(100 * Math.max(card.used_mb - ours, 0)) / card.total_mb}%` } })),
      h("p", { class: "hint" }, card.ours_mb === undefined ? `${memory(card.free_mb)} free` : `${memory(ours)} by aistack · ${memory(card.used_mb - ours)} by others · ${memory(card.free_mb)} free`));
  }
  const held = slots.filter((slot) => slot.resident);
  for (const { resident, holder, since } of held) {
    const idle = holder ? "in use" : stays(now() - since, limit);
    rows.push(pair(h("span", { class: "keyed", data: { cap: resident.category } }, resident.model), idle));
  }
  if (!held.length) rows.push(pair("No model in memory", ""));
  rows.push(h("hr"));
  for (const each of usage.processes) {
    const name = each.engine === "gateway" ? "Gateway" : `Engine ${each.engine}${each.device ? "" : " (warm spare)"}`;
    rows.push(pair(h("span", {}, name, " ", h("span", { class: "hint" }, `pid ${each.pid}`)), memory(each.rss_mb)));
  }
  if (usage.reason) rows.push(h("p", { class: "hint" }, usage.reason));
  $("memory").replaceChildren(h("div", { class: "mem" }, rows));
}

const pair = (left, right) => h("p", { class: "pair" }, h("span", {}, left), h("span", {}, right));

function stays(idle, limit) {
  if (!limit) return "idle, stays loaded";
  return idle >= limit ? "idle, unloads now" : `idle, unloads in ${seconds(Math.ceil(limit - idle))}`;
}
