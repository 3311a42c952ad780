/**
 * The anywidget adapter, which carries messages and traits between the widget's model and the editor. Each model has
 * one copy of the session in the page, which all its views share, because frames and sequences are counted per page.
 */

import { decodePicture, download } from "./browser/pictures";
import { createUndeliveredStore } from "./browser/undelivered-db";
import type { HostKernelStatus } from "./core/host";
import { randomId } from "./core/random-id";
import { EditorSession } from "./core/session";
import type { SyncedState } from "./core/state-sync";
import { createEditor } from "./editor/editor";

/** The part of anywidget's model that this file uses. The types of its values are checked. */
interface Model {
  get(name: string): unknown;
  on(event: string, callback: (...values: unknown[]) => void): void;
  off(event: string, callback: (...values: unknown[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBufferView[]): void;
  /** The widget managers of JupyterLab and Notebook have the kernel's connection. Those of other hosts may not. */
  widget_manager?: { kernel?: { status?: string; connectionStatus?: string } | null };
}

/** Milliseconds between two checks of the kernel. */
const BEAT = 1000;

function kernelStatus(model: Model): HostKernelStatus | null {
  const kernel = model.widget_manager?.kernel;
  if (!kernel?.status) {
    // In an exported notebook, models have no comms. The widget's own comm is not visible here, but its layout's is.
    const layout = model.get("layout") as { comm_live?: boolean } | null | undefined;
    return layout?.comm_live === false ? "none" : null;
  }
  if (/dead|terminating|restarting/.test(kernel.status)) return "dead";
  if (kernel.connectionStatus !== undefined && kernel.connectionStatus !== "connected") return "unreachable";
  return kernel.status === "busy" ? "busy" : "idle";
}

const TRAITS = ["_state", "_masks", "_photo", "_reconstruction", "_preview", "_result", "_segments"];

/** Returns the bytes of a trait or buffer, since a DataView is often a window onto a whole message. */
function bytesOf(value: unknown): Uint8Array | null {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (!ArrayBuffer.isView(value)) return null;
  return new Uint8Array(value.buffer as ArrayBuffer, value.byteOffset, value.byteLength);
}

/** Returns the same bytes object for the same view, so that the page can recognize unchanged data. */
function remembering(): (value: unknown) => Uint8Array | null {
  const known = new WeakMap<object, Uint8Array>();
  return (value) => {
    if (typeof value !== "object" || value === null) return null;
    const bytes = known.get(value) ?? bytesOf(value);
    if (bytes) known.set(value, bytes);
    return bytes;
  };
}

function readTraits(model: Model, bytes: (value: unknown) => Uint8Array | null): SyncedState {
  const masks: Record<string, Uint8Array> = {};
  for (const [id, value] of Object.entries((model.get("_masks") ?? {}) as Record<string, unknown>)) {
    const mask = bytes(value);
    if (mask) masks[id] = mask;
  }
  return {
    state: model.get("_state"),
    masks,
    pictures: {
      photo: bytes(model.get("_photo")),
      reconstruction: bytes(model.get("_reconstruction")),
      preview: bytes(model.get("_preview")),
      result: bytes(model.get("_result")),
    },
    labels: bytes(model.get("_segments")),
  };
}

export default () => {
  let session: EditorSession<ImageBitmap> | null = null;

  return {
    // This returns at once, because anywidget holds back the widget's messages while it runs.
    initialize({ model }: { model: Model }) {
      const created = new EditorSession<ImageBitmap>(randomId(32), {
        send: (message, buffer) => model.send(message, undefined, buffer ? [buffer] : []),
        decode: decodePicture,
        release: (image) => image.close(),
        onNextFrame: (step) => requestAnimationFrame(step),
        download,
        undelivered: createUndeliveredStore(),
        kernelStatus: () => kernelStatus(model),
      });
      session = created;

      const bytes = remembering();
      let reading = false;
      const traitsChanged = (): void => {
        // One update changes several traits with one event each. They belong together.
        if (reading) return;
        reading = true;
        queueMicrotask(() => {
          reading = false;
          void created.sync(readTraits(model, bytes));
        });
      };
      const receive = (message: unknown, buffers: unknown): void => {
        created.receive(message, Array.isArray(buffers) ? bytesOf(buffers[0]) : null);
      };
      model.on("msg:custom", receive);
      for (const trait of TRAITS) model.on(`change:${trait}`, traitsChanged);
      traitsChanged();
      created.outbox.hello();
      const visibilityChanged = (): void => created.outbox.setVisible(!document.hidden);
      document.addEventListener("visibilitychange", visibilityChanged);
      visibilityChanged();
      created.beat(performance.now());
      const timer = setInterval(() => created.beat(performance.now()), BEAT);

      return () => {
        clearInterval(timer);
        document.removeEventListener("visibilitychange", visibilityChanged);
        model.off("msg:custom", receive);
        for (const trait of TRAITS) model.off(`change:${trait}`, traitsChanged);
        created.dispose();
      };
    },

    render({ el }: { model: Model; el: HTMLElement }) {
      if (!session) throw new Error("ganpaint: rendered before it was initialized");
      const editor = createEditor(el, session);
      return () => editor.destroy();
    },
  };
};
