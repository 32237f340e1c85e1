// The tail of the log, requested by line number, so that each line arrives once.

import { every, get } from "./api.js";
import { $, h } from "./dom.js";

const RANK = { debug: 0, info: 1, warning: 2, error: 3, critical: 3 };
const KEEP = 500;
const PLAIN = new Set(["timestamp", "level", "service", "message", "logger"]);
let newest = 0;
let visible = false;
const lines = [];

export function startLogs() {
  const look = every(1000, async () => {
    if (!visible) return;
    const tail = await get(`/admin/api/logs?n=${KEEP}&after=${newest}`);
    if (tail.newest < newest) { lines.length = 0; $("logs").replaceChildren(); }
    const fresh = tail.newest < newest ? (newest = 0, (await get(`/admin/api/logs?n=${KEEP}`)).lines) : tail.lines;
    newest = tail.newest;
    add(fresh);
  });
  document.addEventListener("view", ({ detail }) => { visible = detail === "logs"; if (visible) look(); });
  $("logs-level").addEventListener("change", filter);
  $("logs-find").addEventListener("input", filter);
  $("logs-wrap").addEventListener("change", ({ target }) => $("logs").classList.toggle("wrap", target.checked));
  $("logs").addEventListener("click", ({ target }) => target.closest(".logline")?.classList.toggle("open"));
}

function add(fresh) {
  if (!fresh.length) return;
  const box = $("logs");
  for (const line of fresh) {
    const element = row(line);
    lines.push({ line, element, text: JSON.stringify(line).toLowerCase() });
    element.hidden = !passes(lines.at(-1));
    box.append(element);
  }
  for (const { element } of lines.splice(0, Math.max(lines.length - KEEP, 0))) element.remove();
  showCount();
  if ($("logs-follow").checked) box.scrollTop = box.scrollHeight;
}

function row(line) {
  const rest = Object.entries(line).filter(([name]) => !PLAIN.has(name))
    .map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(" ");
  const at = line.timestamp ? new Date(line.timestamp).toLocaleTimeString([], { hour12: false }) : "";
  return h("div", { class: "logline", data: { level: line.level } },
    h("span", { class: "at" }, at), h("span", { class: "level" }, line.level),
    h("span", { class: "said" }, `${line.message} `, h("span", { class: "rest" }, rest)));
}

function passes({ line, text }) {
  const least = RANK[$("logs-level").value];
  const find = $("logs-find").value.trim().toLowerCase();
  return (RANK[line.level] ?? 1) >= least && (!find || text.includes(find));
}

function filter() {
  for (const each of lines) each.element.hidden = !passes(each);
  showCount();
  if ($("logs-follow").checked) $("logs").scrollTop = $("logs").scrollHeight;
}

function showCount() {
  const shown = lines.filter((each) => !each.element.hidden).length;
  $("logs-hint").textContent = shown === lines.length
    ? `${shown} lines. The server keeps the last ${KEEP} in memory.`
    : `${shown} of ${lines.length} lines match the filter.`;
}
