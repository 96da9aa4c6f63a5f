const get = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const facts = JSON.parse(get("facts").textContent);
const LENGTH = 8; // frames of a clip
const SIDE = 32; // pixels at which clips are compared
const LAST = 20; // predictions of digits before the animation starts again
const COLOURS = [[0, 190, 140], [225, 120, 175]]; // of two digits: other codes, so other colours

/* ---- The engine ---------------------------------------------------------------------------- */

const waiting = new Map(); // the promises of runs that are not done
const loading = {}; // of each network, when it can run
let worker;
let runs = 0;

for (const name of ["decoder", "twin", "prior", "digits"]) {
  loading[name] = {};
  loading[name].promise = new Promise((resolve) => (loading[name].resolve = resolve));
}

function startEngine() {
  const source = [get("engine").textContent, get("worker").textContent].join("\n;\n");
  worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  worker.onmessage = ({ data }) => {
    if (data.loaded) return loading[data.loaded].resolve();
    if (data.error) say(`The model does not run in this browser: ${data.error}`);
    waiting.get(data.id)?.(data);
    waiting.delete(data.id);
  };
  worker.onerror = (event) => say(`The model does not run in this browser: ${event.message}`);
  worker.postMessage({ task: "start", wasm: get("wasm").textContent, module: get("module").textContent });
}

function loadNetwork(name) {
  worker.postMessage({ task: "load", name, model: get(name).textContent });
}

/** Say what share of the page has arrived, until the decoder has. */
async function sayShare() {
  let isLoaded = false;
  loading.decoder.promise.then(() => (isLoaded = true));
  while (!isLoaded) {
    const letters = all("script.part").flatMap((part) => [...part.childNodes].map((text) => text.length));
    const share = letters.reduce((sum, count) => sum + count, 0) / facts.letters;
    say(share < 1 ? `The model is arriving: ${Math.floor(100 * share)} %.` : "The model has arrived and starts.");
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}

/** The outputs of a network, by name, for numbers of a shape. */
async function run(name, values, shape) {
  await loading[name].promise;
  const id = ++runs;
  const answer = new Promise((resolve) => waiting.set(id, resolve));
  worker.postMessage({ task: "run", id, name, values, shape });
  const { outputs, error } = await answer;
  if (error) throw new Error(error);
  return outputs;
}

/* ---- Codes --------------------------------------------------------------------------------- */

const codesOf = {}; // of each network and clip: { s: numbers, d: 8 lists of numbers }
let digitCodes; // of each clip of digits: its last latents

async function readCodes() {
  const packed = await fetch("data:application/octet-stream;base64," + get("codes").textContent);
  const stream = packed.body.pipeThrough(new DecompressionStream("gzip"));
  const numbers = new Float32Array(await new Response(stream).arrayBuffer());
  let from = 0;
  const take = (count) => numbers.slice(from, (from += count));
  for (const [name, live] of Object.entries(facts.live)) {
    codesOf[name] = facts.rows.map(() => {
      const frames = [...Array(LENGTH)].map(() => take(live + facts.rank[name]));
      return { s: frames[0].slice(0, live), d: frames.map((row) => row.slice(live)) };
    });
  }
  const latents = (numbers.length - from) / facts.digits.length;
  digitCodes = facts.digits.map(() => take(latents));
}

/** What a decoder makes of each of some codes, at frames of these numbers, as pictures. */
async function decode(name, codes, times) {
  const rows = codes.flatMap(({ s, d }) => times.map((t) => [...s, ...d[t]]));
  const { film } = await run(name, Float32Array.from(rows.flat()), [rows.length, rows[0].length]);
  const frames = toFrames(film, Math.sqrt(film.length / (3 * rows.length)));
  return codes.map((_, n) => frames.slice(n * times.length, (n + 1) * times.length));
}

/** Decode codes to clips and show each under a name, first the frame that is now on the screen. */
async function paint(by, codes, names, isWanted = () => true) {
  const now = frame;
  const films = codes.map(() => []);
  for (const times of [[now], [...Array(LENGTH).keys()].filter((t) => t !== now)]) {
    const painted = await decode(by, codes, times);
    if (!isWanted()) return null;
    painted.forEach((frames, n) => times.forEach((t, k) => (films[n][t] = frames[k])));
    names.forEach((name, n) => (content[name] = { ...content[name], frames: films[n] }));
    drawAll();
  }
  return films;
}

/** Standard normal numbers, by Box and Muller. */
function drawNormal(count) {
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    return radius * Math.cos(2 * Math.PI * Math.random());
  });
}

/* ---- Clips --------------------------------------------------------------------------------- */

const content = {}; // of each name that a canvas shows: { frames, label }
let frame = 0;
let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;

function drawAll() {
  for (const letter of "AB") document.querySelector(`[data-of="${letter}"]`).textContent = isExchanged() === (letter === "A") ? "B" : "A";
  for (const canvas of all("canvas[data-show]")) {
    const { frames = [], label } = content[resolve(canvas.dataset.show)] ?? {};
    const picture = frames[frame % LENGTH] ?? frames.find((each) => each);
    if (canvas.ariaLabel !== (label ?? "no clip yet")) canvas.ariaLabel = label ?? "no clip yet";
    if (!picture) continue;
    if (canvas.width !== picture.width) canvas.width = canvas.height = picture.width;
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }
}

/** What a canvas shows: nowA and outA depend on whether the motions are exchanged. */
function resolve(name) {
  if (name.startsWith("now")) return name.replace("now", isExchanged() ? "swap" : "real");
  return name.replace("out", exchanged ? "swap" : "own");
}

/** All true clips, each 8 frames, from the one picture that holds them. */
function readAtlas() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [LENGTH * 64, 64 * facts.clips.length];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(get("atlas"), 0, 0);
  const { data, width } = context.getImageData(0, 0, canvas.width, canvas.height); // once: some browsers copy all of it
  const cut = (row, t) => {
    const picture = new ImageData(64, 64);
    for (let y = 0; y < 64; y++) {
      const from = 4 * ((64 * row + y) * width + 64 * t);
      picture.data.set(data.subarray(from, from + 256), 256 * y);
    }
    return picture;
  };
  return (row) => [...Array(LENGTH).keys()].map((t) => cut(row, t));
}

/** Frames for the screen of what a decoder makes, (frames, 3, size, size). */
function toFrames(values, size, colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]) {
  const area = size * size;
  return [...Array(values.length / (3 * area)).keys()].map((t) => {
    const picture = new ImageData(size, size);
    for (let i = 0; i < area; i++) {
      picture.data[4 * i + 3] = 255;
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        colours.forEach((colour, plane) => (sum += colour[c] * values[(3 * t + plane) * area + i]));
        picture.data[4 * i + c] = Math.round(sum); // the array itself keeps it within 0 to 255
      }
    }
    return picture;
  });
}

/** A clip as numbers, at 32 x 32 pixels, by the means of blocks. */
function toNumbers(frames) {
  const block = frames[0].width / SIDE;
  const values = new Float32Array(frames.length * SIDE * SIDE * 3);
  frames.forEach(({ data, width }, t) => {
    for (let y = 0, i = 0; y < width; y++) {
      const row = 3 * SIDE * (t * SIDE + Math.floor(y / block));
      for (let x = 0; x < width; x++, i += 4) {
        const place = row + 3 * Math.floor(x / block);
        for (let c = 0; c < 3; c++) values[place + c] += data[i + c] / (block * block);
      }
    }
  });
  return values;
}

const trueNumbers = []; // of all true clips, when they are first needed

/** The row of the true clip that is nearest to a clip. */
function findNearest(frames) {
  const film = toNumbers(frames);
  const distances = facts.clips.map((_, row) => {
    const other = (trueNumbers[row] ??= toNumbers(trueClip(row)));
    let sum = 0;
    for (let i = 0; i < film.length; i++) sum += (film[i] - other[i]) ** 2;
    return sum;
  });
  return distances.indexOf(Math.min(...distances));
}

function tick() {
  if (!playing) return;
  frame = (frame + 1) % LENGTH;
  document.documentElement.style.setProperty("--frame", frame);
  drawAll();
  if (latents && frame % 2) stepDigits();
}

function setPlaying(value) {
  playing = value;
  get("play").textContent = playing ? "Pause the animations" : "Play the animations";
  sayDigits();
}

/** A task that runs once at a time; of the calls that come meanwhile only the last one counts. */
function latest(task) {
  let busy = false;
  let again = false;
  return async () => {
    again = true;
    if (busy) return;
    busy = true;
    try {
      while (again) {
        again = false;
        await task();
      }
    } finally {
      busy = false;
    }
  };
}

/** Tell everybody, screen readers as well. */
function say(text) {
  if (get("says").textContent !== text) get("says").textContent = text;
}

const choose = (name) => document.querySelector(`input[name="${name}"]:checked`).value;

/* ---- The exchange -------------------------------------------------------------------------- */

let trueClip; // the frames of a true clip by its row
let pair = facts.opens; // the numbers of A and B
let exchanged = false;
let wanted = 0; // the number of the pair or of the painter that was chosen last
let painter = "decoder"; // of what is on the screen
let judged = ""; // of the exchange on the screen, when all of it is decoded
const NAMES = { decoder: "model", twin: "second model" };

const describe = (row) => `${facts.clips[row].who}, ${facts.clips[row].how}`;
const rowOf = (who, how) => 9 * who + (facts.rows[how] % 9); // of the true clip of one's looks and another's motion

function setExchanged(value) {
  exchanged = value;
  document.body.classList.toggle("exchanged", value);
  for (const button of all(".exchange")) {
    button.setAttribute("aria-pressed", value);
    button.textContent = value ? "Give them their own motion back" : "Exchange their motion";
  }
  drawAll();
  if (content.swapB?.frames) sayState();
}

/** Say what is on the screen, whichever button led there. */
function sayState() {
  say(exchanged ? `Exchanged, decoded by the ${NAMES[painter]}.${judged}` : "Ready: the two clips as they are. Press the button.");
}

/** Whether the motions are exchanged on the screen, and not only asked for while the model arrives. */
const isExchanged = () => exchanged && Boolean(content.swapB?.frames);

/** Show two clips, their codes, and what is asked for; then decode. */
const showPair = latest(async () => {
  const mine = ++wanted;
  const [a, b] = pair;
  const by = choose("by");
  await loading[by].promise;
  const rows = { realA: facts.rows[a], realB: facts.rows[b], trueA: rowOf(a, b), trueB: rowOf(b, a) };
  const [A, B] = [codesOf[by][a], codesOf[by][b]];
  const films = {};
  for (const [name, row] of Object.entries(rows)) films[name] = { frames: trueClip(row), label: describe(row) };
  for (const letter of "AB") {
    const label = `Decoded by the ${NAMES[by]}; asked for: ${films[`true${letter}`].label}`;
    films[`swap${letter}`] = { ...content[`swap${letter}`], label };
    films[`own${letter}`] = { label: `Decoded from its own two codes: ${films[`real${letter}`].label}` };
  }
  get("swap-films").classList.add("busy");
  const swaps = [{ s: A.s, d: B.d }, { s: B.s, d: A.d }];
  const first = await decode(by, swaps, [frame]); // before the new pair is shown, so that all clips belong together
  swaps.forEach((_, n) => (films[`swap${"AB"[n]}`].frames = Array(LENGTH).fill(first[n][0])));
  Object.assign(content, films);
  [A, B].forEach((codes, n) => {
    drawBar(get(`bar-s-${"AB"[n]}`), [[...codes.s]], [230, 159, 0]);
    drawBar(get(`bar-d-${"AB"[n]}`), codes.d, [0, 114, 178]);
  });
  const [wayA, wayB] = [films.trueA, films.trueB].map(({ label }) => label);
  get("asked").textContent = `A as B moves: ${wayA}. B as A moves: ${wayB}. Artists drew these figures in all motions, so the true clips are known. The model was trained on other figures.`;
  get("verdict").textContent = judged = "";
  painter = by;
  drawAll();
  sayState();
  document.body.dataset.shown = `${a} ${b} ${by}`;
  writeAddress(by);

  const painted = await paint(by, swaps, ["swapA", "swapB"]);
  get("swap-films").classList.remove("busy");
  judge(painted, [rows.trueA, rows.trueB]);
  await paint(by, [A, B], ["ownA", "ownB"]);
  document.body.dataset.painted = mine;
});

/** Say to which of the true clips a decoded clip is nearest. */
function judge(films, asked) {
  judged = "";
  const said = films.map((film, n) => {
    const row = findNearest(film);
    const part = facts.clips[row].who === facts.clips[asked[n]].who ? (clip) => facts.clips[clip].how : describe;
    judged += row === asked[n] ? ` ${"AB"[n]}: as asked.` : ` ${"AB"[n]}: ${part(row)}; asked for: ${part(asked[n])}.`;
    if (row === asked[n]) return `for ${"AB"[n]} it is the right one`;
    return `for ${"AB"[n]} it shows ${describe(row)}, which is <b>not the right one</b>`;
  });
  sayState();
  get("verdict").innerHTML = `A check: which of the ${facts.clips.length} drawn clips in this page is nearest to the decoded clip? ${said.join("; ").replace("for", "For")}.`;
}

/** A code as a bar: a row for each frame, a cell for each number, the larger the stronger. */
function drawBar(canvas, rows, colour) {
  [canvas.width, canvas.height] = [rows[0].length, rows.length];
  const picture = new ImageData(canvas.width, canvas.height);
  rows.flatMap((row) => [...row]).forEach((value, i) => {
    const share = 0.15 + 0.85 / (1 + Math.exp(-1.5 * value));
    colour.forEach((part, c) => (picture.data[4 * i + c] = 255 + share * (part - 255)));
    picture.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/* The pair stands in the address, so that a link shows it. */
function writeAddress(by) {
  const hash = `#a=${pair[0]}&b=${pair[1]}${by === "twin" ? "&by=twin" : ""}`;
  get("link").href = hash;
  if (location.hash || String(pair) !== String(facts.opens) || by === "twin") history.replaceState(null, "", hash);
}

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const found = ["a", "b"].map((name) => asked.get(name) ?? "");
  if (found.every((text) => /^\d+$/.test(text) && +text < facts.rows.length)) pair = found.map(Number);
  const by = asked.get("by") === "twin" ? "twin" : "decoder";
  document.querySelector(`input[name="by"][value="${by}"]`).checked = true;
  setPainter();
  ["A", "B"].forEach((letter, n) => (document.querySelector(`input[name="${letter}"][value="${pair[n]}"]`).checked = true));
}

function setPainter() {
  for (const text of all("p[data-by]")) text.hidden = text.dataset.by !== choose("by");
}

function addThumbs(letter) {
  facts.rows.forEach((row, clip) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: letter, value: clip, title: describe(row) });
    input.setAttribute("aria-label", describe(row));
    input.style.setProperty("--clip", row);
    input.addEventListener("change", () => choosePair(["A", "B"].map((name) => +choose(name))));
    get(`thumbs-${letter.toLowerCase()}`).append(input);
  });
}

function choosePair(numbers) {
  pair = numbers;
  ["A", "B"].forEach((letter, n) => (document.querySelector(`input[name="${letter}"][value="${pair[n]}"]`).checked = true));
  return showPair().then(reset);
}

/** Two figures by chance, whose motions differ in the action and in the way. */
function surprise() {
  const motion = (n) => facts.rows[n] % 9;
  const draw = () => Math.floor(Math.random() * facts.rows.length);
  let [a, b] = [0, 0];
  while (motion(a) % 3 === motion(b) % 3 || Math.floor(motion(a) / 3) === Math.floor(motion(b) / 3)) [a, b] = [draw(), draw()];
  return choosePair([a, b]);
}

/* ---- One number ---------------------------------------------------------------------------- */

const dragged = { s: [], d: [] };
const order = facts.units.map((_, unit) => unit).sort((a, b) => (facts.units[a] < facts.units[b] ? -1 : 1));
const sliders = [];
for (const unit of order) {
  const label = document.createElement("label");
  label.innerHTML = `<span>${facts.units[unit]}</span><input type="range" min="-3.5" max="3.5" step="0.1"><output></output>`;
  get("sliders").append(label);
  sliders[unit] = label.querySelector("input");
  sliders[unit].addEventListener("input", () => {
    dragged.s = sliders.map((each) => +each.value);
    get("from-s").textContent = "who: your numbers";
    setOutput(sliders[unit]);
    showDragged();
  });
}

function setOutput(slider) {
  slider.nextElementSibling.textContent = (+slider.value + 0).toFixed(1).replace("-0.0", "0.0");
}

const showDragged = latest(async () => {
  const label = `Decoded by the model; ${get("from-s").textContent}, ${get("from-d").textContent}`;
  content.dragged = { ...content.dragged, label };
  await paint("decoder", [{ s: [...dragged.s], d: [...dragged.d] }], ["dragged"]);
});

function setDragged(codes, says) {
  Object.assign(dragged, codes);
  for (const [code, text] of Object.entries(says)) get(`from-${code}`).textContent = text;
  sliders.forEach((slider, unit) => {
    slider.value = dragged.s[unit];
    setOutput(slider);
  });
  return showDragged();
}

function reset() {
  const { s, d } = codesOf.decoder[pair[0]];
  return setDragged({ s: [...s], d: [...d] }, { s: "who: A", d: "how: A" });
}

function drawS() {
  return setDragged({ s: [...drawNormal(facts.live.decoder)] }, { s: "who: invented" });
}

async function drawD() {
  const { directions } = await run("prior", drawNormal(LENGTH * 256), [1, LENGTH, 256]);
  const rank = facts.rank.decoder;
  const d = [...Array(LENGTH).keys()].map((t) => directions.slice(t * rank, (t + 1) * rank));
  return setDragged({ d }, { d: "how: invented" });
}

/* ---- Two digits ---------------------------------------------------------------------------- */

let latents; // of both factors, one after the other
let predicted = 0; // frames since the clip ended

function isFrozen(factor) {
  return document.querySelector(`input[name="freeze"][value="${factor}"]`).checked;
}

/** The latents with `next` in the place of every factor that is not frozen. */
function moveOn(now, next) {
  const size = now.length / 2;
  return now.map((value, unit) => (isFrozen(Math.floor(unit / size)) ? value : next[unit]));
}

const stepDigits = latest(async () => {
  const before = latents;
  const { picture, next } = await run("digits", before, [1, before.length]);
  if (latents !== before) return; // Another clip was chosen meanwhile.
  content.digits = { frames: Array(LENGTH).fill(toFrames(picture, 32, COLOURS)[0]) };
  sayDigits();
  predicted += 1;
  latents = predicted > LAST ? moveOn(before, startOfDigits()) : moveOn(before, next);
});

/** Say what each digit does; while all animations wait, what it does next. */
function sayDigits() {
  if (!content.digits) return;
  const [first, second] = facts.digits[+choose("digits")];
  const [one, other] = [0, 1].map((factor) => (isFrozen(factor) ? "stands still" : `goes on${playing ? "" : " at the next frame"}`));
  const label = `The green ${first} ${one}; the pink ${second} ${other}`;
  if (content.digits.label !== label) get("digit-says").textContent = content.digits.label = label;
  drawAll();
}

function startOfDigits() {
  predicted = 0;
  return digitCodes[+choose("digits")];
}

function restartDigits() {
  latents = startOfDigits().slice();
  return stepDigits();
}

/* ---- All together -------------------------------------------------------------------------- */

function connect() {
  addThumbs("A");
  addThumbs("B");
  facts.digits.forEach(([first, second], n) => {
    const label = get("digit-clips").appendChild(document.createElement("label"));
    label.innerHTML = `<input type="radio" name="digits" value="${n}"> ${first} and ${second}`;
    label.firstChild.checked = n === 1; // two digits that stay easy to read
    label.firstChild.addEventListener("change", restartDigits);
  });
  for (const button of all(".exchange")) button.addEventListener("click", () => setExchanged(!exchanged));
  for (const box of all('input[name="freeze"]')) box.addEventListener("change", sayDigits);
  for (const radio of all('input[name="by"]')) radio.addEventListener("change", () => (setPainter(), showPair()));
  const clicks = { surprise, "draw-s": drawS, "draw-d": drawD, reset, step: stepDigits, again: restartDigits };
  for (const [id, action] of Object.entries(clicks)) get(id).addEventListener("click", action);
  get("play").addEventListener("click", () => setPlaying(!playing));
  addEventListener("hashchange", () => (readAddress(), choosePair(pair)));
  readAddress();
  setPlaying(playing);
}

async function start() {
  document.documentElement.style.setProperty("--clips", facts.clips.length);
  document.documentElement.style.setProperty("--atlas", `url(${get("atlas").src})`);
  connect();
  sayShare();
  setInterval(tick, 150);
  await Promise.all([get("atlas").decode(), readCodes()]);
  trueClip = readAtlas();
  ["A", "B"].forEach((letter, n) => {
    const row = facts.rows[pair[n]];
    content[`real${letter}`] = { frames: trueClip(row), label: describe(row) };
  });
  drawAll();
  document.body.dataset.shown = "originals";
  await showPair();
  await reset();
  latents = startOfDigits().slice();
  await stepDigits();
  document.body.dataset.ready = "yes";
}

start();
