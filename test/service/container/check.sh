#!/usr/bin/env bash
# Builds the image and runs it for real, as strictly as a deployment may: read-only root file system, no capabilities,
# no new privileges, its own process and network namespaces. User, environment and commands are the image's own.
#
#   test/service/container/check.sh [NODE_IMAGE]      (default: $NODE_IMAGE, or localhost/node:26-bookworm-slim)
#
# No container engine is needed: buildah builds, runc runs. A local default image that is missing is made by
# ../shared/tools/stand-in-node-image.sh where that exists. What is missing skips the check, but fails it in CI.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
stand_in=$root/../shared/tools/stand-in-node-image.sh
base=${1:-${NODE_IMAGE:-localhost/node:26-bookworm-slim}}
name=unroll-check-$$
image=localhost/$name

buildah() { command buildah --storage-driver vfs "$@"; }
runc() { command runc --root "$work/runc" "$@"; }
# Runs a command in the container, as the image's user.
inside() { runc exec "$name" "$@"; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

skip() {
  if [[ ${CI:-} == true ]]; then
    echo "container: cannot be checked: $1" >&2
    exit 1
  fi
  echo "container: skipped: $1"
  exit 0
}

((EUID == 0)) || skip 'needs root'
for tool in buildah runc node; do
  type -P "$tool" >/dev/null || skip "needs $tool"
done
if [[ $base == localhost/* ]] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  [[ -f $stand_in ]] || skip "there is no image $base; name another, such as docker.io/library/node:26-bookworm-slim"
  bash "$stand_in" 26 "$base"
fi

work=$(mktemp -d)
cleanup() {
  runc delete --force "$name" || true
  buildah rm "$name" || true
  buildah rmi "$image" || true
  rm -rf "$work"
} >/dev/null 2>&1
trap cleanup EXIT

passed=0
failed=0
# check CLAIM COMMAND…: runs the command, and prints the claim with what the command had to say.
check() {
  local claim=$1 verdict=ok said
  shift
  # Not in a subshell, which could not wait for the container.
  if "$@" >"$work/said" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)) verdict=FAILED; fi
  said=$(<"$work/said")
  printf '%-7s %s\n' "$verdict" "$claim${said:+: $said}"
}

# --- Build. The format is Docker's because OCI's has no HEALTHCHECK.
begun=$(milliseconds)
buildah bud --isolation chroot --format docker --build-arg NODE_IMAGE="$base" --tag "$image" "$root" \
  >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }
size=$(buildah images --format '{{.Size}}' "$image")
echo "built on $base in $((($(milliseconds) - begun) / 1000)) s: $size"

# --- Run: runc's own default configuration, with what the image says filled in.
buildah from --name "$name" "$image" >/dev/null
rootfs=$(buildah mount "$name")
buildah inspect --type image "$image" >"$work/image.json"
runc spec --bundle "$work"
node - "$work" "$rootfs" <<'JS'
const fs = require('node:fs');
const [work, rootfs] = process.argv.slice(2);
const image = JSON.parse(fs.readFileSync(`${work}/image.json`)).Docker.config;
const bundle = JSON.parse(fs.readFileSync(`${work}/config.json`));
if (!/^[1-9]\d*:[1-9]\d*$/.test(image.User)) throw new Error(`USER is ${image.User}, not the numbers of an ordinary user`);
const [uid, gid] = image.User.split(':').map(Number);
Object.assign(bundle.process, {
  terminal: false,
  user: { uid, gid },
  args: [...(image.Entrypoint ?? []), ...image.Cmd],
  env: image.Env,
  cwd: image.WorkingDir,
  capabilities: {},
  noNewPrivileges: true,
});
bundle.root = { path: rootfs, readonly: true };
fs.writeFileSync(`${work}/config.json`, JSON.stringify(bundle));
const [form, ...command] = image.Healthcheck?.Test ?? [];
if (form !== 'CMD') throw new Error('HEALTHCHECK is missing or needs a shell');
fs.writeFileSync(`${work}/health`, command.join('\0'));
JS
mapfile -d '' -t health <"$work/health"

begun=$(milliseconds)
runc run --bundle "$work" "$name" </dev/null >"$work/container.log" 2>&1 &
job=$!

# --- Check.
becomes_healthy() {
  local deadline=$((begun + 30000))
  until inside "${health[@]}" 2>"$work/health.log"; do
    if (($(milliseconds) > deadline)) || ! kill -0 "$job" 2>/dev/null; then
      cat "$work/health.log"
      return 1
    fi
    sleep 0.1
  done
  echo "$(($(milliseconds) - begun)) ms after the start"
}
tells_the_unhealthy() { ! runc exec --env PORT=1 "$name" "${health[@]}" 2>/dev/null; }

# The request is the document's own example; its shapes say what the answer's must be.
answers() {
  inside node --input-type=module - <<'JS'
const ask = async (path, init) => {
  const answer = await fetch(`http://127.0.0.1:${process.env.PORT}${path}`, init);
  if (answer.status !== 200) throw new Error(`${path} answers ${answer.status}: ${await answer.text()}`);
  return answer.json();
};
const shape = (tensor) => (Array.isArray(tensor) ? [tensor.length, ...shape(tensor[0])] : []);
const path = '/v1/lstm/forward';
const request = (await ask('/openapi.json')).paths[path].post.requestBody.content['application/json'].examples['from inputs'].value;
const body = JSON.stringify(request);
const answer = await ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
const [, m, T_x] = shape(request.x);
const { Wf, Wy } = request.parameters;
const expected = { a: [Wf.length, m, T_x], c: [Wf.length, m, T_x], y: [Wy.length, m, T_x] };
for (const [name, wanted] of Object.entries(expected)) {
  const found = shape(answer[name]);
  if (String(found) !== String(wanted)) throw new Error(`${name} has shape (${found}), not (${wanted})`);
}
// Pages come out of files of the image.
for (const path of ['/', '/docs', '/docs/static/swagger-ui-bundle.js']) {
  const { status, headers } = await fetch(`http://127.0.0.1:${process.env.PORT}${path}`, { headers: { accept: 'text/*' } });
  if (status !== 200 || !headers.get('content-type').startsWith('text/')) throw new Error(`${path} answers ${status}`);
}
console.log(Object.entries(expected).map(([name, dims]) => `${name} (${dims.join(', ')})`).join(', '));
JS
}

is_confined() {
  inside node --input-type=module - <<'JS'
import fs from 'node:fs';
const [command] = fs.readFileSync('/proc/1/cmdline', 'utf8').split('\0');
if (command !== 'node') throw new Error(`process 1 is ${command}`);
const status = fs.readFileSync('/proc/1/status', 'utf8');
const wanted = { Uid: '1000', Gid: '1000', CapPrm: '0', CapEff: '0', CapBnd: '0', CapAmb: '0', NoNewPrivs: '1' };
for (const [name, value] of Object.entries(wanted)) {
  const found = status.match(RegExp(`^${name}:\\s+(.*)$`, 'm'))[1];
  if (found.split('\t').some((part) => part.replace(/^0+(?=.)/, '') !== value)) throw new Error(`${name} is ${found}`);
}
console.log(process.version);
JS
}

# /tmp is everyone's to write: only the read-only file system can refuse it.
is_read_only() {
  inside node --input-type=module - <<'JS'
import fs from 'node:fs';
for (const folder of ['/tmp', '/app', process.env.HOME]) {
  try {
    fs.writeFileSync(`${folder}/written`, '');
  } catch (error) {
    if (error.code === 'EROFS') continue;
    throw error;
  }
  throw new Error(`${folder} can be written`);
}
JS
}

# As the lock file has it: no development package, and of the others all but those for other platforms.
has_production_packages() {
  node - "$root" "$rootfs" <<'JS'
const fs = require('node:fs');
const [root, rootfs] = process.argv.slice(2);
const { packages } = JSON.parse(fs.readFileSync(`${root}/package-lock.json`));
let found = 0;
for (const [path, { dev, optional }] of Object.entries(packages)) {
  if (path === '') continue;
  const there = fs.existsSync(`${rootfs}/app/${path}`);
  if (there) found++;
  if (there && dev) throw new Error(`${path} is for development`);
  if (!there && !dev && !optional) throw new Error(`${path} is missing`);
}
console.log(`${found} packages`);
JS
}

has_nothing_else() {
  local found
  found=$(find "$rootfs/app" -mindepth 1 -maxdepth 1 -printf '%f\n' | LC_ALL=C sort | paste -sd ' ')
  echo "$found"
  [[ $found == 'LICENSE dist node_modules package.json' ]] &&
    [[ -z $(find "$rootfs/app/dist" -name '*.ts' -o -name '*test*') ]]
}

stops() {
  local begun code=0
  begun=$(milliseconds)
  runc kill "$name" TERM
  timeout 10 tail --pid="$job" --sleep-interval=0.01 --follow /dev/null || { echo 'still runs after 10 s'; return 1; }
  wait "$job" || code=$?
  echo "exit code $code after $(($(milliseconds) - begun)) ms"
  ((code == 0))
}

check 'HEALTHCHECK succeeds' becomes_healthy
check 'HEALTHCHECK fails when nothing answers' tells_the_unhealthy
check 'POST /v1/lstm/forward answers 200' answers
check 'process 1 is node, without root, capabilities and new privileges' is_confined
check 'the root file system is read-only' is_read_only
check 'packages for production only' has_production_packages
check 'no sources, no tests' has_nothing_else
check 'SIGTERM ends it' stops

if ((failed > 0)); then
  echo "--- log of the container"
  cat "$work/container.log"
fi
echo "container: $passed passed, $failed failed"
((failed == 0))
