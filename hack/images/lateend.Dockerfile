# The control plane: `lateend`, and `lateen` for its hooks. Nothing else is in it but the libraries that they need.
#   docker build -f hack/images/lateend.Dockerfile .
# BINARIES is a folder of the build context with programs that are already built; without it they are compiled here.
ARG BASE=debian:bookworm-slim
ARG BUILDER=rust:1-bookworm

FROM ${BUILDER} AS builder
ARG BINARIES=
WORKDIR /src
COPY . .
RUN BINARIES=$BINARIES hack/images/compile lateend lateen

FROM ${BASE} AS root
COPY --from=builder /out /out
RUN /out/rootfs lateend lateen

FROM scratch
COPY --from=root /image /
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/lateend"]
