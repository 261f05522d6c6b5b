# One image for both services of docker-compose.yml: `ovseg serve triton`, `ovseg serve gateway`.
FROM python:3.11.14-slim-bookworm

# libgomp1: Paddle's threads.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/ovseg
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY ovseg ovseg
COPY gateway gateway
COPY client client
COPY model_repository model_repository
COPY weights weights
COPY examples examples
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . -e client \
    && useradd --create-home --uid 10001 ovseg \
    && install --directory --owner ovseg /models

USER ovseg
ENV OVSEG_HOST=0.0.0.0 OVSEG_MODEL_DIR=/models
VOLUME /models
ENTRYPOINT ["ovseg"]
CMD ["serve"]
