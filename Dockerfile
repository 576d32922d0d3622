# Plugvisor, with its sample plugins in /plugins: mount a folder over it to run your own. README.md, "Container".
ARG BASE=python:3.13-slim

# The wheels are built here, once, and installed into an environment that the image takes over whole: no compiler,
# no pip cache and no test code reaches the image, and what a plugin installs cannot break the service.
FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY service service
COPY supervisor_conf supervisor_conf
RUN python -m pip wheel --no-cache-dir --disable-pip-version-check --constraint constraints.txt --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/plugvisor \
    && python -m pip --python /opt/plugvisor/bin/python install --no-cache-dir --disable-pip-version-check \
       --no-index --find-links /wheels plugvisor \
    && find /opt/plugvisor -type d -name tests -prune -exec rm -r {} + \
    && install -D -m 644 service/plugvisor/runner/__main__.py /opt/plugvisor/share/runner.py \
    && printf '#!/bin/sh\nexec plugvisor ctl "$@"\n' >/opt/plugvisor/bin/supervisorctl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Plugvisor" \
      org.opencontainers.image.description="A REST service that manages plugins, each of which is an ordinary supervisord program" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Numbers of their own, so that the files in a volume keep their owner from one image to the next.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && groupadd --gid 916 plugvisor \
    && useradd --uid 916 --gid 916 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin plugvisor \
    && groupadd --gid 917 plugin \
    && useradd --uid 917 --gid 917 --create-home --shell /usr/sbin/nologin plugin \
    && mkdir -m 700 /etc/plugvisor \
    && mkdir -m 2750 /var/log/plugvisor \
    && chgrp plugvisor /var/log/plugvisor
COPY --from=build /opt/plugvisor /opt/plugvisor
RUN ln -s /opt/plugvisor/bin/plugvisor /opt/plugvisor/bin/supervisorctl /usr/local/bin/ \
    && chmod 755 /opt/plugvisor/bin/supervisorctl
COPY plugins /plugins

ENV LANG=C.UTF-8 \
    PLUGVISOR_HOST=0.0.0.0 \
    PLUGVISOR_PLUGINS_DIR=/plugins \
    PLUGVISOR_SERVICE_USER=plugvisor \
    PLUGVISOR_PLUGIN_USER=plugin \
    PLUGVISOR_RUNNER="python /opt/plugvisor/share/runner.py {entry}"
WORKDIR /
EXPOSE 48916
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["plugvisor", "health"]
ENTRYPOINT ["plugvisor"]
CMD ["up"]
