# A static binary on an empty image: no shell, no package manager, nothing to patch but Callboard.
#
#   docker build -t callboard .
#   docker run --read-only --cap-drop all -v ./app-config.yaml:/etc/callboard/app-config.yaml:ro -p 7008:7008 callboard
#
# Where the usual images are not to be had, name your own: --build-arg BUILDER=registry.example.com/rust:1.95-bookworm.
# It must hold Rust 1.95, a C compiler and ca-certificates.
ARG BUILDER=docker.io/library/rust:1.95-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
# glibc, linked statically; naming the target keeps build scripts and macros out of it. Optimised by a profile of the program
# at work (benches/pgo/profile.sh).
COPY benches/pgo/callboard.profdata ./
ENV RUSTFLAGS="-C target-feature=+crt-static -C profile-use=/src/callboard.profdata"
# The dependencies first, with an empty program: they are built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && sed -n '/^\[\[bench\]\]/{n;s|name = "\(.*\)"|benches/\1.rs|p}' Cargo.toml | xargs touch \
 && cargo build --locked --release --target "$(rustc -vV | sed -n 's/^host: //p')"
COPY src src
RUN touch src/main.rs src/lib.rs \
 && target="$(rustc -vV | sed -n 's/^host: //p')" && cargo build --locked --release --target "$target" \
 && mkdir -p /out/usr/bin /out/etc/ssl/certs /out/etc/callboard \
 && cp "target/$target/release/callboard" /out/usr/bin/ \
 && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM scratch
LABEL org.opencontainers.image.title="Callboard" \
      org.opencontainers.image.description="A read-only caching reverse proxy for the storage that holds TechDocs sites" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out /
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# app-config.yaml is looked for here.
WORKDIR /etc/callboard
EXPOSE 7008
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["/usr/bin/callboard", "health"]
ENTRYPOINT ["/usr/bin/callboard"]
