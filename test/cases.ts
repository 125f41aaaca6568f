/** How many random cases a property is tried with: all where ALL_CASES is set, as `npm run test:service` does; else a quarter. */
export const cases = (all: number): number => (process.env.ALL_CASES ? all : Math.ceil(all / 4));
