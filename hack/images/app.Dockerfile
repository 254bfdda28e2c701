# An app for tests: the echo server and caller of the laptop mesh (`lateen lab-app`), with a shell.
ARG BASE=debian:bookworm-slim
ARG BUILDER=rust:1-bookworm

FROM ${BUILDER} AS builder
ARG BINARIES=
WORKDIR /src
COPY . .
RUN BINARIES=$BINARIES hack/images/compile lateen

FROM ${BASE} AS root
COPY --from=builder /out /out
RUN /out/rootfs lateen --busybox

FROM scratch
COPY --from=root /image /
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/lateen"]
