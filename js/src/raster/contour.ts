/** The outline of a mask: marching squares at half coverage, so that it stays sharp at any zoom. Pure. */

/** Returns segments x0, y0, x1, y1, ... in picture pixels where the mask crosses `level`. It is 0 outside. */
export function contour(values: Uint8Array, width: number, height: number, level = 127.5): number[] {
  const at = (x: number, y: number): number =>
    x < 0 || y < 0 || x >= width || y >= height ? 0 : (values[y * width + x] as number);
  const segments: number[] = [];
  // A cell has the centers of four neighboring pixels as its corners; the value is linear along its sides.
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const a = at(x, y);
      const b = at(x + 1, y);
      const c = at(x + 1, y + 1);
      const d = at(x, y + 1);
      const corners = (a > level ? 1 : 0) | (b > level ? 2 : 0) | (c > level ? 4 : 0) | (d > level ? 8 : 0);
      if (corners === 0 || corners === 15) continue;
      const cut = (from: number, to: number): number => (level - from) / (to - from);
      const north = (): [number, number] => [x + 0.5 + cut(a, b), y + 0.5];
      const east = (): [number, number] => [x + 1.5, y + 0.5 + cut(b, c)];
      const south = (): [number, number] => [x + 0.5 + cut(d, c), y + 1.5];
      const west = (): [number, number] => [x + 0.5, y + 0.5 + cut(a, d)];
      const join = (p: [number, number], q: [number, number]): void => {
        segments.push(p[0], p[1], q[0], q[1]);
      };
      // Opposite inner corners (5 and 10) stay apart, so that a single pixel has its own ring.
      if (corners === 1 || corners === 14) join(west(), north());
      else if (corners === 2 || corners === 13) join(north(), east());
      else if (corners === 4 || corners === 11) join(east(), south());
      else if (corners === 8 || corners === 7) join(south(), west());
      else if (corners === 3 || corners === 12) join(west(), east());
      else if (corners === 6 || corners === 9) join(north(), south());
      else if (corners === 5) {
        join(west(), north());
        join(east(), south());
      } else {
        join(north(), east());
        join(south(), west());
      }
    }
  }
  return segments;
}
