/** Random letters and digits. `crypto.randomUUID` is missing on pages served without TLS, as many hubs are. */
export function randomId(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join("");
}
