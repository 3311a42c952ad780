/** The page's needs of the browser and of the notebook around it. Tests replace it. */

import type { Transmit } from "./outbox";
import type { UndeliveredStore } from "./undelivered";

export interface Host<Image> {
  send: Transmit;
  decode(bytes: Uint8Array, format: string): Promise<Image>;
  /** Frees what a decoded picture holds. */
  release(image: Image): void;
  /** Runs the step before the next animation frame. */
  onNextFrame(step: () => void): void;
  download(bytes: Uint8Array, name: string, format: string): void;
  /** Keeps undelivered messages beyond the page's end, where the browser has a place for them. */
  undelivered?: UndeliveredStore | undefined;
  /** The kernel's status as the notebook knows it; null if the notebook tells nothing. */
  kernelStatus?(): HostKernelStatus | null;
}

export type HostKernelStatus = "idle" | "busy" | "dead" | "unreachable" | "none";
