/** What a command was asked for; where that cannot be read, it says why, shows its help and ends with 1. */
export function argumentsOr<T>(help: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${help}`);
    process.exit(1);
  }
}
