/* The engine, in a thread of its own: onnxruntime-web comes before these lines. */
const sessions = {};
const options = { executionProviders: ["wasm"], extra: { session: { disable_quant_qdq: "1" } } }; // weights are unpacked once

async function unpack(text) {
  const packed = await fetch("data:application/octet-stream;base64," + text);
  const stream = packed.body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function start({ wasm, module }) {
  const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  ort.env.wasm.wasmPaths = { mjs: address };
  ort.env.wasm.wasmBinary = await unpack(wasm);
  ort.env.wasm.numThreads = 1;
}

async function load({ name, model }) {
  sessions[name] = await ort.InferenceSession.create(await unpack(model), options);
  postMessage({ loaded: name });
}

async function run({ id, name, values, shape }) {
  const found = await sessions[name].run({ input: new ort.Tensor("float32", values, shape) });
  const outputs = {};
  for (const key in found) outputs[key] = found[key].data;
  postMessage({ id, outputs });
}

let last = Promise.resolve(); // one after another, in the order of the messages

onmessage = ({ data }) => {
  const task = { start, load, run }[data.task];
  last = last.then(() => task(data)).catch((error) => postMessage({ id: data.id, error: String(error) }));
};
