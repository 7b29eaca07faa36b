# Two stages on one Debian release: the binary links the RocksDB of that release.
FROM golang:1.26-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ librocksdb-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN go build -trimpath -buildvcs=false -ldflags "-X main.version=${VERSION} -X main.commit=${COMMIT}" \
    -o /out/unistore ./cmd/unistore

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates librocksdb7.8 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /var/lib/unistore --create-home unistore \
 && chmod 0700 /var/lib/unistore
COPY --from=build /out/unistore /usr/local/bin/unistore

# S3 on every interface of the container. The admin side stays on its loopback, where the health check
# asks it; to reach it from outside, set UNISTORE_ADMIN_LISTEN=:9001 and UNISTORE_ADMIN_TOKEN.
ENV UNISTORE_DATA_DIR=/var/lib/unistore \
    UNISTORE_LISTEN=:9000
USER 10001:10001
WORKDIR /var/lib/unistore
VOLUME /var/lib/unistore
EXPOSE 9000 9001

# Requests under way get 30 s after the signal: give the container a little more before it is killed.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["unistore", "check", "--live"]
ENTRYPOINT ["unistore"]
CMD ["serve"]
