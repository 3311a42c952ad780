/** Files in and out of the page. */

/** Above this size a picture is scaled down here: notebook servers close a connection over a message that is too large. */
const SEND_AT_MOST = 6_000_000;
const SCALE_TO_PIXELS = 4_000_000;

export interface PreparedFile {
  name: string;
  bytes: Uint8Array;
  /** What was done to it, to be told to the user. */
  scaled: string | null;
}

/** Reads a picture file to be opened; the kernel judges whether it is one. Throws where the browser cannot read it. */
export async function prepareFile(file: File): Promise<PreparedFile> {
  if (file.size <= SEND_AT_MOST) {
    return { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()), scaled: null };
  }
  const image = await createImageBitmap(file);
  const scale = Math.min(1, Math.sqrt(SCALE_TO_PIXELS / (image.width * image.height)));
  const canvas = new OffscreenCanvas(Math.round(image.width * scale), Math.round(image.height * scale));
  const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  return {
    name: file.name,
    bytes: new Uint8Array(await blob.arrayBuffer()),
    scaled: `${file.name} is large: it was scaled down to ${canvas.width} x ${canvas.height} pixels.`,
  };
}

export function download(bytes: Uint8Array, name: string, format: string): void {
  const address = URL.createObjectURL(new Blob([bytes.slice()], { type: format }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has begun the download by then; a link that stays would keep the file in memory.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function decodePicture(bytes: Uint8Array, format: string): Promise<ImageBitmap> {
  return createImageBitmap(new Blob([bytes.slice()], { type: format }));
}

/** The first picture among dropped or pasted things. */
export function pictureIn(transfer: DataTransfer | null): File | null {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}
