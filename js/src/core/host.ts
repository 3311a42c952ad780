/** What the page needs from the browser and the notebook around it. Tests replace it. */

import type { Transmit } from "./outbox";
import type { UndeliveredStore } from "./undelivered";

export interface Host<Image> {
  send: Transmit;
  decode(bytes: Uint8Array, format: string): Promise<Image>;
  /** Frees the memory of a decoded picture. */
  release(image: Image): void;
  /** Runs the step before the next animation frame. */
  onNextFrame(step: () => void): void;
  download(bytes: Uint8Array, name: string, format: string): void;
  /** Keeps undelivered messages beyond the page's end, if the browser has storage for them. */
  undelivered?: UndeliveredStore | undefined;
  /** The kernel's status according to the notebook; null if the notebook does not tell. */
  kernelStatus?(): HostKernelStatus | null;
}

export type HostKernelStatus = "idle" | "busy" | "dead" | "unreachable" | "none";
