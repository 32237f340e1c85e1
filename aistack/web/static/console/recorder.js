// Recording from the microphone, where the browser allows it.

export function startRecorder(button, hint, take) {
  let recorder = null;
  const words = hint.textContent;
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    button.disabled = true;
    hint.textContent = `Recording needs a page on localhost or over HTTPS. ${words}`;
    return;
  }
  const rest = () => {
    recorder = null;
    button.textContent = "Record";
    button.classList.remove("live");
  };
  button.addEventListener("click", async () => {
    if (recorder) { recorder.stop(); return; }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const pieces = [];
      recorder = new MediaRecorder(stream);
      recorder.addEventListener("dataavailable", ({ data }) => {
        if (!data.size) return;
        pieces.push(data);
        if (recorder) hint.textContent = `Recording, ${pieces.length} s. Press again to stop.`;
      });
      recorder.addEventListener("stop", () => {
        for (const track of stream.getTracks()) track.stop();
        const type = recorder.mimeType;
        rest();
        hint.textContent = pieces.length ? words : "Nothing was recorded.";
        if (pieces.length) take(new File(pieces, `recording.${/mp4/.test(type) ? "m4a" : /ogg/.test(type) ? "ogg" : "webm"}`, { type }));
      });
      recorder.start(1000);
      button.textContent = "Stop recording";
      button.classList.add("live");
      hint.textContent = "Recording. Press again to stop.";
    } catch (error) {
      rest();
      hint.textContent = error.name === "NotAllowedError" ? "The browser does not allow access to the microphone." : "No microphone is available.";
    }
  });
}
