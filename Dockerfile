FROM python:3.13-slim AS base
ENV PATH=/opt/jobctl/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1


# What jobctl needs, as long as pyproject.toml and constraints.txt stay the same.
FROM base AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb')); \
print(*project['project']['dependencies'], sep='\n', file=open('dependencies.txt', 'w')); \
print(*project['build-system']['requires'], sep='\n', file=open('build-system.txt', 'w'))" \
    && python -m venv --without-pip /opt/jobctl \
    && pip --python /opt/jobctl/bin/python install --no-compile --only-binary :all: \
        -c constraints.txt -r dependencies.txt \
    # Bytecode that is trusted as it is: no copy of the image, whatever times it gives its files, voids it.
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/jobctl/lib


FROM dependencies AS package
RUN pip install --no-compile -c constraints.txt -r build-system.txt
COPY README.md ./
COPY migrations migrations
COPY jobctl jobctl
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && pip --python /opt/jobctl/bin/python install --no-compile --no-deps --prefix /package wheels/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash -s /package -p /opt/jobctl /package/lib


FROM base
LABEL org.opencontainers.image.title="jobctl" \
      org.opencontainers.image.description="A marketplace's background jobs as honest commands: safe to rerun, and able to say why."
# The base image comes without bytecode of Python's own library, which every start would have to make anew.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(site-packages|ensurepip|idlelib|pydoc_data|test|tkinter|turtledemo)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && pip uninstall --yes --root-user-action ignore pip \
    && groupadd --gid 10001 jobctl \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/jobctl --shell /usr/sbin/nologin jobctl \
    && install -d -o 10001 -g 10001 /var/lib/jobctl
COPY --from=dependencies /opt/jobctl /opt/jobctl
COPY --from=package /package /opt/jobctl
# A container's own file system doesn't last: without a DATABASE_URL there is nothing to work on.
ENV JOBCTL_EMBEDDED=never
WORKDIR /var/lib/jobctl
USER 10001:10001
ENTRYPOINT ["jobctl"]
CMD ["--help"]
