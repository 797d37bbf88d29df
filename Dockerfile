# Production image: no embedded engine; the service uses the TimescaleDB server in DATABASE_URL.

FROM python:3.13.15-slim-trixie AS base


# Scripts of /docs, /redoc and /dashboard, pinned by npm's lock file. Node and npm stay in this stage.
FROM node:24.19.0-trixie-slim AS pages
WORKDIR /pages
COPY src/market_data/embedded/node/package.json src/market_data/embedded/node/package-lock.json src/market_data/embedded/node/.npmrc ./
RUN npm ci --ignore-scripts


# Virtual environment with the service and its dependencies. `exclude-newer` of pyproject.toml pins the versions: the same as
# in the tests, because the development tools are resolved with them, though not installed.
FROM base AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PROJECT_ENVIRONMENT=/opt/venv UV_PYTHON_DOWNLOADS=never
WORKDIR /build
# Further extras: `docker compose build --build-arg EXTRAS="--extra mcp --extra tracing"`.
ARG EXTRAS=""
# Dependencies first: a change of the code alone then downloads only the build backend.
COPY pyproject.toml ./
RUN uv sync --no-default-groups --no-install-project $EXTRAS
COPY README.md alembic.ini ./
COPY alembic alembic
COPY src src
# Files of a checkout with a strict umask must be readable by the user of the image.
RUN chmod -R u=rwX,go=rX alembic.ini alembic src \
    && uv sync --no-default-groups --no-editable $EXTRAS \
    && install -d -m 0700 keys


FROM base AS service
# Files belong to root, and the service runs as another user: it can't change its own code.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 DOCS_ASSETS=/opt/pages LISTEN_HOST=0.0.0.0
COPY --from=pages \
    /pages/node_modules/swagger-ui-dist/swagger-ui-bundle.js \
    /pages/node_modules/swagger-ui-dist/swagger-ui-standalone-preset.js \
    /pages/node_modules/swagger-ui-dist/swagger-ui.css \
    /pages/node_modules/swagger-ui-dist/LICENSE \
    /pages/node_modules/swagger-ui-dist/NOTICE \
    /opt/pages/swagger-ui-dist/
COPY --from=pages /pages/node_modules/redoc/bundles/redoc.standalone.js /opt/pages/redoc/bundles/
COPY --from=pages /pages/node_modules/redoc/LICENSE /opt/pages/redoc/
COPY --from=pages \
    /pages/node_modules/lightweight-charts/dist/lightweight-charts.standalone.production.mjs \
    /opt/pages/lightweight-charts/dist/
COPY --from=pages /pages/node_modules/lightweight-charts/LICENSE /opt/pages/lightweight-charts/
COPY --from=build /opt/venv /opt/venv
# For manual use of `alembic`; the service migrates with the copy inside its package.
WORKDIR /app
COPY --from=build /build/alembic.ini ./
COPY --from=build /build/alembic alembic
# A volume on it keeps the private key of the transparency log, the one file that the service writes.
COPY --from=build --chown=10001:10001 /build/keys /var/lib/market-data
ENV LOG_KEY_FILE=/var/lib/market-data/log-key.pem
USER 10001:10001
EXPOSE 8000
# `http.client`, because `urllib` would use a proxy from the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-I", "-c", "import os; from http.client import HTTPConnection; connection = HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=4); connection.request('GET', '/health'); raise SystemExit(connection.getresponse().status != 200)"]
CMD ["market-data", "serve"]


# For backups and PgBouncer in Kubernetes: `docker build --target tools .`
FROM service AS tools
USER root
RUN apt-get update \
    && apt-get install -y --no-install-recommends pgbouncer postgresql-client-17 \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001


# Without a target, the service.
FROM service
