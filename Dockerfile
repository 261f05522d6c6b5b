# One image for both services of docker-compose.yml: `ovseg serve triton`, `ovseg serve gateway`.
# `--target gpu` adds TensorRT (deploy/compose/gpu.yml).

# --- all that pip and its caches leave behind stays in this stage ---------------------------------
FROM python:3.11.14-slim-bookworm AS build

WORKDIR /opt/ovseg
RUN python -m venv /opt/venv
COPY requirements-runtime.lock ./
RUN /opt/venv/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
    -r requirements-runtime.lock

COPY pyproject.toml README.md LICENSE ./
COPY ovseg ovseg
COPY gateway gateway
COPY client client
COPY model_repository model_repository
COPY weights weights
COPY examples examples
# Nothing can be compiled later: the containers' root is read-only.
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation -e . -e client \
    && /opt/venv/bin/python -m compileall -q .

# --- what runs ------------------------------------------------------------------------------------
FROM python:3.11.14-slim-bookworm AS cpu

# libgomp1: the threads of Paddle; all other libraries come with the wheels. Its version is that of
# the base image's Debian release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 ovseg \
    && install --directory --owner ovseg /models

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/ovseg /opt/ovseg

WORKDIR /opt/ovseg
USER 10001:10001
ENV PATH=/opt/venv/bin:$PATH OVSEG_HOST=0.0.0.0 OVSEG_MODEL_DIR=/models
VOLUME /models
ENTRYPOINT ["ovseg"]
CMD ["serve"]

# --- with a GPU: TensorRT, whose libraries come from pypi.nvidia.com ------------------------------
FROM cpu AS gpu
USER 0:0
RUN pip install --no-cache-dir --extra-index-url https://pypi.nvidia.com \
    tensorrt-cu13==11.4.0.106 cuda-bindings==13.5.0
USER 10001:10001
# NVIDIA's container runtime brings the driver's libraries in.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

# --- what is built where no target is named -------------------------------------------------------
FROM cpu
