// Uploads a file or a recording and streams its transcript; closing the connection cancels.

import { call, events } from "./api.js";
import { $, empty, h } from "./dom.js";
import { fileSize, position, seconds } from "./format.js";
import { startRecorder } from "./recorder.js";
import { Wave } from "./waveform.js";

let file = null;
let running = null;
let text = "";
let wave = null;

export function startTranscribe() {
  wave = new Wave($("wave"), $("hear-audio"), spoken);
  const drop = $("drop");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  // A file that misses the field must not replace the page.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  $("file").addEventListener("change", ({ target }) => target.files.length && take(target.files[0]));
  startRecorder($("record"), $("record-hint"), take);
  $("hear").addEventListener("submit", (event) => { event.preventDefault(); hear(); });
  $("hear").addEventListener("input", curl);
  $("hear-stop").addEventListener("click", () => running?.abort());
  $("hear-copy").addEventListener("click", copy);
  $("heard").addEventListener("click", ({ target }) => target.dataset.start && wave.seek(Number(target.dataset.start)));
  clear();
  curl();
}

function take(chosen) {
  file = chosen;
  $("chosen").textContent = `${file.name} · ${fileSize(file.size)}`;
  $("hear-go").disabled = running !== null;
  clear();
  curl();
  $("wave-box").hidden = false;
  wave.show(file);
}

function clear() {
  text = "";
  $("hear-copy").disabled = true;
  $("heard").replaceChildren(empty("No transcript yet.", file ? "Press Transcribe." : "Choose a file or make a recording. The words appear here as they are recognised."));
  wave.clear();
}

function fields() {
  return Object.entries({
    model: $("hear-model").value || "auto",
    language: $("hear-language").value.trim(),
    translate: $("hear-translate").checked ? "true" : "",
    stream: "true",
  }).filter(([, value]) => value);
}

function curl() {
  const wait = $("hear-wait").value;
  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  $("hear-curl").textContent = [
    `curl -N ${location.origin}/v1/audio/transcriptions`,
    ...(wait === "0" ? [] : [`  -H 'Prefer: wait=${wait}'`]),
    `  -F file=@${quoted(file?.name ?? "audio.wav")}`,
    ...fields().map(([name, value]) => `  -F ${name}=${quoted(value)}`),
  ].join(" \\\n");
}

function say(words, bad = false) {
  $("hear-note").textContent = words;
  $("hear-note").classList.toggle("bad", bad);
}

async function hear() {
  if (file === null || running !== null) return;
  running = new AbortController();
  $("hear-go").disabled = true;
  $("hear-stop").disabled = false;
  clear();
  say("Waiting for the server");
  const body = new FormData();
  for (const [name, value] of fields()) body.append(name, value);
  body.append("file", file, file.name);
  const wait = $("hear-wait").value;
  const begun = performance.now();
  try {
    const response = await call("/v1/audio/transcriptions", {
      method: "POST", body, signal: running.signal, headers: wait === "0" ? {} : { Prefer: `wait=${wait}` },
    });
    await read(response, begun);
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled");
    else say(error instanceof TypeError ? "The connection was lost." : error.message, true);
  }
  running = null;
  $("hear-go").disabled = false;
  $("hear-stop").disabled = true;
}

async function read(response, begun) {
  const model = decodeURIComponent(response.headers.get("X-Aistack-Model") ?? "");
  let first = null;
  let complete = false;
  say("Transcribing");
  for await (const data of events(response)) {
    if (data === "[DONE]") continue;
    const event = JSON.parse(data);
    if (event.type === "transcript.text.delta") {
      first ??= performance.now() - begun;
      add(event);
    } else if (event.type === "transcript.text.done") {
      complete = true;
      done(event, model, first, performance.now() - begun);
    } else if (event.type === "warning") {
      $("heard").prepend(h("p", { class: "hint" }, event.message));
    } else if (event.type === "error") {
      throw new Error(event.message);
    }
  }
  if (!complete) throw new Error("The stream ended before the transcript was complete.");
}

function add({ delta, segment }) {
  const box = $("heard");
  if (!text) box.replaceChildren(...box.querySelectorAll(".hint"));
  text += delta;
  const words = segment.words?.length
    ? segment.words.flatMap((word) => [h("span", { class: "word", data: { start: word.start, end: word.end }, title: `${word.start.toFixed(2)} – ${word.end.toFixed(2)} s` }, word.word), " "])
    : [h("span", { class: "word", data: { start: segment.start, end: segment.end } }, segment.text)];
  const near = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  box.append(h("p", { class: "segment" }, h("time", {}, position(segment.start)), h("span", {}, words)));
  if (near) box.scrollTop = box.scrollHeight;
  wave.add(segment);
}

function done(event, model, first, took) {
  const box = $("heard");
  if (!text) box.replaceChildren(empty("No speech was found.", "The whole recording was processed, and it contains no speech."));
  text = event.text;
  $("hear-copy").disabled = !text;
  const facts = [
    ["Model", model], ["Language", event.language], ["Audio", seconds(event.duration)],
    ["First words", first === null ? "–" : seconds(first / 1000)], ["Total", seconds(took / 1000)],
    ["Speed", event.duration ? `${(event.duration / (took / 1000)).toFixed(1)} × real time` : "–"],
  ];
  box.append(h("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
  say("Done");
}

async function copy() {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser did not allow copying.", true);
  }
}

function spoken(at) {
  for (const word of $("heard").querySelectorAll(".word")) {
    word.classList.toggle("spoken", at !== null && at >= Number(word.dataset.start) && at < Number(word.dataset.end));
  }
}
