# syntax=docker/dockerfile:1.10
# One static binary on an empty file system: docker build -t gantry .

FROM --platform=$BUILDPLATFORM node:22.14.0-bookworm-slim AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM --platform=$BUILDPLATFORM golang:1.26.0-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=web /src/web/dist/ web/dist/
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=""
ARG COMMIT=""
ARG DATE=""
RUN CGO_ENABLED=0 GOOS="$TARGETOS" GOARCH="$TARGETARCH" go build -mod=readonly -buildvcs=false -trimpath \
    -ldflags "-s -w -X gantry/internal/version.version=$VERSION -X gantry/internal/version.commit=$COMMIT -X gantry/internal/version.date=$DATE" \
    -o /out/gantry .
# What an empty file system lacks: names for the user, somewhere to write, certificate authorities, time zones.
RUN mkdir -p /out/etc/ssl/certs /out/usr/share /out/var/lib/gantry \
    && install -d -m 1777 /out/tmp \
    && echo 'gantry:x:65532:65532::/var/lib/gantry:/sbin/nologin' >/out/etc/passwd \
    && echo 'gantry:x:65532:' >/out/etc/group \
    && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
    && cp -r /usr/share/zoneinfo /out/usr/share/

FROM scratch
COPY --from=build /out/ /
# State lives here and nowhere else: the rest of the file system may be read-only.
COPY --from=build --chown=65532:65532 --chmod=0700 /out/var/lib/gantry /var/lib/gantry
# In a container, reaching the program is a matter of published ports.
ENV GANTRY_SERVER_LISTEN=:8080 \
    GANTRY_VNCPROXY_LISTEN=:6080
USER 65532:65532
VOLUME ["/var/lib/gantry"]
EXPOSE 8080 6080
# There is no shell: the binary asks itself. A container that runs vncproxy says ["/gantry", "vncproxy", "health"].
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/gantry", "server", "health"]
ENTRYPOINT ["/gantry"]
CMD ["server"]
