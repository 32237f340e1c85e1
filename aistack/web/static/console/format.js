// Numbers and words as people read them.

export const CAPABILITIES = { asr: "Speech to text", tts: "Text to speech", llm: "Language model", models: "Loads and swaps" };
export const PHASES = {
  waiting: "in line", evict: "making room", preparing: "loading", running: "running", streaming: "streaming", cancelled: "stopping",
};
export const OPS = {
  transcribe: "Transcription", speak: "Speech", chat: "Chat", generate: "Generation",
  swap: "Change of weights", load: "Load", unload: "Unload",
};

export function seconds(value) {
  if (value === undefined || value === null || !Number.isFinite(value)) return "–";
  const v = Math.max(value, 0);
  if (v < 0.0995) return `${Math.round(v * 1000)} ms`;
  if (v < 9.95) return `${v.toFixed(1)} s`;
  if (v < 60) return `${Math.round(v)} s`;
  if (v < 3600) return parts(Math.floor(v / 60), "min", Math.floor(v % 60), "s");
  if (v < 86400) return parts(Math.floor(v / 3600), "h", Math.floor((v % 3600) / 60), "min");
  return `${Math.floor(v / 86400)} d ${Math.floor((v % 86400) / 3600)} h`;
}

const parts = (whole, unit, rest, part) => (rest ? `${whole} ${unit} ${String(rest).padStart(2, "0")} ${part}` : `${whole} ${unit}`);

// For what is looked at while it counts: no tenths that flicker.
export const counting = (value) => (value < 60 ? `${Math.floor(Math.max(value, 0))} s` : seconds(value));

export function memory(mb) {
  if (mb === undefined || mb === null) return "–";
  if (mb < 1) return `${Math.round(mb * 1024)} kB`;
  return mb < 1000 ? `${Math.round(mb)} MB` : `${(mb / 1024).toFixed(1)} GB`;
}

export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });

export function position(value) {
  const whole = Math.max(value, 0);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;
