// Compiles a Motoko actor with the compiler of the project in the working directory.
//
// Arguments: a file with the source, and a file for the module, both with their whole paths.
"use strict";

const { readFileSync, writeFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");

const motoko = createRequire(path.join(process.cwd(), "package.json"))("motoko");
const [source, target] = process.argv.slice(2);

motoko.write("Main.mo", readFileSync(source, "utf8"));
const { wasm } = motoko.wasm("Main.mo", "ic");
writeFileSync(target, wasm);
