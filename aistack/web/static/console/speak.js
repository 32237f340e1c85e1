// Text in, sound out.

import { call } from "./api.js";
import { $ } from "./dom.js";
import { fileSize, seconds } from "./format.js";

let running = null;
let url = "";

export function startSpeak() {
  $("speak").addEventListener("submit", (event) => { event.preventDefault(); speak(); });
  $("speak-stop").addEventListener("click", () => running?.abort());
  document.addEventListener("models", ({ detail }) => {
    const there = detail.some((each) => each.capabilities.includes("tts"));
    $("speak-go").disabled = !there || running !== null;
    if (!running && !there) say("No voice is available. `aistack doctor` on the server shows how to install the embedded one; or start the Qwen3-TTS container.");
    else if (!running && $("speak-note").textContent.startsWith("No voice is available")) say("");
  });
}

function say(words, bad = false) {
  $("speak-note").textContent = words;
  $("speak-note").classList.toggle("bad", bad);
}

async function speak() {
  if (running || $("speak-go").disabled) return;
  running = new AbortController();
  $("speak-go").disabled = true;
  $("speak-stop").disabled = false;
  say("Waiting for the first audio");
  const begun = performance.now();
  try {
    const response = await call("/v1/audio/speech", {
      method: "POST", signal: running.signal,
      headers: { "Content-Type": "application/json", Prefer: "wait=30" },
      body: JSON.stringify({
        model: $("speak-model").value, input: $("speak-text").value, voice: $("speak-voice").value,
        response_format: $("speak-format").value, speed: Number($("speak-speed").value) || 1,
      }),
    });
    const first = performance.now() - begun;
    const sound = await response.blob();
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(sound);
    const player = $("speak-audio");
    player.src = url;
    player.hidden = false;
    player.play().catch(() => {}); // browsers may want a press of play first
    say(`First audio after ${seconds(first / 1000)}, complete after ${seconds((performance.now() - begun) / 1000)}, ${fileSize(sound.size)}.`);
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled");
    else say(error.message, true);
  }
  running = null;
  $("speak-go").disabled = false;
  $("speak-stop").disabled = true;
}
