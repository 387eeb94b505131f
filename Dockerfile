# The compiler runs where the build runs, whatever it builds for.
FROM --platform=$BUILDPLATFORM golang:1.26 AS builder
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY internal/ internal/
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -ldflags="-s -w -X main.version=${VERSION}" -o /manager ./cmd

# The binary holds its own CA roots, so the image needs nothing else.
FROM scratch
COPY --from=builder /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
