/** The text that both writers must give a double, made from what JavaScript writes. */
export function written(value: number): string {
  const text = Object.is(value, -0) ? '-0' : String(value);
  const [, sign, digits] = /^(-?)(\d+)$/.exec(text) ?? [];
  if (digits === undefined) return text;
  if (digits.length <= 16) return `${text}.0`;
  const [first, others] = [digits[0], digits.slice(1).replace(/0+$/, '')];
  return `${sign}${first}${others && `.${others}`}e+${digits.length - 1}`;
}
