// The playground: a tab per capability.

import { startChat } from "./chat.js";
import { $, options } from "./dom.js";
import { startSpeak } from "./speak.js";
import { startTranscribe } from "./transcribe.js";

export function startPlayground() {
  const tabs = [...document.querySelectorAll("#view-playground [role=tab]")];
  const choose = (tab, focus) => {
    for (const each of tabs) {
      const chosen = each === tab;
      each.setAttribute("aria-selected", chosen);
      each.tabIndex = chosen ? 0 : -1;
      $(each.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) choose(tabs.at((index + step) % tabs.length), true);
    });
  });
  const models = { asr: $("hear-model"), llm: $("chat-model"), tts: $("speak-model") };
  document.addEventListener("models", ({ detail }) => {
    for (const [capability, select] of Object.entries(models)) {
      options(select, detail.filter((each) => each.capabilities.includes(capability)).map((each) => each.id), "auto");
    }
  });
  startTranscribe();
  startChat();
  startSpeak();
}
