# One image for the router and the two processes of Dagster. docker-compose.yml names their commands.
FROM python:3.12.12-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/intellirouter
COPY requirements.lock ./
RUN /opt/intellirouter/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY router router
COPY pipelines pipelines
COPY sql sql
COPY dagster_home dagster_home
RUN /opt/intellirouter/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12.12-slim-bookworm
RUN useradd --system --uid 10001 --user-group --home-dir /data intellirouter \
    && mkdir -p /data/dagster \
    && chown -R intellirouter:intellirouter /data
COPY --from=build /opt/intellirouter /opt/intellirouter
COPY --chown=intellirouter:intellirouter dagster_home/dagster.yaml /data/dagster/dagster.yaml
COPY dagster_home/workspace.yaml /etc/intellirouter/workspace.yaml
ENV PATH=/opt/intellirouter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    INTELLIROUTER_HOME=/data \
    INTELLIROUTER_HOST=0.0.0.0 \
    DAGSTER_HOME=/data/dagster
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
CMD ["intellirouter", "serve"]
