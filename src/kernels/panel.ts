/** What the kernels in assembly and their host must agree on: TypeScript and AssemblyScript both compile this file. */

/**
 * Bytes in the row of a panel, the form in which products walk through a matrix: four vectors side by side, which is as
 * many as stay in registers beside their factors. Arrays take whole rows.
 */
export const PANEL_BYTES = 64;
