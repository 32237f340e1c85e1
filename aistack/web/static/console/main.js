// The frame: which view is shown, the request for the state every second, and who draws it.

import { every, get, now } from "./api.js";
import { $ } from "./dom.js";
import { OPS, counting, seconds } from "./format.js";
import { drawFigures } from "./charts.js";
import { startLogs } from "./logs.js";
import { drawMemory } from "./memory.js";
import { startModels } from "./models.js";
import { startPlayground } from "./playground.js";
import { startSettings } from "./settings.js";
import { drawLine, drawSlots } from "./slots.js";
import { drawTimeline, jobsWanted, startTimeline } from "./timeline.js";

const VIEWS = ["overview", "playground", "models", "logs", "settings"];
const page = { view: "overview", state: null, metrics: null };

function route() {
  const asked = location.hash.slice(1);
  page.view = VIEWS.includes(asked) ? asked : "overview";
  for (const name of VIEWS) $(`view-${name}`).hidden = name !== page.view;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.hash === `#${page.view}`) {
      link.setAttribute("aria-current", "page");
      document.title = page.view === "overview" ? "aistack admin" : `${link.textContent} · aistack admin`;
    } else link.removeAttribute("aria-current");
  }
  document.dispatchEvent(new CustomEvent("view", { detail: page.view }));
  draw();
}

function draw() {
  if (page.state === null) return;
  drawHealth(page.state);
  if (page.view !== "overview") return;
  drawSlots(page.state);
  drawLine(page.state);
  drawMemory(page.state);
  drawTimeline(page.state.timeline);
  drawFigures(page.state.timeline, page.metrics);
}

let announced = null;
function drawHealth(state) {
  const held = state.slots.filter((slot) => slot.holder);
  const first = held[0];
  const dot = document.querySelector("#health .dot");
  dot.dataset.state = state.mode === "draining" ? "cancelled" : (first?.state ?? "idle");
  const more = held.length > 1 ? ` +${held.length - 1}` : "";
  const what = first ? `${OPS[first.holder.op]}${more}` : "Idle";
  $("health-text").textContent = state.mode === "draining" ? "Shutting down" : first ? `${what} · ${counting(now() - first.since)}` : what;
  $("foot").textContent = `aistack ${state.version} · up ${seconds(Math.max(now() - state.started, 1))}`;
  const news = first ? `${what}: ${first.holder.model}` : what;
  if (announced !== null && news !== announced) $("announcer").textContent = news;
  announced = news;
}

function lost() {
  $("banner").textContent = "The server does not answer. Retrying.";
  $("banner").hidden = false;
  document.querySelector("#health .dot").dataset.state = "lost";
  $("health-text").textContent = "No connection";
}

const look = every(1000, async () => {
  page.state = await get(`/admin/api/state?n=${jobsWanted()}`);
  $("banner").hidden = true;
  document.dispatchEvent(new CustomEvent("state", { detail: page.state }));
  draw();
}, lost);

every(5000, async () => {
  if (page.view !== "overview" || !page.state?.parts.includes("metrics")) return;
  page.metrics = await get("/admin/api/metrics");
  draw();
});

startTimeline(() => { draw(); look(); });
startModels(look);
startPlayground();
startLogs();
startSettings();
addEventListener("hashchange", () => { route(); $("main").focus({ preventScroll: true }); });
addEventListener("resize", draw);
route();
