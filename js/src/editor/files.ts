/** Reads the files that the user gives: pictures and projects to be opened, and masks. */

import { decodeGray } from "../raster/png";

/** Above this size a file is not sent as it is: notebook servers close a connection over a message that is too large. */
const SEND_AT_MOST = 6_000_000;
/** Pictures of more pixels are scaled down: they would take long to send, and no generator draws as many. */
const PIXELS_AT_MOST = 4_000_000;

export interface PreparedFile {
  name: string;
  bytes: Uint8Array;
  /** What was done to it, to be told to the user. */
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

/** A picture file as a mask: its brightness, scaled to the picture's size. Throws where the browser cannot read it. */
export async function readMask(file: Blob, width: number, height: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  // What was exported here comes back to the last bit, whatever the browser does to canvases.
  const gray = await decodeGray(bytes).catch(() => null);
  if (gray?.width === width && gray.height === height) return gray.values;
  const image = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
  context.imageSmoothingQuality = "high";
  try {
    context.drawImage(image, 0, 0, width, height);
  } finally {
    image.close();
  }
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, at) => {
    const [red, green, blue, alpha] = data.subarray(4 * at, 4 * at + 4) as unknown as number[];
    const light = 0.2126 * (red as number) + 0.7152 * (green as number) + 0.0722 * (blue as number);
    return Math.round((light * (alpha as number)) / 255);
  });
}

/** The first picture among dropped or pasted things. */
export function pictureIn(transfer: DataTransfer | null): File | null {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}
