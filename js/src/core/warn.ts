/** Tells the browser's console what went wrong, for those who look for a cause. */
export const warn = (text: string, ...details: unknown[]): void =>
  console.warn(`ganpaint: ${text}`, ...details);
