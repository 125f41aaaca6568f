import type { Reporter, TestCase } from 'vitest/node';

/** Says at the end of a run which tests passed only when they were tried again. */
export class Retries implements Reporter {
  readonly #retried: string[] = [];

  onTestCaseResult(test: TestCase): void {
    const { retryCount = 0 } = test.diagnostic() ?? {};
    if (retryCount > 0)
      this.#retried.push(`${test.module.relativeModuleId}: ${test.fullName} (${test.result().state})`);
  }

  onTestRunEnd(): void {
    console.info(`Tests that were tried again: ${this.#retried.length}`);
    for (const test of this.#retried) console.info(`  ${test}`);
  }
}
