// Numbers and words as people read them.

// One vocabulary: the same words in headings, legends, cards and tables.
export const CAPABILITIES = { asr: "Speech to text", tts: "Text to speech", llm: "Chat", generate: "Generation", models: "Model changes" };
export const PHASES = {
  waiting: "queued", evict: "unloading", preparing: "loading", running: "running", streaming: "streaming", cancelled: "stopping",
};
export const OPS = {
  transcribe: CAPABILITIES.asr, speak: CAPABILITIES.tts, chat: CAPABILITIES.llm, generate: CAPABILITIES.generate,
  swap: "Swap", load: "Load", unload: "Unload",
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

// For times that are counting: no flickering tenths.
export const counting = (value) => (value < 60 ? `${Math.floor(Math.max(value, 0))} s` : seconds(value));

// Memory is counted in powers of two, files in powers of ten, as in the commands.
export function memory(mib) {
  if (mib === undefined || mib === null) return "–";
  return mib < 1024 ? `${Math.round(mib)} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}

export function fileSize(bytes) {
  for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= factor) return `${Number((bytes / factor).toPrecision(3))} ${unit}`;
  }
  return `${bytes} bytes`;
}

export const clock = (unix) => new Date(unix * 1000).toLocaleTimeString([], { hour12: false });

export function position(value) {
  const whole = Math.max(value, 0);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;
