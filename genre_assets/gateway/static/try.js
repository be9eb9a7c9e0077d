// The page "Try it": a file or a recording is drawn here, sent to /v1/predict, and its answer shown.
"use strict";
const $ = (id) => document.getElementById(id), RECORD_SECONDS = 10;
let answered = null;

const say = (text) => { $("status").textContent = text; };
const percent = (share) => `${Math.round(100 * share)}%`;

async function ask(blob, name) {
  const most = Number($("ask").dataset.mostMb);
  if (blob.size > most * 2 ** 20) { say(`${name} has more than ${most} MB, which is the limit.`); return; }
  $("name").textContent = name;
  $("player").src = URL.createObjectURL(blob);
  $("result").hidden = false;
  $("answer").textContent = "";
  $("facts").replaceChildren();
  $("why").replaceChildren();
  $("probabilities").tBodies[0].replaceChildren();
  showSegments([]);
  $("correct").hidden = true;
  say("Asking ...");
  const drawing = draw(await blob.arrayBuffer());
  try {
    let reply = await predict(blob, "?timeline=true");
    if (reply.status === 502) reply = await predict(blob, "");  // a release of before there were timelines
    const said = await reply.json();
    if (!reply.ok) { say(`${name}: ${said.code ? said.code + ": " : ""}${said.detail}`); return; }
    show(said.answers[0]);
    say("Answered.");
    await showRow(said.answers[0]);
  } catch (error) {
    say(`The gateway does not answer: ${error.message}`);
  } finally {
    await drawing;
  }
}

const predict = (blob, query) =>
  fetch(`/v1/predict${query}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: blob });

async function draw(bytes) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(bytes), samples = sound.getChannelData(0);
    drawWave($("wave"), samples);
    drawMel($("mel"), samples, sound.sampleRate);
    $("wave").hidden = $("mel").hidden = false;
  } catch {
    $("wave").hidden = $("mel").hidden = true;  // the server may know formats that this browser does not
  } finally {
    context.close();
  }
}

function show(answer) {
  answered = answer;
  $("answer").textContent = `${answer.label}, ${percent(answer.confidence)} sure (${answer.model.replaceAll("_", " ")}, version ${answer.version})`;
  const sorted = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
  $("probabilities").tBodies[0].replaceChildren(...sorted.map(([label, share]) => {
    const row = document.createElement("tr"), bar = document.createElement("div");
    bar.className = "bar";
    bar.style.width = `${100 * share}%`;
    row.insertCell().textContent = label;
    row.insertCell().append(bar);
    row.insertCell().textContent = percent(share);
    return row;
  }));
  showSegments(answer.timeline ? answer.timeline.segments : []);
  $("correct").hidden = false;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

// One row for each segment of the whole file; choosing one plays from there.
function showSegments(segments) {
  $("segments").hidden = segments.length === 0;
  $("segments").tBodies[0].replaceChildren(...segments.map((segment) => {
    const row = document.createElement("tr"), play = document.createElement("button");
    play.type = "button";
    play.textContent = `${clock(segment.start_s)} - ${clock(segment.end_s)}`;
    play.addEventListener("click", () => { $("player").currentTime = segment.start_s; $("player").play(); });
    row.insertCell().append(play);
    row.insertCell().textContent = segment.genre || segment.error;
    row.insertCell().textContent = segment.genre ? percent(Math.max(...Object.values(segment.probabilities))) : "";
    return row;
  }));
}

const heard = (part) =>
  `${part.seconds.toFixed(0)} s` + (part.from_s ? ` from ${clock(part.from_s)}` : "") + (part.of_s === null ? "" : ` of ${clock(part.of_s)}`);

// What the log holds comes a moment later, through the spool.
async function showRow(answer) {
  for (let attempt = 0; attempt < 20; attempt++) {
    const reply = await fetch(`/v1/predictions/${encodeURIComponent(answer.request_id)}`);
    if (reply.ok) {
      const row = (await reply.json()).items[answer.item];
      const facts = {
        Route: row.route, Heard: answer.heard && heard(answer.heard), Sound: [row.format, row.sample_rate && `${row.sample_rate} Hz`, row.channels && `${row.channels} channels`, row.duration_s && `${row.duration_s.toFixed(1)} s`].filter(Boolean).join(", "),
        "Time in the server": `${Math.round(row.decode_ms + row.extract_ms + row.predict_ms)} ms`, Request: row.request_id,
      };
      $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => {
        const term = document.createElement("dt"), text = document.createElement("dd");
        term.textContent = name;
        text.textContent = value || "unknown";
        return [term, text];
      }));
      await explain(answer);
      return;
    }
    await new Promise((done) => setTimeout(done, 250));
  }
}

$("correct").addEventListener("submit", async (event) => {
  event.preventDefault();
  const label = { request_id: answered.request_id, item: answered.item, label: $("right").value };
  const reply = await fetch("/v1/labels", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ labels: [label], by: $("by").value }),
  });
  const said = await reply.json();
  say(reply.ok ? `Thank you: ${label.label} is kept as a label of this clip.` : said.detail);
});

$("file").addEventListener("change", () => { if ($("file").files[0]) ask($("file").files[0], $("file").files[0].name); });
const drop = $("ask");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.toggle("over", kind === "dragover"); });
}
drop.addEventListener("drop", (event) => { const file = event.dataTransfer.files[0]; if (file) ask(file, file.name); });

let recorder = null;
$("record").addEventListener("click", async () => {
  if (recorder) { recorder.stop(); return; }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    say(`No microphone: ${error.message}`);
    return;
  }
  const parts = [];
  recorder = new MediaRecorder(stream);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", async () => {
    recorder = null;
    $("record").textContent = "Record";
    stream.getTracks().forEach((track) => track.stop());
    ask(await asWave(new Blob(parts)), "recording.wav");
  });
  recorder.start();
  $("record").textContent = "Stop";
  say(`Recording, ${RECORD_SECONDS} s at most ...`);
  setTimeout(() => recorder && recorder.stop(), RECORD_SECONDS * 1000);
});

// Browsers record in containers of their own; every server reads WAV.
async function asWave(blob) {
  const context = new AudioContext(), sound = await context.decodeAudioData(await blob.arrayBuffer());
  context.close();
  const samples = sound.getChannelData(0), view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}
