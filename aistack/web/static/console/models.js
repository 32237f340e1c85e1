// The models: capabilities, where their files are, and the buttons that load and unload them.

import { every, get, post } from "./api.js";
import { $, empty, h, redraw } from "./dom.js";
import { CAPABILITIES } from "./format.js";

let known = [];
let refresh = () => {};
let watched = false;

export function startModels(look) {
  refresh = every(5000, async () => {
    // Each request for the models queries Ollama and the speech container: only while they are shown.
    if (known.length && !watched) return;
    known = (await get("/admin/api/models")).models;
    draw();
    document.dispatchEvent(new CustomEvent("models", { detail: known }));
  });
  document.addEventListener("view", ({ detail }) => {
    watched = ["models", "playground"].includes(detail);
    if (watched) refresh();
  });
  let before = "";
  document.addEventListener("state", ({ detail: { slots } }) => {
    const here = JSON.stringify(slots.map((slot) => [slot.resident, slot.holder?.job_id]));
    if (before && here !== before) refresh();
    before = here;
    busy = slots.every((slot) => slot.holder);
    draw();
  });
  $("reset").addEventListener("click", () => act(async () => {
    const { evicted } = await post("/admin/api/reset-asr-state");
    return evicted ? `${evicted} unloaded.` : "Nothing to unload: no speech-to-text model is idle in memory.";
  }, look));
  $("models").addEventListener("click", ({ target }) => {
    const { act: what, model } = target.closest("button")?.dataset ?? {};
    if (!what) return;
    act(async () => {
      const { status } = await post(`/admin/api/models/${what}`, { model });
      if (status === "ok") return what === "load" ? `${model} is already in memory.` : `${model} is not in memory.`;
      return what === "load" ? `Loading ${model}. The overview shows the progress.` : `Unloading ${model}.`;
    }, look);
  });
}

let busy = false;

async function act(work, look) {
  const note = $("models-note");
  note.classList.remove("bad");
  try {
    note.textContent = await work();
  } catch (error) {
    note.textContent = error.message;
    note.classList.add("bad");
  }
  look();
  refresh();
}

function draw() {
  redraw($("models"), [known, busy], () => {
    if (!known.length) return empty("No models yet.", "Install an engine, or start Ollama; ", h("code", {}, "aistack doctor"), " shows what is missing.");
    const head = ["Model", "Capability", "Languages", "Streaming", "Files", "Memory", ""];
    return h("table", {},
      h("thead", {}, h("tr", {}, head.map((name) => (name ? h("th", { scope: "col" }, name) : h("td"))))),
      h("tbody", {}, known.map(row)));
  });
}

function row(model) {
  const weights = model.is_routing_alias ? "chosen per request" : model.on_disk === undefined ? "on another server" : model.on_disk ? "on disk" : "downloaded when first used";
  const what = model.loaded ? "unload" : "load";
  return h("tr", {},
    h("td", {}, h("span", { class: "id" }, model.id), " ", h("span", { class: "hint" }, model.owned_by)),
    h("td", {}, h("span", { class: "chips" }, model.capabilities.map((each) => h("span", { class: "keyed", data: { cap: each } }, CAPABILITIES[each])))),
    h("td", {}, languages(model.languages)),
    h("td", {}, model.supports_streaming ? "yes" : "no"),
    h("td", {}, weights),
    h("td", {}, model.loaded ? h("span", { class: "badge", data: { tone: "good" } }, "loaded") : model.loadable ? h("span", { class: "badge" }, "not loaded") : "–"),
    h("td", { class: "num" }, model.loadable && h("button", {
      type: "button", class: "button small", data: { act: what, model: model.id }, "aria-label": `${what === "load" ? "Load" : "Unload"} ${model.id}`,
      disabled: busy, title: busy ? "Every slot is in use" : undefined,
    }, what === "load" ? "Load" : "Unload")));
}

function languages(codes) {
  if (!codes?.length) return "–";
  if (codes.length <= 6) return codes.join(" ");
  return h("details", { class: "langs" }, h("summary", {}, `${codes.length} languages`), h("p", {}, codes.join(" ")));
}
