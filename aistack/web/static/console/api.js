// All calls to the server: the key, the envelope's errors, the server's clock, time limits.

import { askKey } from "./key.js";

const KEY = "aistack.key";
const BOUND_MS = 15000;

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `The server returned status ${status}.`);
    this.status = status;
    this.code = error?.code;
    this.holder = error?.holder;
  }
}

// The Date header is truncated to seconds, so the true offset is the largest one seen.
let offset = -Infinity;
export const now = () => (Date.now() + (Number.isFinite(offset) ? offset : 0)) / 1000;

function learn(response) {
  const served = Date.parse(response.headers.get("Date") ?? "");
  if (Number.isFinite(served)) offset = Math.max(offset, served - Date.now());
}

// A response with a good status; asks the user for the key if the server requires it. Throws Refused,
// TypeError (no connection), and AbortError when `signal` is aborted.
export async function call(path, { headers, ...more } = {}) {
  for (;;) {
    const sent = sessionStorage.getItem(KEY);
    const response = await fetch(path, {
      ...more,
      headers: { ...headers, ...(sent ? { Authorization: `Bearer ${sent}` } : {}) },
    });
    if (response.ok) {
      learn(response);
      return response;
    }
    const error = await response.json().then((body) => body.error, () => undefined);
    if (response.status !== 401) throw new Refused(response.status, error);
    if (sessionStorage.getItem(KEY) === sent) {
      sessionStorage.setItem(KEY, await askKey(sent ? "That key was not accepted." : ""));
    }
  }
}

export async function get(path) {
  const response = await call(path, { cache: "no-cache", signal: AbortSignal.timeout(BOUND_MS) });
  return response.json();
}

export async function post(path, body) {
  const response = await call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  return response.json();
}

// Call `look` repeatedly; less often while the page is hidden or the server does not answer.
export function every(milliseconds, look, failed = () => {}) {
  let away = 0;
  let timer = 0;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    if (busy) return;
    busy = true;
    try {
      await look();
      away = 0;
    } catch (error) {
      away += 1;
      failed(error);
    }
    busy = false;
    const pause = Math.min(milliseconds * 2 ** Math.min(away, 3), Math.max(milliseconds, 8000));
    timer = setTimeout(turn, document.hidden ? Math.max(pause, 10000) : pause);
  };
  document.addEventListener("visibilitychange", () => document.hidden || turn());
  turn();
  return turn;
}

// The data of each server-sent event of a response, as text.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (data.length) yield data.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
    }
  }
}
