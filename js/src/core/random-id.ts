/** Returns random letters and digits. Pages without TLS, such as those of many hubs, lack `crypto.randomUUID`. */
export function randomId(length: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => (byte % 36).toString(36)).join("");
}
