# syntax=docker/dockerfile:1
# The whole pipeline, all backends, in one image; see docs/containers.md.
#   docker build -t mimo-pipeline .                                  PyTorch for NVIDIA GPUs (it runs on a CPU too)
#   docker build -t mimo-pipeline:cpu --build-arg DEVICE=cpu .       PyTorch for CPUs: 5 GB smaller
# Versions are those of pyproject.toml. The CUDA libraries come with PyTorch's package, only the driver is the host's.

FROM python:3.11-slim-bookworm

# cuda or cpu
ARG DEVICE=cuda
ARG CPU_INDEX=https://download.pytorch.org/whl/cpu

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MIMO_CACHE=/cache \
    HOME=/home/mimo

SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# A compiler: PyTorch compiles the diffusion networks' kernels for the GPU at the first video of a size.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/mimo-pipeline

# Packages first: a change of code alone does not install them again.
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY docker/requirements.py docker/
RUN case "$DEVICE" in \
        cpu) torch_from=(--index-url "$CPU_INDEX") ;; \
        cuda) torch_from=() ;; \
        *) echo "DEVICE is cuda or cpu, not $DEVICE" >&2; exit 1 ;; \
    esac \
    && python docker/requirements.py --only torch > /tmp/torch.txt \
    && python docker/requirements.py diffusion perception app cluster storage > /tmp/packages.txt \
    && pip install "${torch_from[@]}" --requirement /tmp/torch.txt \
    && pip install --requirement /tmp/packages.txt \
    && rm /tmp/torch.txt /tmp/packages.txt

COPY Snakefile config.yaml config.gpu.yaml ./
COPY rules rules
COPY profiles profiles
COPY envs envs
COPY mimo mimo
COPY video_decomp video_decomp
RUN pip install --no-deps --editable . \
    && mkdir --parents /cache /work "$HOME" \
    && chmod 777 /cache /work "$HOME"

WORKDIR /work
USER 1000:1000
VOLUME ["/cache", "/work"]
CMD ["snakemake", "--snakefile", "/opt/mimo-pipeline/Snakefile", "--cores", "all"]
