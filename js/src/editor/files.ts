/** Reads the files that the user gives: pictures and projects to be opened, and masks. */

import type { PhotoSize } from "../protocol/state";
import { squareMask } from "../raster/framing";
import { decodeGray, type GrayImage } from "../raster/png";

/** Above this size a file is not sent as it is: notebook servers close a connection over a message that is too large. */
const SEND_AT_MOST = 6_000_000;
/** Pictures of more pixels are scaled down: they would take long to send, and no generator draws as many. */
const PIXELS_AT_MOST = 4_000_000;

export interface PreparedFile {
  name: string;
  bytes: Uint8Array;
  /** Tells the user what was done to it. */
  scaled: string | null;
}

/**
 * Reads a picture or project file to be opened; the kernel judges whether it is one. Throws where the browser cannot
 * read what is too large to be sent.
 */
export async function prepareFile(file: File): Promise<PreparedFile> {
  const small = file.size <= SEND_AT_MOST;
  const image = await createImageBitmap(file).catch((reason: unknown) => {
    if (!small) throw reason;
    return null; // a project, or a picture that the kernel may know how to read
  });
  try {
    if (small && (!image || image.width * image.height <= PIXELS_AT_MOST)) {
      return { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()), scaled: null };
    }
    return await scaledDown(file.name, image as ImageBitmap);
  } finally {
    image?.close();
  }
}

async function scaledDown(name: string, image: ImageBitmap): Promise<PreparedFile> {
  const scale = Math.min(1, Math.sqrt(PIXELS_AT_MOST / (image.width * image.height)));
  const canvas = new OffscreenCanvas(Math.floor(image.width * scale), Math.floor(image.height * scale));
  const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
  // As the kernel shows what is transparent; a JPEG would make it black.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  const size = `${canvas.width} × ${canvas.height} pixels`;
  return {
    name,
    bytes: new Uint8Array(await blob.arrayBuffer()),
    scaled: `${name} is large: scaled down to ${size}. Open it in a cell to keep its own size.`,
  };
}

/** Says to the user why a mask of another shape is not taken. */
export class WrongSize extends Error {}

/**
 * A picture file as the mask of a square, by the kernel's rules: what is opaque counts where some of it is transparent,
 * else what is bright. One of the photo's shape goes through its frame. Throws where the browser cannot read it, and
 * WrongSize for one of another shape.
 */
export async function readMask(file: Blob, side: number, photo: PhotoSize | null): Promise<Uint8Array> {
  const mask = await readGray(file);
  const { width, height, values } = mask;
  // A mask of 0 and 1.
  if (values.every((value) => value <= 1)) values.set(values.map((value) => 255 * value));
  if (width === side && height === side) return values;
  const own = photo ?? { width: side, height: side, fit: "crop" };
  // A large photo was scaled down on its way, which rounds its sides.
  if (Math.abs(width * own.height - height * own.width) > Math.max(width, height)) {
    const shape = `${own.width} × ${own.height}`;
    throw new WrongSize(`The mask has ${width} × ${height} pixels, which is not the shape of ${shape}.`);
  }
  return squareMask(mask, side, own.fit);
}

type Rgba = [number, number, number, number];

async function readGray(file: Blob): Promise<GrayImage> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  // An exported mask comes back to the last bit, whatever the browser does to canvases.
  const gray = await decodeGray(bytes).catch(() => null);
  if (gray) return gray;
  const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d") as OffscreenCanvasRenderingContext2D;
  try {
    context.drawImage(image, 0, 0);
  } finally {
    image.close();
  }
  const { data } = context.getImageData(0, 0, width, height);
  const opacity = new Uint8Array(width * height);
  const light = new Uint8Array(width * height);
  for (let pixel = 0; pixel < light.length; pixel++) {
    const [red, green, blue, alpha] = data.subarray(4 * pixel, 4 * pixel + 4) as unknown as Rgba;
    opacity[pixel] = alpha;
    // The weights of ITU-R BT.601, which Pillow uses.
    light[pixel] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  }
  const opaque = opacity.every((alpha) => alpha === 255);
  return { width, height, values: opaque ? light : opacity };
}

/** For file pickers. Not every system knows that the last ones are pictures. */
export const PICTURES = "image/*,.heic,.heif,.avif";

/** The first picture among dropped or pasted things. */
export function pictureIn(transfer: DataTransfer | null): File | null {
  return [...(transfer?.files ?? [])].find(isPicture) ?? null;
}

function isPicture({ type, name }: File): boolean {
  return type ? type.startsWith("image/") : /\.(hei[cf]|avif)$/i.test(name);
}
