# Plugvisor, with its sample plugins in /plugins: mount a folder over it to run your own. Those that are installed while
# it runs are in /installed. See docs/container.md.
ARG BASE=python:3.13-slim

# The packages that the service needs, from the lock files alone, so that a change of the source downloads nothing.
# Wheels only: building a source distribution would run code that no hash covers.
FROM ${BASE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/plugvisor \
    && python -m pip --python /opt/plugvisor/bin/python install --require-hashes --only-binary :all: \
       --requirement requirements.lock \
    && python -m pip install --require-hashes --only-binary :all: --requirement requirements-build.lock \
    && find /opt/plugvisor -type d -name tests -prune -exec rm -r {} +

# The package itself, beside its dependencies: below /image is what this stage adds to the image.
FROM dependencies AS build
COPY pyproject.toml README.md ./
COPY supervisor_conf supervisor_conf
COPY service service
COPY plugins /image/plugins
RUN python -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m pip --python /opt/plugvisor/bin/python install --no-index --no-deps --no-warn-script-location \
       --root /image /wheels/*.whl \
    && install -D -m 644 service/plugvisor/runner/__main__.py /image/opt/plugvisor/share/runner.py \
    && install -m 644 -t /image/opt/plugvisor/share service/plugvisor/runner/module_search.py \
       service/plugvisor/runner/plugin_context.py \
    && printf '#!/bin/sh\nexec plugvisor ctl "$@"\n' >/image/opt/plugvisor/bin/supervisorctl \
    && chmod 755 /image/opt/plugvisor/bin/supervisorctl \
    && chmod -R u=rwX,go=rX /image

FROM ${BASE}
# Numbers of their own, so that the files in a volume keep their owner from one image to the next.
# Nothing in the image needs a setuid program; without one, no plugin can use one.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
    && groupadd --system --gid 916 plugvisor \
    && useradd --system --uid 916 --gid 916 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin plugvisor \
    && groupadd --system --gid 917 plugin \
    && useradd --system --uid 917 --gid 917 --create-home --shell /usr/sbin/nologin plugin \
    && mkdir -m 700 /etc/plugvisor \
    && mkdir -m 2750 /var/log/plugvisor \
    && mkdir -m 2770 /var/lib/plugvisor \
    && chgrp plugvisor /var/log/plugvisor /var/lib/plugvisor \
    && mkdir -m 755 /installed \
    && chown plugin:plugin /installed \
    && ln -s /opt/plugvisor/bin/plugvisor /opt/plugvisor/bin/supervisorctl /usr/local/bin/ \
    && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +

ENV LANG=C.UTF-8 \
    PLUGVISOR_HOST=0.0.0.0 \
    PLUGVISOR_PLUGINS_DIR=/plugins \
    PLUGVISOR_INSTALL_DIR=/installed \
    PLUGVISOR_SERVICE_USER=plugvisor \
    PLUGVISOR_PLUGIN_USER=plugin \
    PLUGVISOR_RUNNER="python /opt/plugvisor/share/runner.py {entry}"
WORKDIR /
EXPOSE 48916
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["plugvisor", "health"]
ENTRYPOINT ["plugvisor"]
CMD ["up"]

COPY --from=dependencies /opt/plugvisor /opt/plugvisor
COPY --from=build /image/opt/plugvisor /opt/plugvisor
COPY --from=build /image/plugins /plugins

# Last, because a value that differs from build to build ends the cache of everything after it.
ARG VERSION=0.1.0
ARG SOURCE=
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Plugvisor" \
      org.opencontainers.image.description="A REST service that manages plugins, each of which is an ordinary supervisord program" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
