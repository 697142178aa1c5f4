# Serves a bundle that `lightning-tl export` wrote: no torch, no training data, no root.
#
#   docker build -t lightning-tl-serve .
#   docker run --rm -p 8000:8000 -v "$PWD/bundle:/bundle:ro" -e LIGHTNING_TL_TOKEN=... lightning-tl-serve
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
COPY --from=wheel /wheels /wheels
COPY constraints.txt /wheels/
# What lightning_tl.serving imports, and nothing that trains: the wheel's own dependencies are left out.
RUN pip install --no-cache-dir --no-deps /wheels/*.whl \
 && pip install --no-cache-dir --constraint /wheels/constraints.txt \
    faiss-cpu fastapi numpy onnxruntime pillow prometheus-client pyarrow python-multipart pyyaml tifffile tokenizers uvicorn \
 && useradd --create-home --uid 10001 serve
USER serve
ENV OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
ENTRYPOINT ["lightning-tl", "serve", "--host", "0.0.0.0", "--port", "8000", "--bundle"]
CMD ["/bundle"]
