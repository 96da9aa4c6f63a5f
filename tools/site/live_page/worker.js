/* The engine, in a thread of its own: onnxruntime-web comes before these lines. */
const sessions = {};

async function unpack(text) {
  const packed = await fetch("data:application/octet-stream;base64," + text);
  const stream = packed.body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function start({ wasm, module, models }) {
  const address = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  ort.env.wasm.wasmPaths = { mjs: address };
  ort.env.wasm.wasmBinary = await unpack(wasm);
  ort.env.wasm.numThreads = 1;
  for (const [name, text] of Object.entries(models)) {
    const model = await unpack(text);
    sessions[name] = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    postMessage({ loaded: name });
  }
}

async function run({ id, name, values, shape }) {
  const found = await sessions[name].run({ input: new ort.Tensor("float32", values, shape) });
  const outputs = {};
  for (const key in found) outputs[key] = found[key].data;
  postMessage({ id, outputs });
}

onmessage = async ({ data }) => {
  try {
    await (data.models ? start(data) : run(data));
  } catch (error) {
    postMessage({ id: data.id, error: String(error) });
  }
};
