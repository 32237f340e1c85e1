// A conversation with any available chat model, streamed.

import { call, events } from "./api.js";
import { $, empty, h } from "./dom.js";

let turns = [];
let running = null;

export function startChat() {
  $("chat").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("chat-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  $("chat-stop").addEventListener("click", () => running?.abort());
  $("chat-clear").addEventListener("click", () => { running?.abort(); turns = []; welcome(); $("chat-text").focus(); });
  document.addEventListener("models", ({ detail }) => {
    const there = detail.some((each) => each.capabilities.includes("llm"));
    $("chat-go").disabled = !there || running !== null;
    say(there ? "" : "No chat model is available. Start Ollama and pull one (ollama pull qwen3:4b); it then appears here.");
  });
  welcome();
}

const welcome = () => $("talk").replaceChildren(empty("New conversation.", "Each message is sent to the selected model together with the conversation so far."));
const say = (words) => { if (!running) $("chat-note").textContent = words; };

function bubble(role, content) {
  const element = h("div", { class: "turn", data: { role } }, h("span", { class: "unseen" }, role === "user" ? "You: " : "Model: "), h("span", {}, content));
  $("talk").append(element);
  element.scrollIntoView({ block: "end" });
  return element;
}

async function send() {
  const content = $("chat-text").value.trim();
  if (!content || running || $("chat-go").disabled) return;
  if (!turns.length) $("talk").replaceChildren();
  turns.push({ role: "user", content });
  bubble("user", content);
  $("chat-text").value = "";
  running = new AbortController();
  $("chat-go").disabled = true;
  $("chat-stop").disabled = false;
  $("chat-note").textContent = "Waiting for the first word";
  let said = "";
  let answer = null;
  try {
    const response = await call("/v1/chat/completions", {
      method: "POST", signal: running.signal,
      headers: { "Content-Type": "application/json", Prefer: "wait=30" },
      body: JSON.stringify({ model: $("chat-model").value, messages: turns, stream: true }),
    });
    for await (const data of events(response)) {
      if (data === "[DONE]") break;
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      const piece = event.choices?.[0]?.delta?.content ?? "";
      if (!piece) continue;
      answer ??= bubble("assistant", "");
      $("chat-note").textContent = "";
      said += piece;
      answer.lastChild.textContent = said;
    }
    $("chat-note").textContent = "";
  } catch (error) {
    $("chat-note").textContent = error.name === "AbortError" ? "Stopped" : "";
    if (error.name !== "AbortError") bubble("assistant", error.message).classList.add("failed");
  }
  if (said) turns.push({ role: "assistant", content: said });
  running = null;
  $("chat-go").disabled = false;
  $("chat-stop").disabled = true;
}
