/** Checks of single fields, which both directions of the protocol share. */

import { STRENGTH_MAX } from "./messages";

export type Fields = Record<string, unknown>;
export type Test = (value: unknown) => boolean;

export const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const isString: Test = (value) => typeof value === "string";
export const isBoolean: Test = (value) => typeof value === "boolean";
export const isNumber: Test = (value) => typeof value === "number" && Number.isFinite(value);
export const isCount: Test = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
export const isPositive: Test = (value) => isCount(value) && value !== 0;
export const isPage: Test = (value) => typeof value === "string" && /^[A-Za-z0-9-]{8,64}$/.test(value);
export const isEditId: Test = (value) => typeof value === "string" && /^[A-Za-z0-9-]{1,32}$/.test(value);
export const isFraction: Test = (value) =>
  isNumber(value) && (value as number) >= 0 && (value as number) <= 1;
export const isStrength: Test = (value) =>
  isNumber(value) && (value as number) >= 0 && (value as number) <= STRENGTH_MAX;
export const isRect: Test = (value) => Array.isArray(value) && value.length === 4 && value.every(isCount);
export const isCovers: Test = (value) =>
  isObject(value) && Object.entries(value).every(([page, sequence]) => isPage(page) && isCount(sequence));
export const isReferenceSelection: Test = (value) =>
  isObject(value) &&
  Object.keys(value).length === 2 &&
  typeof value.key === "string" &&
  /^(s\d{1,10}|p[0-9a-f]{40})$/.test(value.key) &&
  "region" in value &&
  orNull(isRect)(value.region);
export const oneOf =
  (...choices: unknown[]): Test =>
  (value) =>
    choices.includes(value);
export const orNull =
  (test: Test): Test =>
  (value) =>
    value === null || test(value);

/** Returns a sentence about the first missing or wrong field; null if there is none. */
export function fieldProblem(fields: Fields, tests: Record<string, Test>): string | null {
  for (const [name, test] of Object.entries(tests)) {
    if (!(name in fields)) return `The field "${name}" is missing.`;
    if (!test(fields[name])) return `The field "${name}" is not valid.`;
  }
  return null;
}

/** Reads own properties only, so that a message of type "constructor" does not find Object's. */
export function lookUp<T>(table: Record<string, T>, key: unknown): T | undefined {
  return typeof key === "string" && Object.hasOwn(table, key) ? table[key] : undefined;
}
