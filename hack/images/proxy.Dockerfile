# The sidecar: stock Envoy, `lateen-agent`, and the iptables with which its init container captures a pod's traffic.
#   docker build -f hack/images/proxy.Dockerfile .
# BINARIES is a folder of the build context with programs that are already built; without it they are compiled here. Only
# the init container runs as root, because the pod says so.
ARG BASE=debian:bookworm-slim
ARG BUILDER=rust:1-bookworm

FROM ${BUILDER} AS builder
ARG BINARIES=
WORKDIR /src
COPY . .
RUN BINARIES=$BINARIES hack/images/compile lateen-agent envoy

FROM ${BASE} AS root
COPY --from=builder /out /out
RUN /out/rootfs lateen-agent envoy --iptables

FROM scratch
COPY --from=root /image /
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/lateen-agent"]
