/** Decodes pictures and downloads files, with the functions of the browser. */

export function download(bytes: Uint8Array, name: string, format: string): void {
  const address = URL.createObjectURL(new Blob([bytes.slice()], { type: format }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has begun the download by then. The link would keep the file in memory.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export async function decodePicture(bytes: Uint8Array, format: string): Promise<ImageBitmap> {
  // A blob sends every picture through another process. Some browsers, and pages without https, have no other way.
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
