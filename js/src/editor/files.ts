/** Reads the user's files: pictures and projects to open, and masks. */

import type { PhotoSize } from "../protocol/state";
import { squareMask } from "../raster/framing";
import { decodeGray, type GrayImage } from "../raster/png";

/** Larger files are not sent unchanged, since notebook servers close a connection after a message that is too large. */
const SEND_AT_MOST = 6_000_000;
/** Larger pictures are scaled down. They would take long to send, and no generator draws as many pixels. */
const PIXELS_AT_MOST = 4_000_000;

export interface PreparedFile {
  name: string;
  bytes: Uint8Array;
  /** A message to the user about changes to the file. */
  scaled: string | null;
}

/**
 * Reads a picture or project file to open. The kernel decides whether it is one. Throws if the file is too large to
 * be sent and the browser cannot read it.
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
    scaled: `${name} is large: the page sends a JPEG of ${size}. Open it in a cell to keep the original.`,
  };
}

/** Explains to the user why a mask is refused, and what to choose instead. */
export class UnusableMask extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

/** Of 255: a mask that stays below would paint nothing that can be seen. */
const FAINTEST = 16;

/**
 * Reads a picture file as the mask of a square, with the kernel's rules: opacity counts if some pixels are
 * transparent, and brightness otherwise. A mask of the photo's shape is cut like the photo. Throws if the browser
 * cannot read the file, and UnusableMask if its shape is another, or if it holds labels.
 */
export async function readMask(file: Blob, side: number, photo: PhotoSize | null): Promise<Uint8Array> {
  const mask = await readGray(file);
  const { width, height, values } = mask;
  const largest = values.reduce((most, value) => Math.max(most, value), 0);
  if (largest > 1 && largest < FAINTEST)
    throw new UnusableMask(
      `The mask goes up to ${largest} of 255 only, as a map of labels does.`,
      "Choose a mask of one label: white is painted, black is not.",
    );
  // A mask of 0 and 1.
  if (largest === 1) values.set(values.map((value) => 255 * value));
  if (width === side && height === side) return values;
  const own = photo ?? { width: side, height: side, fit: "crop" };
  // A large photo was scaled down before it was sent, which rounds its sides.
  if (Math.abs(width * own.height - height * own.width) > Math.max(width, height)) {
    const shape = `${own.width} × ${own.height}`;
    throw new UnusableMask(
      `The mask has ${width} × ${height} pixels, which is not the shape of ${shape}.`,
      "Choose one as large as the photo.",
    );
  }
  return squareMask(mask, side, own.fit);
}

type Rgba = [number, number, number, number];

async function readGray(file: Blob): Promise<GrayImage> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  // An exported mask is read exactly, even in browsers that add noise to canvases.
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

/** The accepted types for file pickers. Some systems do not know that the last ones are pictures. */
export const PICTURES = "image/*,.heic,.heif,.avif";

/** Returns the first picture among dropped or pasted items. */
export function pictureIn(transfer: DataTransfer | null): File | null {
  return [...(transfer?.files ?? [])].find(isPicture) ?? null;
}

function isPicture({ type, name }: File): boolean {
  return type ? type.startsWith("image/") : /\.(hei[cf]|avif)$/i.test(name);
}
