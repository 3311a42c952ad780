/** Decodes pictures and hands files to the user, by means of the browser. */

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

export async function decodePicture(bytes: Uint8Array, format: string): Promise<ImageBitmap> {
  // By way of a blob every picture goes through another process; for some browsers, and without https, that is the
  // only way there is.
  if (!("ImageDecoder" in window)) {
    return createImageBitmap(new Blob([bytes.slice()], { type: format }));
  }
  const decoder = new ImageDecoder({ data: bytes, type: format });
  try {
    const { image } = await decoder.decode();
    try {
      return await createImageBitmap(image);
    } finally {
      image.close();
    }
  } finally {
    decoder.close();
  }
}
