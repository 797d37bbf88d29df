# The service, for production: without the embedded engine, on the TimescaleDB server that DATABASE_URL names.

FROM python:3.13.15-slim-trixie AS base


# The scripts of /docs, /redoc and /dashboard, as npm's lock file holds them. Neither Node nor npm leave this stage.
FROM node:24.19.0-trixie-slim AS pages
WORKDIR /pages
COPY src/market_data/embedded/node/package.json src/market_data/embedded/node/package-lock.json src/market_data/embedded/node/.npmrc ./
RUN npm ci --ignore-scripts


# A virtual environment with the service and what it needs, in the versions that `exclude-newer` of pyproject.toml leads
# to: those which the tests run with, for the development tools are resolved along with them, though not installed.
FROM base AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1 UV_PROJECT_ENVIRONMENT=/opt/venv UV_PYTHON_DOWNLOADS=never
WORKDIR /build
# First what changes seldom, so that a change of the code alone downloads nothing but the build backend.
COPY pyproject.toml ./
RUN uv sync --no-default-groups --no-install-project
COPY README.md alembic.ini ./
COPY alembic alembic
COPY src src
# A checkout made under a strict umask must not end up unreadable to the user of the image.
RUN chmod -R u=rwX,go=rX alembic.ini alembic src \
    && uv sync --no-default-groups --no-editable


FROM base
# The files belong to root, who is not the user below: the service can't change its own code.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 DOCS_ASSETS=/opt/pages
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
# For `alembic` by hand; the service itself migrates with the copy inside its package.
WORKDIR /app
COPY --from=build /build/alembic.ini ./
COPY --from=build /build/alembic alembic
USER 10001:10001
EXPOSE 8000
# `http.client` and not `urllib`, which would go through a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-I", "-c", "from http.client import HTTPConnection; connection = HTTPConnection('127.0.0.1', 8000, timeout=4); connection.request('GET', '/health'); raise SystemExit(connection.getresponse().status != 200)"]
CMD ["market-data", "serve", "--host", "0.0.0.0", "--port", "8000"]
