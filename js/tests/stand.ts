/** A session whose host and kernel tests lead by hand; `fresh` puts a new one in its place. */

import type { HostKernelStatus } from "../src/core/host";
import type { Undelivered } from "../src/core/outbox";
import { EditorSession } from "../src/core/session";
import type { SyncedState } from "../src/core/state-sync";
import type { SessionState } from "../src/protocol/state";
import { ID, NONE, SIZE, state, TestHost } from "./support";

/** All that is decoded here is decoded at once; by the next turn of the loop its promises have been kept. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
export const TREE = { edit: null, verb: "add", concept: "tree", strength: 1, erase: false } as const;
export const dab = (x: number, y: number, radius = 2) => ({ x, y, radius });

export let host: TestHost;
export let session: EditorSession<string>;
export let store: Map<string, { journal: string; undelivered: readonly Undelivered[] }>;
/** The ids that the session holds. */
export let held: Set<string>;
let kernel: HostKernelStatus | null;

export const tick = () => host.tick();
export const strokes = () => host.sent.flatMap(({ message }) => (message.type === "stroke" ? [message] : []));
export const rest = async (
  value: SessionState,
  masks: SyncedState["masks"] = {},
  pictures: Partial<SyncedState["pictures"]> = {},
) => {
  await session.sync({ state: value, masks, pictures: { ...NONE, ...pictures }, labels: null });
};
export const accept = (sequence: number) =>
  session.receive({ type: "accepted", page: ID, sequence, revision: sequence }, null);
export const frame = (number: number, revision: number, covers: number, name: string) =>
  session.receive(
    {
      type: "frame",
      frame: number,
      picture: "preview",
      revision,
      covers: { [ID]: covers },
      width: SIZE,
      height: SIZE,
      format: "image/jpeg",
    },
    new TextEncoder().encode(name),
  );

export async function fresh(): Promise<void> {
  store = new Map();
  held = new Set();
  kernel = null;
  host = new TestHost();
  session = new EditorSession<string>(ID, {
    ...host,
    decode: host.decode,
    download: (bytes, name) => host.download(bytes, name),
    kernelStatus: () => kernel,
    undelivered: {
      save: (journal, name, undelivered) => store.set(name, { journal, undelivered: [...undelivered] }),
      remove: (name) => store.delete(name),
      hold: async (name) => void held.add(name),
      release: () => held.clear(),
      close: () => {},
      find: async (journals) =>
        [...store]
          .filter(([, { journal }]) => journals.includes(journal))
          .map(([name, { undelivered }]) => ({ page: name, undelivered: [...undelivered] })),
    },
  });
  session.receive({ type: "welcome", version: 1, page: ID, sequence: 0, revision: 0 }, null);
  await rest(state());
}

/** What the host says of the kernel from now on. */
export function hostSays(status: HostKernelStatus | null): void {
  kernel = status;
}
