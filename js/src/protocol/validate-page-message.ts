/**
 * Checks messages to the kernel as strictly as the kernel does. Only the tests and the fake kernel use it, so it is not
 * in the widget's bundle.
 */

import {
  type Fields,
  fieldProblem,
  isBoolean,
  isCount,
  isEditId,
  isObject,
  isPage,
  isPositive,
  isRect,
  isReferenceSelection,
  isStrength,
  isString,
  lookUp,
  oneOf,
  type Test,
} from "./fields";
import { type CommandName, type PageMessage, type Rect, VERSION } from "./messages";

const pageFields: Record<PageMessage["type"], Record<string, Test>> = {
  hello: { version: oneOf(VERSION), page: isPage },
  stroke: {
    page: isPage,
    sequence: isPositive,
    stroke: isPositive,
    last: isBoolean,
    edit: isEditId,
    verb: oneOf("add", "remove", "restyle"),
    concept: isString,
    strength: isStrength,
    rect: isRect,
  },
  command: { page: isPage, sequence: isPositive, name: isString, arguments: isObject },
  ack: { page: isPage, frame: isPositive },
  cancel: { page: isPage },
  beat: { page: isPage },
  hidden: { page: isPage },
  samples: { page: isPage, concept: isString },
  refer: { page: isPage, name: isString },
  variants: { page: isPage, edit: isEditId },
  scenes: { page: isPage, first: isCount, count: (value) => isPositive(value) && (value as number) <= 48 },
};

const commandFields: Record<CommandName, Record<string, Test>> = {
  undo: {},
  redo: {},
  retune: { edit: isEditId },
  toggle: { edit: isEditId, enabled: isBoolean },
  delete: { edit: isEditId },
  move: { edit: isEditId, index: isCount },
  scene: {},
  open: { name: isString, fit: oneOf("crop", "pad") },
  blend: {},
  discover: {},
  faithful: { on: isBoolean },
  save: { what: oneOf("picture", "project"), where: oneOf("page", "kernel") },
};

const settings: Record<string, Test> = {
  strength: isStrength,
  units: oneOf(null, "low", "medium", "high"),
  target: oneOf("tuned", "quantile", "mean", "exemplar"),
  variant: isCount,
  reference: isReferenceSelection,
};

/** Whether there is at least one change, and all of them are known. */
function isEditChanges({ edit: _, ...changes }: Fields): boolean {
  const names = Object.keys(changes);
  return names.length > 0 && names.every((name) => lookUp(settings, name)?.(changes[name]));
}

/** Returns the error of a message to the kernel, or null. `bytes`: its buffer's length, null without one. */
export function pageProblem(message: unknown, bytes: number | null): string | null {
  if (!isObject(message)) return "The message is not an object.";
  const tests = lookUp(pageFields, message.type);
  if (!tests) return "The message's type is not known.";
  const wrong = fieldProblem(message, tests);
  if (wrong) return wrong;
  if (message.type === "stroke") {
    if (message.verb === "restyle" ? !isReferenceSelection(message.reference) : "reference" in message) {
      return "A restyle needs a valid reference, and nothing else has one.";
    }
    if ("drawn" in message && !isPositive(message.drawn)) return 'The field "drawn" is not valid.';
    const [, , width, height] = message.rect as Rect;
    const empty = width === 0 && height === 0;
    if ((width === 0 || height === 0) && !(empty && message.last)) return "The rectangle is empty.";
    return (bytes ?? 0) === width * height ? null : "The buffer's length is not width x height.";
  }
  if (message.type === "command") {
    const command = lookUp(commandFields, message.name);
    if (!command) return "The command's name is not known.";
    const misused = fieldProblem(message.arguments as Fields, command);
    if (misused) return misused;
    if (message.name === "retune" && !isEditChanges(message.arguments as Fields)) {
      return "The changes of the edit are not valid.";
    }
    const { index = 0 } = message.arguments as Fields;
    if (message.name === "scene" && !isCount(index)) return 'The field "index" is not valid.';
  }
  if (message.name === "open" || message.type === "refer") {
    return bytes ? null : "The buffer does not hold a file.";
  }
  return bytes ? "This message must not carry a buffer." : null;
}
