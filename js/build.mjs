// Builds the front end with esbuild.
//
//   node js/build.mjs            writes ganpaint_widget/static/widget.js and widget.css
//   node js/build.mjs --watch    the same, again after every change
//   node js/build.mjs --serve    serves js/editor.html with the fake backend (--port=8123 to choose a port)
//   node js/build.mjs --bare=FOLDER   writes that page into a folder, for the browser tests
//   node js/build.mjs --test     compiles js/tests/*.test.ts into a temporary folder and runs them under node

import { spawnSync } from "node:child_process";
import { copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const project = dirname(here);
const argument = (name) => process.argv.find((word) => word === name || word.startsWith(`${name}=`));

/** What runs in the browser: JupyterLab's own floor is about this old. */
const browser = { bundle: true, format: "esm", target: ["es2022"], charset: "utf8", logLevel: "info" };

const widget = {
  ...browser,
  entryPoints: [
    { in: join(here, "src/widget.ts"), out: "widget" },
    { in: join(here, "src/editor/styles/editor.css"), out: "widget" },
  ],
  outdir: join(project, "ganpaint_widget/static"),
  minify: true,
  legalComments: "none",
};
async function build() {
  await esbuild.build(widget);
}

async function watch() {
  const context = await esbuild.context(widget);
  await context.watch();
}

const bare = {
  ...browser,
  entryPoints: [
    { in: join(here, "src/dev/bare.ts"), out: "bare" },
    { in: join(here, "src/editor/styles/editor.css"), out: "editor" },
  ],
  sourcemap: "inline",
};

async function writeBare() {
  const folder = argument("--bare").split("=")[1];
  await esbuild.build({ ...bare, outdir: join(folder, "served"), logLevel: "warning" });
  await copyFile(join(here, "editor.html"), join(folder, "editor.html"));
}

async function serve() {
  const context = await esbuild.context({ ...bare, outdir: join(here, "served"), write: false });
  const port = Number(argument("--port")?.split("=")[1] ?? 8123);
  const server = await context.serve({ servedir: here, host: "127.0.0.1", port });
  console.log(`The editor with a fake backend: http://127.0.0.1:${server.port}/editor.html`);
}

async function test() {
  const folder = await mkdtemp(join(tmpdir(), "ganpaint-js-"));
  try {
    const names = (await readdir(join(here, "tests"))).filter((name) => name.endsWith(".test.ts"));
    await esbuild.build({
      entryPoints: names.map((name) => join(here, "tests", name)),
      outdir: folder,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node20",
      sourcemap: "inline",
      logLevel: "warning",
    });
    const files = names.map((name) => join(folder, basename(name).replace(/\.ts$/, ".mjs")));
    // The tests read tests/fixtures from the project's folder.
    const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], {
      cwd: project,
      stdio: "inherit",
    });
    process.exitCode = run.status ?? 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const tasks = { "--watch": watch, "--serve": serve, "--bare": writeBare, "--test": test };
const [, task] = Object.entries(tasks).find(([name]) => argument(name)) ?? ["", build];
await task();
