import { cp } from "node:fs/promises";
import { build } from "esbuild";

await build({
  entryPoints: ["src/chat.ts"],
  outfile: "dist/chat.js",
  bundle: true,
  format: "esm",
  minify: true,
  define: { global: "globalThis" }, // @dfinity/agent 2 and its packages expect Node's name of it
  inject: ["src/process.ts"], // ic-websocket-js reads process.env.LOG_LEVEL when it is imported
});
await Promise.all(["index.html", "chat.css"].map((name) => cp(`src/${name}`, `dist/${name}`)));
