#!/usr/bin/env bash
# Builds the demo canister into demo/canister/target/demo.wasm.
# demo/build.sh FOLDER MODULE... builds other modules of a folder with a Cargo.toml into FOLDER/target, in the same way.
#
# A Rust toolchain builds for wasm32-unknown-unknown where it has that target, or rustup gets it. Without either,
# Debian's packages rustc-web, cargo-web, rust-web-src and lld build the standard library along with the canister.
# ICWS_WASM_TOOLCHAIN=rustup or =debian has one of the ways tried and no other.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:-demo/canister}
modules=("${@:2}")
[ "${#modules[@]}" -gt 0 ] || modules=(demo)
cd "$folder"

target=wasm32-unknown-unknown
way=${ICWS_WASM_TOOLCHAIN:-any}

has() { command -v "$1" >/dev/null; }

has_target() { has cargo && has rustc && [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; }

get_target() { has rustup && rustup target add "$target" && has_target; }

build_with_target() { cargo build --release --locked --target "$target" --target-dir target/rustup; }

is_debian_here() { [ -x /usr/bin/cargo ] && [ -e /usr/lib/rustlib/src/rust/library/Cargo.lock ] && has wasm-ld; }

# -Zbuild-std is for nightly compilers; RUSTC_BOOTSTRAP lets the one that Debian ships have it, too.
build_with_debian() {
  env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld \
    /usr/bin/cargo build --release --locked --target "$target" --target-dir target/debian -Zbuild-std=std,panic_abort
}

if [ "$way" != debian ] && { has_target || get_target; }; then
  build_with_target
  built=target/rustup
elif [ "$way" != rustup ] && is_debian_here; then
  build_with_debian
  built=target/debian
else
  echo "no Rust here can build for $target. Either of these gets one that can:" >&2
  echo "  rustup target add $target" >&2
  echo "  apt-get install rustc-web cargo-web rust-web-src lld" >&2
  exit 1
fi

for module in "${modules[@]}"; do
  cp "$built/$target/release/$module.wasm" "target/$module.wasm"
  echo "$folder/target/$module.wasm: $(wc -c <"target/$module.wasm") bytes"
done
