/** The memory of all arrays of numbers and bytes in a value, to be moved to another thread. It must be the value's own. */
export function buffersIn(value: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  const collect = (one: unknown): void => {
    if (typeof one !== 'object' || one === null) return;
    if (ArrayBuffer.isView(one)) found.add(one.buffer as ArrayBuffer);
    else for (const inner of Object.values(one)) collect(inner);
  };
  collect(value);
  return [...found];
}
