/** The folders are layers: each imports only from those below it, and no two files import each other. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";

const SOURCE = "js/src";

/** What each folder may import from, beside itself. The files beside the folders may import from all. */
const BELOW: Record<string, string[]> = {
  protocol: [],
  raster: ["protocol"],
  core: ["protocol", "raster"],
  browser: ["core"],
  editor: ["protocol", "raster", "core"],
  dev: ["protocol", "raster", "core", "browser", "editor"],
};

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.replaceAll("\\", "/").slice(0, -3));

const imports = new Map(
  files.map((file) => {
    const text = readFileSync(join(SOURCE, `${file}.ts`), "utf8");
    const found = [...text.matchAll(/from "(\.[^"]*)"/g)].map(([, path]) =>
      relative(".", normalize(join(dirname(file), path as string))).replaceAll("\\", "/"),
    );
    return [file, found] as const;
  }),
);

test("each folder imports only from those below it", () => {
  assert.ok(files.length > 50);
  const wrong = [...imports].flatMap(([file, found]) => {
    const folder = file.split("/")[0] as string;
    const allowed = BELOW[folder];
    if (!file.includes("/")) return [];
    assert.ok(allowed, `${folder} is not among the layers`);
    return found
      .filter((path) => ![folder, ...allowed].includes(path.split("/")[0] as string))
      .map((path) => `${file} imports ${path}`);
  });
  assert.deepEqual(wrong, []);
});

test("no files import each other in a circle, not even types", () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, way: string[]): void => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(" -> "));
    else if (!done.has(file)) {
      for (const next of imports.get(file) ?? []) visit(next, [...way, file]);
      done.add(file);
    }
  };
  for (const file of files) visit(file, []);
  assert.deepEqual(circles, []);
});

test("core and raster know nothing of the page", () => {
  const page =
    /\b(document\.|window\.|HTML\w*Element|addEventListener|ImageBitmap|requestAnimationFrame|indexedDB)/;
  const wrong = files.filter(
    (file) =>
      /^(protocol|raster|core)\//.test(file) && page.test(readFileSync(join(SOURCE, `${file}.ts`), "utf8")),
  );
  assert.deepEqual(wrong, []);
});
