# The first container of every pod of a test cluster: see pause.c.
FROM scratch
COPY bin/pause /pause
USER 65535:65535
ENTRYPOINT ["/pause"]
