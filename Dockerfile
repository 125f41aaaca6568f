# docker build --tag unroll . && docker run --rm --publish 3000:3000 --read-only --cap-drop ALL --stop-timeout 75 unroll
ARG NODE_IMAGE=node:26-bookworm-slim

# Both installs depend on the two package files alone, so they stay cached while only the source changes.
# No package needs its install script here, so none may run one.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npm run build

FROM ${NODE_IMAGE} AS production
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund --omit=dev

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="Unroll" \
      org.opencontainers.image.description="Recurrent networks over HTTP, forwards and backwards" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000
WORKDIR /app
# What changes least comes first. All of it belongs to root: the service can read it, not change it.
COPY --from=production /app/node_modules node_modules
COPY package.json LICENSE ./
COPY --from=build /app/dist dist
# The image's user `node`, as a number: Kubernetes' runAsNonRoot cannot look names up.
USER 1000:1000
EXPOSE 3000
# Ready rather than live: Docker has one state of health, and others wait for it (`depends_on`) or send requests by it.
# Exits with 1 when nothing answers too: a rejected promise that nobody handles ends node so.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`).then(({ ok }) => process.exit(ok ? 0 : 1))"]
# Without a shell or npm in between: node is process 1 and gets SIGTERM itself.
CMD ["node", "--enable-source-maps", "dist/main.js"]
