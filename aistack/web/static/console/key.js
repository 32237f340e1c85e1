// The dialog that asks for a key; calls that need it while it is open share its answer.

import { $ } from "./dom.js";

let asking = null;

export function askKey(note) {
  asking ??= new Promise((resolve) => {
    const dialog = $("key");
    const field = $("key-text");
    $("key-note").textContent = note;
    field.value = "";
    dialog.oncancel = (event) => event.preventDefault();
    dialog.onclose = () => {
      asking = null;
      resolve(field.value.trim());
    };
    dialog.showModal();
  });
  return asking;
}
