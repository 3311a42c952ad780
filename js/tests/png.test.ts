import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { decodeGray } from "../src/raster/png";

function chunk(kind: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(typeof crc32 === "function" ? crc32(body) : 0);
  return Buffer.concat([size, body, sum]);
}

/** Writes a gray PNG whose rows use the five filters in turn, as the specification defines them. */
function encode(values: Uint8Array, width: number, height: number, color = 0): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  header[9] = color;
  const at = (x: number, y: number): number => (x < 0 || y < 0 ? 0 : (values[y * width + x] as number));
  const rows: number[] = [];
  for (let y = 0; y < height; y++) {
    const filter = y % 5;
    rows.push(filter);
    for (let x = 0; x < width; x++) {
      const [a, b, c] = [at(x - 1, y), at(x, y - 1), at(x - 1, y - 1)];
      const nearest = [a, b, c].sort(
        (p, q) => Math.abs(a + b - c - p) - Math.abs(a + b - c - q),
      )[0] as number;
      const predicted = [0, a, b, Math.floor((a + b) / 2), nearest][filter] as number;
      rows.push((at(x, y) - predicted) & 255);
    }
  }
  const packed = deflateSync(Uint8Array.from(rows));
  const half = Math.floor(packed.length / 2);
  return new Uint8Array(
    Buffer.concat([
      Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
      chunk("IHDR", header),
      chunk("tEXt", Buffer.from("Comment\0between")),
      chunk("IDAT", packed.subarray(0, half)),
      chunk("IDAT", packed.subarray(half)),
      chunk("IEND", new Uint8Array(0)),
    ]),
  );
}

test("a gray PNG is read exactly, with every filter and inside a larger buffer", async () => {
  const [width, height] = [13, 17];
  const values = Uint8Array.from({ length: width * height }, (_, at) => (at * 73 + ((at * at) >> 3)) & 255);
  const png = encode(values, width, height);
  const larger = new Uint8Array(png.length + 20);
  larger.set(png, 9);
  const window = new Uint8Array(larger.buffer, 9, png.length);
  assert.deepEqual(await decodeGray(window), { width, height, values });
});

test("anything but a gray PNG is refused", async () => {
  await assert.rejects(decodeGray(new Uint8Array(64)), /not a PNG/);
  await assert.rejects(decodeGray(encode(new Uint8Array(4), 2, 2, 2)), /gray/);
  const broken = encode(new Uint8Array(4), 2, 2);
  new DataView(broken.buffer).setUint32(16, 3);
  await assert.rejects(decodeGray(broken));
});
