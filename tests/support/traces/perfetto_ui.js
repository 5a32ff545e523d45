// The trace processor of the Perfetto UI outside a browser: requests on standard input, answers on standard output.
// Both are bytes of Perfetto's TraceProcessorRpcStream. The argument is the folder of the UI's files.
"use strict";
const fs = require("fs");
const path = require("path");
const { runInThisContext } = require("vm");

const node = process;
const folder = node.argv[2];

// The UI's engine begins as a web worker does: it asks for its wasm by name, and is then sent a port.
globalThis.XMLHttpRequest = class {
  open(_method, name) {
    this.name = name;
  }
  send() {
    this.response = fs.readFileSync(path.join(folder, this.name));
  }
};
globalThis.WorkerGlobalScope = class {};
globalThis.self = globalThis;
globalThis.location = { href: "engine_bundle.js" };
globalThis.process = undefined; // else the engine takes this for Node, which it was not built for
globalThis.console = new console.Console(node.stderr); // answers alone go to standard output

runInThisContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf-8"), { filename: "engine_bundle.js" });
const port = { postMessage: (bytes) => node.stdout.write(bytes) };
setImmediate(() => {
  self.onmessage({ data: port });
  node.stdin.on("data", (bytes) => port.onmessage({ data: bytes }));
});
