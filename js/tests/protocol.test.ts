import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isSessionState, kernelProblem } from "../src/protocol/validate-kernel-message";
import { pageProblem } from "../src/protocol/validate-page-message";

interface Fixture {
  name: string;
  direction: "page" | "kernel";
  valid: boolean;
  message: unknown;
  buffer: number | null;
}

const fixtures = JSON.parse(readFileSync("tests/fixtures/protocol.json", "utf8")) as Fixture[];

test("the fixtures cover every type and command in both judgments", () => {
  assert.equal(new Set(fixtures.map(({ name }) => name)).size, fixtures.length);
  for (const direction of ["page", "kernel"]) {
    for (const valid of [true, false]) {
      assert.ok(fixtures.filter((each) => each.direction === direction && each.valid === valid).length > 8);
    }
  }
});

for (const { name, direction, valid, message, buffer } of fixtures) {
  test(`${direction}: ${name} is ${valid ? "valid" : "refused"}`, () => {
    const problem = (direction === "page" ? pageProblem : kernelProblem)(message, buffer);
    assert.equal(problem === null, valid, problem ?? "no problem was found");
  });
}

test("numbers that JSON cannot write are refused too", () => {
  const stroke = fixtures.find(({ name }) => name === "stroke of one pixel")?.message as object;
  assert.equal(pageProblem(stroke, 1), null);
  for (const strength of [Number.NaN, Number.POSITIVE_INFINITY, undefined]) {
    assert.notEqual(pageProblem({ ...stroke, strength }, 1), null);
  }
});

test("a state that was never written is none", () => {
  assert.equal(isSessionState({}), false);
  assert.equal(isSessionState(null), false);
});
