import { execFileSync } from 'node:child_process';

/** Workers and started services run what `npm run build` makes; the tests never run an old build. */
export default function build(): void {
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' });
}
