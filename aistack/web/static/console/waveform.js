// The waveform with the recognised words below it. A click seeks.

const BUCKETS = 1200;
const DECODE_MAX = 200 * 1048576; // decoded audio is large: a film would fill the memory of the tab

export class Wave {
  constructor(canvas, audio, spoken) {
    this.canvas = canvas;
    this.audio = audio;
    this.peaks = null;
    this.length = 0;
    this.words = [];
    this.turn = 0;
    this.url = "";
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("click", (event) => this.seek((event.offsetX / canvas.clientWidth) * this.length));
    audio.addEventListener("timeupdate", () => { this.draw(); spoken(audio.paused && !audio.currentTime ? null : audio.currentTime); });
    audio.addEventListener("ended", () => spoken(null));
    audio.addEventListener("loadedmetadata", () => { if (!this.length && Number.isFinite(audio.duration)) this.length = audio.duration; this.draw(); });
  }

  async show(file) {
    const turn = ++this.turn;
    this.peaks = null;
    this.length = 0;
    URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(file);
    this.audio.src = this.url;
    this.draw();
    if (file.size > DECODE_MAX) return;
    try {
      // No AudioContext: decoding alone needs no permission and no output device.
      const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await file.arrayBuffer());
      if (turn !== this.turn) return;
      this.length = sound.duration;
      this.peaks = peaksOf(sound.getChannelData(0));
    } catch {
      // The server may read formats that the browser cannot: the words still get their places.
    }
    this.draw();
  }

  clear() {
    this.words = [];
    this.draw();
  }

  add({ start, end, text, words }) {
    this.words.push(...(words?.length ? words : [{ start, end, word: text }]));
    if (!this.peaks) this.length = Math.max(this.length, end);
    this.draw();
  }

  seek(seconds) {
    if (!this.length || !this.audio.src) return;
    this.audio.currentTime = Math.min(Math.max(seconds, 0), this.length);
    this.audio.play().catch(() => {}); // a format it cannot play
  }

  draw() {
    const { canvas } = this;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const x = (at) => (this.length ? (at / this.length) * width : 0);
    const floor = height - 34;
    const reached = this.words.length ? x(this.words.at(-1).end) : 0;
    this.drawPeaks(pen, width, floor, reached, colour);
    this.drawWords(pen, x, floor, height, colour, style);
    if (this.audio.currentTime) {
      pen.fillStyle = colour("--text");
      pen.fillRect(x(this.audio.currentTime), 0, 1.5, height);
    }
  }

  drawPeaks(pen, width, floor, reached, colour) {
    const middle = floor / 2 + 4;
    if (!this.peaks) {
      pen.fillStyle = colour("--line-strong");
      pen.fillRect(0, middle, width, 1);
      return;
    }
    const bars = Math.floor(width / 3);
    for (let index = 0; index < bars; index += 1) {
      const from = Math.floor((index * BUCKETS) / bars);
      const to = Math.max(Math.floor(((index + 1) * BUCKETS) / bars), from + 1);
      const peak = Math.max(...this.peaks.subarray(from, to));
      const tall = Math.max(peak * (floor - 8), 1);
      pen.fillStyle = colour(index * 3 < reached ? "--c-asr" : "--p-waiting");
      pen.fillRect(index * 3, middle - tall / 2, 2, tall);
    }
  }

  drawWords(pen, x, floor, height, colour, style) {
    pen.font = `12px ${style.getPropertyValue("--font")}`;
    pen.textBaseline = "middle";
    let free = 0;
    this.words.forEach((word, index) => {
      const left = x(word.start);
      const wide = Math.max(x(word.end) - left, 2);
      pen.fillStyle = colour(index % 2 ? "--accent" : "--c-asr");
      pen.fillRect(left, floor + 8, Math.max(wide - 1, 1), 3);
      const middle = left + wide / 2 - pen.measureText(word.word).width / 2;
      if (middle >= free) {
        pen.fillStyle = colour("--text");
        pen.fillText(word.word, middle, height - 12);
        free = middle + pen.measureText(word.word).width + 5;
      }
    });
  }
}

function peaksOf(samples) {
  const peaks = new Float32Array(BUCKETS);
  const step = samples.length / BUCKETS;
  let most = 0.01;
  for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
    let peak = 0;
    for (let index = Math.floor(bucket * step); index < (bucket + 1) * step && index < samples.length; index += 1) {
      const size = Math.abs(samples[index]);
      if (size > peak) peak = size;
    }
    peaks[bucket] = peak;
    most = Math.max(most, peak);
  }
  return peaks.map((peak) => peak / most);
}
