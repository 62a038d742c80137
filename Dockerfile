# The image: one static binary, built before by `make build`, and nothing else. So it is the binary
# that was tested, and no registry is needed to make it.
#
#   make image                     by docker; or
#   make image BUILDER=buildah     by podman or buildah
FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="wgsteer" \
      org.opencontainers.image.description="Transparent WireGuard encryption between pods on different nodes" \
      org.opencontainers.image.source="https://github.com/wgsteer/wgsteer" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY bin/wgsteer /usr/local/bin/wgsteer
# For `kubectl exec POD -- wgsteer status`.
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/wgsteer"]
CMD ["--help"]
