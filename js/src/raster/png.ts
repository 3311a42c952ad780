/**
 * Reads and writes masks: PNG, 8-bit gray, not interlaced (PNG specification, third edition, sections 5 and 9).
 * A canvas could do this as well, but browsers that prevent fingerprinting add noise, and masks must be exact.
 */

export interface GrayImage {
  width: number;
  height: number;
  values: Uint8Array;
}

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

export async function decodeGray(bytes: Uint8Array): Promise<GrayImage> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33 || SIGNATURE.some((byte, at) => bytes[at] !== byte)) throw new Error("not a PNG");
  const width = view.getUint32(16);
  const height = view.getUint32(20);
  if (view.getUint8(24) !== 8 || view.getUint8(25) !== 0 || view.getUint8(28) !== 0) {
    throw new Error("not an 8-bit gray PNG");
  }
  const packed: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT") packed.push(bytes.slice(at + 8, at + 8 + length));
    at += length + 12;
  }
  const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  if (rows.length !== height * (width + 1)) throw new Error("a PNG of the wrong length");
  return { width, height, values: unfilter(rows, width, height) };
}

/** Undoes the filter in each row's first byte. The bytes to the left, above, and above left predict the next one. */
function unfilter(rows: Uint8Array, width: number, height: number): Uint8Array {
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)] as number;
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const left = x > 0 ? (values[at - 1] as number) : 0;
      const above = y > 0 ? (values[at - width] as number) : 0;
      const corner = x > 0 && y > 0 ? (values[at - width - 1] as number) : 0;
      const predicted =
        filter === 0
          ? 0
          : filter === 1
            ? left
            : filter === 2
              ? above
              : filter === 3
                ? (left + above) >> 1
                : paeth(left, above, corner);
      values[at] = (rows[y * (width + 1) + 1 + x] as number) + predicted;
    }
  }
  return values;
}

function paeth(left: number, above: number, corner: number): number {
  const guess = left + above - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/** Encodes a mask as 8-bit gray PNG with unfiltered rows. */
export async function encodeGray(values: Uint8Array, width: number, height: number): Promise<Uint8Array> {
  const rows = new Uint8Array(height * (width + 1));
  for (let y = 0; y < height; y++) rows.set(values.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const packed = new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate")));
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  const parts = [
    new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk("IHDR", header),
    chunk("IDAT", new Uint8Array(await packed.arrayBuffer())),
    chunk("IEND", new Uint8Array(0)),
  ];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function chunk(kind: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (const byte of bytes.subarray(4, data.length + 8)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  view.setUint32(data.length + 8, ~crc >>> 0);
  return bytes;
}
