/** Are all eight bytes of a word digits? (Daniel Lemire, "Quickly parsing eight digits", 2018) */
// @ts-expect-error: decorator
@inline
export function areEightDigits(word: u64): bool {
  const high = word & 0xf0f0f0f0f0f0f0f0;
  const carried = ((word + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) >> 4;
  return (high | carried) == 0x3333333333333333;
}

/** The value of eight digits, of which the first is in the lowest byte. */
// @ts-expect-error: decorator
@inline
export function eightDigits(word: u64): u64 {
  let x = word - 0x3030303030303030;
  x = x * 10 + (x >> 8); // pairs of digits
  const mask: u64 = 0x000000ff000000ff;
  return <u64><u32>(((x & mask) * 0x000f424000000064 + ((x >> 16) & mask) * 0x0000271000000001) >> 32);
}

/** Are there only zeros, and perhaps a point, between two addresses? */
export function areZeros(from: usize, to: usize): bool {
  for (let p = from; p < to; p++) {
    if (load<u8>(p) != 0x30 && load<u8>(p) != 0x2e) return false;
  }
  return true;
}
