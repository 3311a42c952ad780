/** Checks the kernel's messages and state, and explains errors in a sentence. */

import {
  fieldProblem,
  isCount,
  isCovers,
  isEditId,
  isFraction,
  isNumber,
  isObject,
  isPage,
  isPositive,
  isString,
  lookUp,
  oneOf,
  orNull,
  type Test,
} from "./fields";
import { type KernelMessage, VERSION } from "./messages";
import type { SessionState } from "./state";

const answer = { page: isPage, sequence: isCount, revision: isCount };

const kernelFields: Record<KernelMessage["type"], Record<string, Test>> = {
  welcome: { version: oneOf(VERSION), ...answer },
  accepted: answer,
  alive: answer,
  frame: {
    frame: isPositive,
    picture: oneOf("preview", "result"),
    revision: isCount,
    covers: isCovers,
    width: isPositive,
    height: isPositive,
    format: oneOf("image/jpeg", "image/png"),
  },
  progress: {
    job: oneOf("blend", "open", "discover"),
    fraction: isFraction,
    seconds_left: orNull((value) => isNumber(value) && (value as number) >= 0),
    decibel: orNull(isNumber),
  },
  notice: { level: oneOf("info", "warning"), text: isString },
  error: { page: orNull(isPage), sequence: orNull(isCount), what: isString, mend: isString },
  file: { page: isPage, name: isString, format: isString },
  references: { page: isPage, concept: isString, entries: Array.isArray },
  variants: { page: isPage, edit: isEditId, variants: Array.isArray },
  scenes: { page: isPage, first: isCount, total: isPositive, titles: Array.isArray },
};

/** Messages with a buffer. */
const CARRIERS = ["frame", "file", "references", "variants", "scenes"];

/** Returns the error of a message from the kernel, or null. */
export function kernelProblem(message: unknown, bytes: number | null): string | null {
  if (!isObject(message)) return "The message is not an object.";
  const tests = lookUp(kernelFields, message.type);
  if (!tests) return "The message's type is not known.";
  const wrong = fieldProblem(message, tests);
  if (wrong) return wrong;
  if (CARRIERS.includes(message.type as string)) return bytes ? null : "The buffer is missing.";
  return bytes ? "This message carries no buffer." : null;
}

/** A state that the kernel has written: an empty object until it has written one. */
export function isSessionState(value: unknown): value is SessionState {
  return (
    isObject(value) &&
    isCount(value.revision) &&
    isCovers(value.covers) &&
    isPositive(value.width) &&
    isPositive(value.height) &&
    ["cells", "classes", "journal", "edits", "concepts"].every((name) => Array.isArray(value[name])) &&
    isObject(value.measures)
  );
}
